// The clients under test, each reduced to `send(request)`, which resolves with `{ status, text }`.
import http from 'node:http'

const requested = (agent) => ({ port, method, headers, body, signal }) => new Promise((resolve, reject) => {
  const req = http.request({ host: '127.0.0.1', port, agent, method, headers, signal }, (res) => {
    let text = ''
    res.setEncoding('latin1')
    res.on('data', (chunk) => { text += chunk })
    res.on('end', () => resolve({ status: res.statusCode, text }))
    res.on('error', reject)
  })
  req.on('error', reject)
  req.end(body)
})

/** By name: `(options) => ({ send, replays })`. Options that a client does not know are nothing to it. */
export const CLIENTS = {
  node: async (options) => ({ send: requested(new http.Agent({ keepAlive: true, ...options })) }),

  async agentkeepalive (options) {
    const { default: Agent } = await import('agentkeepalive')
    return { send: requested(new Agent(options)) }
  },

  async undici ({ maxSockets }) {
    const { Agent } = await import('undici')
    const agent = new Agent({ connections: maxSockets ?? null })
    const send = async ({ port, method, headers, body, signal }) => {
      const origin = `http://127.0.0.1:${port}`
      const { statusCode, body: answer } = await agent.request({ origin, path: '/', method, headers, body, signal })
      return { status: statusCode, text: await answer.text() }
    }
    return { send }
  },

  async holdfast (options) {
    const { HttpAgent } = await import('../index.mjs')
    const agent = new HttpAgent(options)
    const replays = () => Object.values(agent.stats().replays).reduce((all, one) => all + one, 0)
    return { send: requested(agent), replays }
  }
}

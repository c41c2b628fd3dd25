// The clients under test, each reduced to `send(request)`, which resolves with `{ status, text }`.
import http from 'node:http'
import https from 'node:https'

/** How many handshakes there were, and how many resumed a session. */
export const handshakes = { all: 0, resumed: 0 }
const watched = new WeakSet()
const watch = (socket) => {
  if (!socket.encrypted || watched.has(socket)) return
  watched.add(socket)
  socket.on('secureConnect', () => {
    handshakes.all++
    if (socket.isSessionReused()) handshakes.resumed++
  })
}

const requested = (agent) => ({ port, method, headers, body, signal }) => new Promise((resolve, reject) => {
  const { request } = agent.protocol === 'https:' ? https : http
  const req = request({ host: '127.0.0.1', port, agent, method, headers, signal }, (res) => {
    let text = ''
    res.setEncoding('latin1')
    res.on('data', (chunk) => { text += chunk })
    res.on('end', () => resolve({ status: res.statusCode, text }))
    res.on('error', reject)
  })
  req.on('socket', watch)
  req.on('error', reject)
  req.end(body)
})

/** By name: `(options) => ({ send, replays })`; with `ca`, by TLS. Options that a client does not know are nothing to it. */
export const CLIENTS = {
  node: async (options) => ({ send: requested(new (options.ca ? https : http).Agent({ keepAlive: true, ...options })) }),

  async agentkeepalive (options) {
    const { default: Agent } = await import('agentkeepalive')
    return { send: requested(new (options.ca ? Agent.HttpsAgent : Agent)(options)) }
  },

  async undici ({ maxSockets, ca }) {
    const { Agent } = await import('undici')
    const agent = new Agent({ connections: maxSockets ?? null, ...ca && { connect: { ca } } })
    const send = async ({ port, method, headers, body, signal }) => {
      const origin = `${ca ? 'https' : 'http'}://127.0.0.1:${port}`
      const { statusCode, body: answer } = await agent.request({ origin, path: '/', method, headers, body, signal })
      return { status: statusCode, text: await answer.text() }
    }
    return { send }
  },

  async holdfast (options) {
    const { HttpAgent, HttpsAgent } = await import('../index.mjs')
    const agent = new (options.ca ? HttpsAgent : HttpAgent)(options)
    const replays = () => Object.values(agent.stats().replays).reduce((all, one) => all + one, 0)
    return { send: requested(agent), replays }
  }
}

// The clients under test, each reduced to `send(request)`, which resolves with `{ status, text }`.
import http from 'node:http'
import https from 'node:https'
import process from 'node:process'

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

/** The numbers of an agent of holdfast's. */
const replaysOf = (agent) => () => Object.values(agent.stats().replays).reduce((all, one) => all + one, 0)

/** The platform's fetch, over its own dispatcher or a given one; its errors are those of its causes. */
const fetching = (dispatcher) => async ({ port, secure, method, headers, body, signal }) => {
  const given = { ...headers }
  delete given['Content-Length'] // fetch says that itself
  try {
    const url = `${secure ? 'https' : 'http'}://127.0.0.1:${port}/`
    const res = await fetch(url, { method, headers: given, body, signal, ...dispatcher && { dispatcher } })
    return { status: res.status, text: await res.text() }
  } catch (error) {
    throw error.cause ?? error
  }
}

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
    return { send: requested(agent), replays: replaysOf(agent) }
  },

  async fetch ({ ca }) {
    if (ca) process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0' // it can be told of no other root
    const send = fetching()
    return { send: (request) => send({ ...request, secure: ca }) }
  },

  async 'holdfast fetch' ({ timeout, ...options }) {
    const { FetchAgent } = await import('../index.mjs')
    const agent = new FetchAgent(options)
    const send = fetching(agent)
    return { send: (request) => send({ ...request, secure: options.ca }), replays: replaysOf(agent) }
  }
}

/** Those of holdfast, which must do as the catalogue expects. */
export const SUBJECTS = ['holdfast', 'holdfast fetch']

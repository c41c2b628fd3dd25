// Tests of one agent against one server, and the small steps they share.
import http from 'node:http'
import https from 'node:https'
import { test } from 'node:test'
import { AgentUnderTest, isHoldfast } from './agents.mjs'
import { outcome } from './outcome.mjs'
import { collect, once, turns } from './wait.mjs'

export const to = (server, agent, more) => ({ host: '127.0.0.1', port: server.port, agent, ...more })

/** Runs `body` with a server and an agent, and takes both down. */
export const within = (claim, starting, body, { agentOptions, timeout = 20_000 } = {}) => {
  test(claim, { timeout }, async (t) => {
    const server = await starting()
    const agent = new AgentUnderTest(agentOptions)
    try {
      await body({ server, agent, signal: t.signal })
    } finally {
      agent.destroy()
      await server.stop()
    }
  })
}

/** `within`, for what only holdfast does; `why` is said where Node's agent is on its side. */
export const withinHoldfast = (why) => isHoldfast ? within : (claim) => test(claim, { skip: why }, () => {})

/** How a GET ends. */
export const sent = (server, agent, options) => outcome(http.get(to(server, agent, options)))

/** The error that a request fails with. */
export const failure = async (req) => (await once(req, 'error'))[0]

export const socketOf = async (req) => req.socket ?? (await once(req, 'socket'))[0]

/** One whole exchange; resolves when the socket is back in the pool. `observe(socket)` sees it before it has connected. */
export const exchange = async (server, agent, { observe = () => {}, ...options } = {}, body) => {
  const { request } = options.protocol === 'https:' ? https : http
  const req = request(to(server, agent, options)).end(body)
  req.once('socket', observe)
  const [res] = await once(req, 'response')
  const text = await collect(res)
  if (!req.closed) await new Promise((resolve) => req.once('close', resolve))
  await turns(2)
  return { req, res, text, socket: req.socket }
}

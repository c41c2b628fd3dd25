// Secured sockets that leave the agent: wss, CONNECT to a proxy that speaks TLS, TLS within TLS, agents inside agents.
import assert from 'node:assert/strict'
import https from 'node:https'
import tls from 'node:tls'
import { Agent as BaseAgent } from 'agent-base'
import { HttpsProxyAgent } from 'https-proxy-agent'
import WebSocket from 'ws'
import { ownProxy } from './support/proxies.mjs'
import { secureServer } from './support/tls/servers.mjs'
import { root, withinSecured } from './support/tls/within.mjs'
import { collect, deferred, once } from './support/wait.mjs'
import { hangUp, talk, webSockets } from './support/web-sockets.mjs'
import { exchange, to } from './support/within.mjs'

const MIB = 1 << 20
const identity = root.issue()
const ca = root.cert

const within = (claim, ...rest) => withinSecured(`tls_handover_${claim}`, ...rest)

const echoing = async () => webSockets(await secureServer(identity, (req, res) => req.pipe(res)))

within('wss_echoes_and_frees_its_place_in_the_pool', echoing, async ({ server, agent }) => {
  const client = new WebSocket(`wss://127.0.0.1:${server.port}`, { agent, perMessageDeflate: false })
  await once(client, 'open')
  assert.deepEqual([Object.keys(agent.sockets), agent.totalSocketCount], [[], 0])
  const { text } = await exchange(server, agent, { protocol: 'https:', method: 'POST' }, 'beside it')
  assert.equal(text.toString(), 'beside it')
  assert.equal(await talk(client, 'hello'), 'hello')
  const big = 'y'.repeat(MIB)
  assert.equal(await talk(client, big), big)
  await hangUp(client)
  const { opened, closed, leased, idle, closing } = agent.stats()
  assert.deepEqual({ opened, closed, leased, idle, closing }, { opened: 2, closed: { detached: 1 }, leased: 0, idle: 1, closing: 0 })
}, { maxSockets: 1 })

// As got does.
within('who_passes_on_the_usual_check_of_names_shares_connections', echoing, async ({ server, agent }) => {
  for (const { checkServerIdentity } of [tls, {}, tls]) await exchange(server, agent, { protocol: 'https:', checkServerIdentity })
  const { opened, reused } = agent.stats()
  assert.deepEqual({ opened, reused }, { opened: 1, reused: 2 })
})

// ws brings a createConnection of its own, whose sockets nobody else may have, nor it another's.
within('wss_beside_a_pooled_connection_echoes', echoing, async ({ server, agent }) => {
  await exchange(server, agent, { protocol: 'https:' })
  const client = new WebSocket(`wss://127.0.0.1:${server.port}`, { agent })
  await once(client, 'open')
  assert.equal(server.accepted.length, 2)
  assert.equal(await talk(client, 'hello'), 'hello')
  await hangUp(client)
})

within('wss_cut_by_the_server_closes_with_1006', echoing, async ({ server, agent }) => {
  const client = new WebSocket(`wss://127.0.0.1:${server.port}`, { agent })
  client.on('error', () => {})
  await once(client, 'open')
  const closed = once(client, 'close')
  server.accepted[0].destroy()
  assert.equal((await closed)[0], 1006)
})

within('wss_outlives_the_agent', echoing, async ({ server, agent }) => {
  const client = new WebSocket(`wss://127.0.0.1:${server.port}`, { agent })
  await once(client, 'open')
  agent.destroy()
  assert.equal(await talk(client, 'still here'), 'still here')
  await hangUp(client)
})

/** CONNECT through the agent to a proxy that speaks TLS. */
const tunnel = async (agent, proxy, target) => {
  const req = https.request(to(proxy, agent, { method: 'CONNECT', path: target }))
  const opened = deferred()
  req.on('connect', (res, socket) => opened.resolve(socket)).on('error', opened.reject).end()
  return opened.promise
}

within('tls_within_a_secured_tunnel_carries_a_mib', () => ownProxy(identity), async ({ server, agent }) => {
  const target = await echoing()
  try {
    const socket = await tunnel(agent, server, `127.0.0.1:${target.port}`)
    const secured = tls.connect({ socket, ca, servername: 'localhost' })
    await once(secured, 'secureConnect')
    const req = https.request({ createConnection: () => secured, method: 'POST', host: 'localhost' })
    req.end(Buffer.alloc(MIB, 't'))
    const [res] = await once(req, 'response')
    assert.equal((await collect(res)).length, MIB)
    secured.destroy()
  } finally {
    await target.stop()
  }
})

within('agent_base_may_return_the_agent_as_its_inner_one', echoing, async ({ server, agent }) => {
  class Choosing extends BaseAgent {
    async connect () { return agent }
  }
  const outer = new Choosing()
  for (let n = 0; n < 3; n++) {
    const { text } = await exchange(server, outer, { protocol: 'https:', method: 'POST' }, `${n}`)
    assert.equal(text.toString(), `${n}`)
  }
  outer.destroy()
})

within('https_proxy_agent_dials_through_the_agent_to_a_proxy_that_speaks_tls', () => ownProxy(identity), async ({ server, agent }) => {
  const target = await echoing()
  class Dialled extends HttpsProxyAgent {
    async connect (req, { host, port }) {
      return tls.connect({ socket: await tunnel(agent, server, `${host}:${port}`), ca, servername: 'localhost' })
    }
  }
  const outer = new Dialled(`https://127.0.0.1:${server.port}`)
  const { text } = await exchange(target, outer, { protocol: 'https:', method: 'POST' }, 'proxied')
  assert.equal(text.toString(), 'proxied')
  outer.destroy()
  await target.stop()
})

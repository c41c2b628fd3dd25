// Sockets that leave the agent: WebSocket, CONNECT, TLS over a tunnel, agents inside agents.
import assert from 'node:assert/strict'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import { after, before, describe } from 'node:test'
import { Agent as BaseAgent } from 'agent-base'
import { HttpsProxyAgent } from 'https-proxy-agent'
import WebSocket from 'ws'
import { openTunnels } from './support/proxies.mjs'
import { httpServer, rawServer } from './support/servers.mjs'
import { selfSigned } from './support/tls/authority.mjs'
import { collect, deferred, once, until } from './support/wait.mjs'
import { hangUp, talk, webSockets } from './support/web-sockets.mjs'
import { exchange, to, within } from './support/within.mjs'

const MIB = 1 << 20

/** An HTTP server that echoes WebSocket messages. */
const echoing = async () => webSockets(await httpServer((req, res) => res.end('plain')))

/** An HTTP proxy: CONNECT to anywhere on the loopback. */
const proxy = async () => {
  const server = await httpServer((req, res) => res.writeHead(400).end())
  server.tunnels = []
  return openTunnels(server, ({ url }) => server.tunnels.push(url))
}

/** Sends CONNECT through `agent` to the proxy and resolves with the socket. */
const tunnel = async (agent, proxyServer, target) => {
  const req = http.request(to(proxyServer, agent, { method: 'CONNECT', path: target }))
  const opened = deferred()
  req.on('connect', (res, socket, head) => opened.resolve({ res, socket, head })).on('error', opened.reject).end()
  const { res, socket, head } = await opened.promise
  assert.equal(res.statusCode, 200)
  assert.equal(head.length, 0)
  return socket
}

/** An agent-base agent that connects through CONNECT over `inner`. */
class TunnelAgent extends BaseAgent {
  constructor (inner, proxyServer, tlsOptions) {
    super({ keepAlive: true })
    Object.assign(this, { inner, proxyServer, tlsOptions })
  }

  async connect (req, options) {
    const socket = await tunnel(this.inner, this.proxyServer, `${options.host}:${options.port}`)
    return options.secureEndpoint ? tls.connect({ ...this.tlsOptions, servername: 'localhost', socket }) : socket
  }
}

within('web_socket_echoes_small_and_1_mib_messages', echoing, async ({ server, agent }) => {
  const options = { agent, maxPayload: 8 * MIB, perMessageDeflate: false }
  const client = new WebSocket(`ws://127.0.0.1:${server.port}`, options)
  await once(client, 'open')
  assert.equal(await talk(client, 'hello'), 'hello')
  const big = Buffer.alloc(MIB, 'z')
  assert.ok(big.equals(await talk(client, big)))
  for (let n = 0; n < 100; n++) assert.equal(await talk(client, `message ${n}`), `message ${n}`)
  assert.deepEqual([Object.keys(agent.sockets), Object.keys(agent.freeSockets)], [[], []])
  await hangUp(client)
})

within('web_socket_on_a_reused_connection_echoes', echoing, async ({ server, agent }) => {
  await exchange(server, agent)
  const client = new WebSocket(`ws://127.0.0.1:${server.port}`, { agent })
  await once(client, 'open')
  assert.equal(server.accepted.length, 1)
  assert.equal(await talk(client, 'hello'), 'hello')
  const big = 'y'.repeat(MIB)
  assert.equal(await talk(client, big), big)
  await hangUp(client)
})

within('web_socket_compressed_pinged_and_paused_loses_nothing', echoing, async ({ server, agent }) => {
  const client = new WebSocket(`ws://127.0.0.1:${server.port}`, { agent, perMessageDeflate: true })
  await once(client, 'open')
  client.ping('are you there')
  assert.equal((await once(client, 'pong'))[0].toString(), 'are you there')
  const heard = []
  client.on('message', (data) => heard.push(data.length))
  client.pause()
  for (let n = 1; n <= 200; n++) client.send('w'.repeat(n * 100))
  setImmediate(() => client.resume())
  await until(() => heard.length === 200)
  assert.deepEqual(heard, Array.from({ length: 200 }, (_, n) => (n + 1) * 100))
  await hangUp(client)
})

within('web_socket_refused_is_told_as_an_unexpected_response', async () => httpServer((req, res) => {
  res.writeHead(401).end('no')
}), async ({ server, agent }) => {
  server.on('upgrade', (req, socket) => socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno'))
  const client = new WebSocket(`ws://127.0.0.1:${server.port}`, { agent })
  const [error] = await once(client, 'error')
  assert.match(error.message, /Unexpected server response: 401/)
})

within('web_socket_terminated_by_the_server_closes_with_1006', echoing, async ({ server, agent }) => {
  const client = new WebSocket(`ws://127.0.0.1:${server.port}`, { agent })
  client.on('error', () => {})
  await once(client, 'open')
  const closed = once(client, 'close')
  server.accepted[0].destroy()
  assert.equal((await closed)[0], 1006)
})

within('connect_tunnel_carries_bytes_both_ways', proxy, async ({ server, agent }) => {
  const target = await rawServer((socket) => socket.pipe(socket))
  const socket = await tunnel(agent, server, `127.0.0.1:${target.port}`)
  try {
    socket.end(Buffer.alloc(2 * MIB, 'q'))
    assert.equal((await collect(socket)).length, 2 * MIB)
    assert.deepEqual([Object.keys(agent.sockets), agent.totalSocketCount], [[], 0])
  } finally {
    await target.stop()
  }
})

within('connect_tunnel_frees_its_place_for_a_queued_request', proxy, async ({ server, agent }) => {
  const target = await rawServer((socket) => socket.pipe(socket))
  const opening = tunnel(agent, server, `127.0.0.1:${target.port}`)
  const queued = http.get(to(server, agent))
  const socket = await opening
  const [res] = await once(queued, 'response')
  assert.equal(res.statusCode, 400)
  res.resume()
  socket.destroy()
  await target.stop()
}, { agentOptions: { maxSockets: 1 } })

const mirror = () => rawServer((socket) => socket.pipe(socket))

within('create_connection_called_by_anyone_gives_a_connected_socket', mirror, async ({ server, agent }) => {
  const socket = agent.createConnection({ host: '127.0.0.1', port: server.port })
  assert.ok(socket instanceof net.Socket)
  socket.end('echo')
  assert.equal((await collect(socket)).toString(), 'echo')
})

within('agent_base_agent_may_return_the_agent_as_its_inner_one', echoing, async ({ server, agent }) => {
  class Choosing extends BaseAgent {
    async connect () { return agent }
  }
  const outer = new Choosing()
  for (let n = 0; n < 3; n++) {
    const { text } = await exchange(server, outer)
    assert.equal(text.toString(), 'plain')
  }
  outer.destroy()
})

describe('over TLS', () => {
  let identity, secure
  before(async () => {
    identity = selfSigned()
    secure = https.createServer(identity, (req, res) => req.pipe(res))
    webSockets(secure)
    await once(secure.listen(0, '127.0.0.1'), 'listening')
  })
  after(() => {
    secure.closeAllConnections()
    secure.close()
  })

  const port = () => secure.address().port

  within('tls_over_a_tunnel_shakes_hands_and_carries_a_mib', proxy, async ({ server, agent }) => {
    const socket = await tunnel(agent, server, `127.0.0.1:${port()}`)
    const secured = tls.connect({ socket, ca: identity.cert, servername: 'localhost' })
    await once(secured, 'secureConnect')
    assert.equal(secured.authorized, true)
    const req = http.request({ createConnection: () => secured, method: 'POST', host: 'localhost' })
    req.end(Buffer.alloc(MIB, 't'))
    const [res] = await once(req, 'response')
    assert.equal((await collect(res)).length, MIB)
    secured.destroy()
  })

  within('tls_over_a_tunnel_refuses_a_stranger_s_certificate', proxy, async ({ server, agent }) => {
    const socket = await tunnel(agent, server, `127.0.0.1:${port()}`)
    const [error] = await once(tls.connect({ socket, servername: 'localhost' }), 'error')
    assert.equal(error.code, 'DEPTH_ZERO_SELF_SIGNED_CERT')
  })

  within('tls_over_a_tunnel_closed_while_shaking_hands_fails_once', async () => {
    const server = await httpServer()
    return server.on('connect', (req, client) => {
      client.write('HTTP/1.1 200 OK\r\n\r\n')
      client.once('data', () => client.destroy())
    })
  }, async ({ server, agent }) => {
    const socket = await tunnel(agent, server, 'localhost:443')
    const secured = tls.connect({ socket, servername: 'localhost' })
    const [error] = await once(secured, 'error')
    assert.equal(error.code, 'ECONNRESET')
    if (!secured.closed) await once(secured, 'close')
  })

  within('https_through_agent_base_over_the_agent_answers', proxy, async ({ server, agent }) => {
    const outer = new TunnelAgent(agent, server, { ca: identity.cert })
    for (let n = 0; n < 3; n++) {
      const req = https.request({ host: '127.0.0.1', port: port(), agent: outer, method: 'POST' }).end(`body ${n}`)
      const [res] = await once(req, 'response')
      assert.equal((await collect(res)).toString(), `body ${n}`)
    }
    outer.destroy()
  })

  within('wss_through_a_connect_proxy_over_the_agent_echoes', proxy, async ({ server, agent }) => {
    const outer = new TunnelAgent(agent, server, { ca: identity.cert })
    const client = new WebSocket(`wss://127.0.0.1:${port()}`, { agent: outer, perMessageDeflate: false })
    await once(client, 'open')
    assert.equal(await talk(client, 'hello'), 'hello')
    const big = 'v'.repeat(MIB)
    assert.equal(await talk(client, big), big)
    await hangUp(client)
    assert.deepEqual(server.tunnels, [`127.0.0.1:${port()}`])
    outer.destroy()
  })

  within('https_proxy_agent_whose_connection_is_the_agent_s_answers', proxy, async ({ server, agent }) => {
    // https-proxy-agent dials with net.connect, so its own connect is the place to put the agent under it.
    class Dialled extends HttpsProxyAgent {
      async connect (req, options) {
        const socket = await tunnel(agent, server, `${options.host}:${options.port}`)
        return tls.connect({ socket, ca: identity.cert, servername: 'localhost' })
      }
    }
    const outer = new Dialled(`http://127.0.0.1:${server.port}`)
    const req = https.request({ host: '127.0.0.1', port: port(), agent: outer, method: 'POST' }).end('proxied')
    const [res] = await once(req, 'response')
    assert.equal((await collect(res)).toString(), 'proxied')
    outer.destroy()
  })
})

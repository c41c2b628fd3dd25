// The clients that people use, each through the agent, against Node's server and against nginx.
import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, describe, test } from 'node:test'
import httpProxy from 'http-proxy'
import WebSocket, { WebSocketServer } from 'ws'
import { AgentUnderTest, isHoldfast } from './support/agents.mjs'
import { CLIENTS, FOLLOWING } from './support/clients.mjs'
import { startNginx } from './support/nginx.mjs'
import { httpServer } from './support/servers.mjs'
import { assertNumbersAddUp } from './support/stats.mjs'
import { collect, once, until } from './support/wait.mjs'

const REQUESTS = 20
const limits = { timeout: 20_000 }

const answering = () => httpServer(async (req, res) => {
  if (req.url === '/redirect') return res.writeHead(302, { Location: '/' }).end()
  const body = await collect(req)
  res.setHeader('Content-Type', 'text/plain')
  if (req.url === '/chunked') res.write('chunked ')
  res.end(`${req.method} ${body}`)
})

describe('against Node\'s server', () => {
  for (const [name, send] of Object.entries(CLIENTS)) {
    test(`${name}_sends_${REQUESTS}_requests_over_reused_connections`, limits, async () => {
      const server = await answering()
      const agent = new AgentUnderTest()
      try {
        for (let n = 0; n < REQUESTS; n++) {
          const [method, body] = n % 2 ? ['POST', `body ${n}`] : ['GET', undefined]
          const path = n % 3 ? '/' : '/chunked'
          const text = await send({ agent, url: `http://127.0.0.1:${server.port}${path}`, method, body })
          assert.equal(text, `${n % 3 ? '' : 'chunked '}${method} ${body ?? ''}`)
          await until(() => Object.keys(agent.sockets).length === 0)
        }
        assert.ok(server.accepted.length <= 2, `${server.accepted.length} connections for ${REQUESTS} requests`)
        const idle = Object.values(agent.freeSockets).flat()
        assert.ok(idle.every((socket) => socket.listenerCount('data') === 0), 'no data listener while idle')
        agent.destroy()
        await until(() => server.open.size === 0 && agent.totalSocketCount === 0)
        assertNumbersAddUp(agent)
      } finally {
        agent.destroy()
        await server.stop()
      }
    })

    test(`${name}_sends_${REQUESTS}_requests_at_once`, limits, async () => {
      const server = await answering()
      const agent = new AgentUnderTest({ maxSockets: 5 })
      try {
        const url = `http://127.0.0.1:${server.port}/`
        const texts = await Promise.all(Array.from({ length: REQUESTS }, (_, n) =>
          send({ agent, url, method: 'POST', body: `body ${n}` })))
        assert.deepEqual(texts, Array.from({ length: REQUESTS }, (_, n) => `POST body ${n}`))
        assert.ok(server.accepted.length <= 5, `${server.accepted.length} connections with maxSockets 5`)
      } finally {
        agent.destroy()
        await server.stop()
      }
    })

    if (!FOLLOWING.has(name)) continue
    test(`${name}_follows_a_redirect`, limits, async () => {
      const server = await answering()
      const agent = new AgentUnderTest()
      try {
        const text = await send({ agent, url: `http://127.0.0.1:${server.port}/redirect`, method: 'GET' })
        assert.equal(text, 'GET ')
      } finally {
        agent.destroy()
        await server.stop()
      }
    })
  }

  test(`ws_opens_${REQUESTS}_sockets_and_leaves_the_pool_clean`, limits, async () => {
    const server = await answering()
    const sockets = new WebSocketServer({ server })
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data)))
    const agent = new AgentUnderTest({ maxSockets: 2 })
    try {
      for (let n = 0; n < REQUESTS; n++) {
        const client = new WebSocket(`ws://127.0.0.1:${server.port}`, { agent })
        await once(client, 'open')
        client.send(`message ${n}`)
        assert.equal((await once(client, 'message'))[0].toString(), `message ${n}`)
        client.close()
        await once(client, 'close')
      }
      await until(() => agent.totalSocketCount === 0)
      assertNumbersAddUp(agent)
    } finally {
      agent.destroy()
      await server.stop()
    }
  })
})

test('http-proxy_carries_web_sockets_through_the_agent', limits, async () => {
  const server = await answering()
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data)))
  const agent = new AgentUnderTest()
  const proxy = httpProxy.createProxyServer({ target: `http://127.0.0.1:${server.port}`, agent })
  const front = await httpServer((req, res) => res.end())
  front.on('upgrade', (req, socket, head) => proxy.ws(req, socket, head))
  try {
    for (let n = 0; n < 3; n++) {
      const client = new WebSocket(`ws://127.0.0.1:${front.port}`)
      await once(client, 'open')
      const message = String(n).repeat(100_000)
      client.send(message)
      assert.equal((await once(client, 'message'))[0].toString(), message)
      client.close()
      await once(client, 'close')
    }
    await until(() => server.open.size === 0)
  } finally {
    agent.destroy()
    await front.stop()
    await server.stop()
  }
})

describe('against nginx with keepalive_requests 3', () => {
  let nginx
  before(async () => { nginx = await startNginx() }, limits)
  after(() => nginx?.stop())

  for (const [name, send] of Object.entries(CLIENTS)) {
    test(`${name}_sends_${REQUESTS}_requests_over_reused_connections`, limits, async () => {
      const agent = new AgentUnderTest()
      try {
        const connections = new Set()
        for (let n = 0; n < REQUESTS; n++) {
          const text = await send({ agent, url: `http://127.0.0.1:${nginx.port}/`, method: 'GET' })
          const [connection, requests] = text.split(' ')
          connections.add(connection)
          assert.ok(Number(requests) <= 3)
          await until(() => Object.keys(agent.sockets).length === 0)
        }
        assert.ok(connections.size <= Math.ceil(REQUESTS / 3) + 1, `${connections.size} connections`)
      } finally {
        agent.destroy()
      }
    })
  }

  test('idle_connection_that_nginx_closed_after_its_timeout_is_replaced', limits, async () => {
    const agent = new AgentUnderTest({ freeSocketTimeout: 0 })
    try {
      const get = () => CLIENTS['http.request']({ agent, url: `http://127.0.0.1:${nginx.port}/`, method: 'GET' })
      const [first] = (await get()).split(' ')
      await until(() => agent.totalSocketCount === 0)
      const [second] = (await get()).split(' ')
      assert.notEqual(second, first)
    } finally {
      agent.destroy()
    }
  })

  const ours = isHoldfast ? limits : { skip: 'Node\'s agent fails here: that is what holdfast is for' }

  test('connections_that_nginx_closes_under_a_blocked_loop_fail_no_request', ours, async () => {
    const agent = new AgentUnderTest({ freeSocketTimeout: 0 })
    const get = () => new Promise((resolve, reject) => {
      http.get({ host: '127.0.0.1', port: nginx.port, agent }, (res) => collect(res).then(resolve, reject))
        .on('error', reject)
    })
    try {
      await Promise.all([get(), get(), get()])
      await until(() => Object.values(agent.freeSockets).flat().length === 3)
      // Blocking the loop is what is tested, so this wait is no synchronisation.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500)
      await Promise.all([get(), get(), get()])
    } finally {
      agent.destroy()
    }
  })
})

// The built-in fetch over a FetchAgent: what every caller of fetch relies on.
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import zlib from 'node:zlib'
import { after, before, describe, test } from 'node:test'
import { FetchAgent } from '../index.mjs'
import { serverElsewhere } from './support/elsewhere.mjs'
import { assertStats } from './support/outcome.mjs'
import { microsocks, tinyproxy } from './support/proxies.mjs'
import { httpServer, ok, rawServer, refusedPort, scripted } from './support/servers.mjs'
import { Authority } from './support/tls/authority.mjs'
import { secureServer } from './support/tls/servers.mjs'
import { sum } from './support/stats.mjs'
import { collect, until } from './support/wait.mjs'
import { webSockets } from './support/web-sockets.mjs'

const limits = { timeout: 20_000 }
const MIB = 1 << 20

const echo = async (req, res) => {
  if (req.url === '/gzip') return res.setHeader('Content-Encoding', 'gzip').end(zlib.gzipSync('unpacked'))
  if (req.url === '/redirect') return res.writeHead(302, { Location: '/target' }).end()
  if (req.url === '/large') return res.end(Buffer.alloc(8 * MIB, 'x'))
  const body = await collect(req)
  res.setHeader('X-Seen', `${req.method} ${req.url}`)
  res.end(body)
}

/** A test with a server and an agent of its own, at the end of which nothing may be left. */
const within = (claim, body, { start = () => httpServer(echo), options, skip } = {}) => test(claim, { ...limits, skip }, async () => {
  const server = await start()
  const agent = new FetchAgent(options)
  try {
    await body({ server, agent, origin: `http://127.0.0.1:${server.port}`, fetch: (url, init) => fetch(url, { dispatcher: agent, ...init }) })
  } finally {
    await agent.destroy()
    await server.stop()
  }
  const { connecting, idle, leased, closing, waiting } = agent.stats()
  await until(() => agent.stats().closing === 0)
  assert.deepEqual({ connecting, idle, leased, waiting }, { connecting: 0, idle: 0, leased: 0, waiting: 0 }, `${closing} closing`)
})

const bytesOf = (size) => Uint8Array.from({ length: size }, (_, at) => at % 251)

describe('bodies', () => {
  const BODIES = {
    text: 'hello',
    bytes: bytesOf(100_000),
    large: bytesOf(5 * MIB),
    search: new URLSearchParams({ a: 1 }),
    blob: new Blob(['hello'])
  }
  for (const [name, body] of Object.entries(BODIES)) {
    within(`${name}_goes_there_and_back`, async ({ origin, fetch, agent }) => {
      for (let n = 0; n < 3; n++) {
        const res = await fetch(`${origin}/${n}`, { method: 'POST', body })
        assert.equal(res.headers.get('x-seen'), `POST /${n}`)
        assert.deepEqual(Buffer.from(await res.arrayBuffer()), Buffer.from(await new Response(body).arrayBuffer()))
      }
      assertStats(agent.stats(), { opened: 1, reused: 2 })
    })
  }

  within('form_goes_with_its_boundary', async ({ origin, fetch }) => {
    const form = new FormData()
    form.set('a', 'b')
    const res = await fetch(origin, { method: 'POST', body: form })
    assert.match(await res.text(), /name="a"\r\n\r\nb\r\n/)
  })

  within('stream_goes_piece_by_piece', async ({ origin, fetch }) => {
    const pieces = ['a', 'b', 'c']
    const body = new ReadableStream({
      pull (controller) { pieces.length ? controller.enqueue(Buffer.from(pieces.shift())) : controller.close() }
    })
    assert.equal(await (await fetch(origin, { method: 'POST', duplex: 'half', body })).text(), 'abc')
  })

  within('body_that_throws_midway_is_an_error_once_and_its_connection_is_not_reused', async ({ origin, fetch, agent }) => {
    const body = new ReadableStream({
      pull (controller) { controller.error(new Error('midway')) }
    })
    await assert.rejects(fetch(origin, { method: 'POST', duplex: 'half', body }), TypeError)
    await (await fetch(origin)).text()
    assert.equal(agent.stats().reused, 0)
  })

  within('slow_reader_holds_the_server_back', async ({ origin, fetch, agent, server }) => {
    const res = await fetch(`${origin}/large`)
    const reader = res.body.getReader()
    let read = (await reader.read()).value.length
    const [socket] = server.accepted
    await until(() => socket.writableLength > 0)
    for (let n = 0; n < 50; n++) await new Promise((resolve) => setImmediate(resolve))
    assert.ok(socket.writableLength > 0, 'the server still waits')
    for (let part = await reader.read(); !part.done; part = await reader.read()) read += part.value.length
    assert.equal(read, 8 * MIB)
    await until(() => agent.stats().idle === 1)
  })

  within('packed_answers_and_redirects_are_fetchs_own_business', async ({ origin, fetch }) => {
    assert.equal(await (await fetch(`${origin}/gzip`)).text(), 'unpacked')
    const res = await fetch(`${origin}/redirect`)
    assert.deepEqual([res.url, res.headers.get('x-seen')], [`${origin}/target`, 'GET /target'])
  })
})

describe('connections', () => {
  within('idle_connection_that_the_server_closed_is_never_used', async ({ server, origin, fetch, agent }) => {
    for (const way of ['fin', 'reset']) {
      for (const method of ['GET', 'POST']) {
        await (await fetch(origin)).text()
        server.endAllWhileBlocked(way)
        assert.equal(await (await fetch(origin, { method })).text(), 'x')
      }
    }
    assertStats(agent.stats(), { requests: 8, replays: {}, refused: {} })
  }, { start: serverElsewhere })

  const breaksSecond = () => {
    let served = 0
    return scripted((socket, head, { connection, request }) => {
      if (connection === 1 && request === 2) return socket.resetAndDestroy()
      served++
      socket.write(ok(`${served}`))
    })
  }
  within('idempotent_request_is_replayed_when_its_reused_connection_dies', async ({ origin, fetch, agent }) => {
    await (await fetch(origin)).text()
    const res = await fetch(origin, { method: 'PUT', body: 'again' })
    assert.equal(await res.text(), '2')
    assert.equal(sum(agent.stats().replays), 1)
  }, { start: breaksSecond })

  within('post_that_a_server_may_have_executed_surfaces_with_what_is_known', async ({ origin, fetch }) => {
    await (await fetch(origin)).text()
    const error = await fetch(origin, { method: 'POST', body: 'once' }).then(() => undefined, (error) => error)
    assert.equal(error.message, 'fetch failed')
    assert.equal(error.cause.code, 'ECONNRESET')
    assert.equal(error.cause.reused, true)
    assert.ok(['acknowledged', 'unknown'].includes(error.cause.evidence), error.cause.evidence)
    assert.equal(error.cause.attempts, 1)
  }, { start: breaksSecond })

  within('refused_connection_is_told_and_tried_again_if_asked', async ({ fetch, agent }) => {
    const events = []
    agent.on('connectionError', (url, targets, error) => events.push([url.port, targets[0] === agent, error.code]))
    const port = await refusedPort()
    const error = await fetch(`http://127.0.0.1:${port}`).catch((error) => error)
    assert.equal(error.cause.code, 'ECONNREFUSED')
    assert.deepEqual(events, [[`${port}`, true, 'ECONNREFUSED']])
    assert.equal(agent.stats().retries, 2)
  }, { options: { retry: { attempts: 2, backoff: { base: 1, max: 2 } } } })

  within('connections_are_limited_and_the_rest_waits_in_order', async ({ origin, fetch, agent, server }) => {
    // Which of the two connections is ahead is the kernel's affair; each gets its requests in order.
    const orders = new Map()
    server.on('request', ({ socket, url }) => orders.set(socket, [...orders.get(socket) ?? [], Number(url.slice(1))]))
    await Promise.all(Array.from({ length: 12 }, async (_, n) => {
      assert.equal(await (await fetch(`${origin}/${n}`)).text(), '')
    }))
    assert.equal(server.accepted.length, 2)
    assert.equal(orders.size, 2)
    for (const order of orders.values()) assert.deepEqual(order, [...order].sort((a, b) => a - b))
    assert.equal(agent.stats().opened, 2)
  }, { options: { connections: 2 } })

  within('events_tell_of_connections', async ({ origin, fetch, agent }) => {
    const events = []
    for (const kind of ['connect', 'disconnect']) {
      agent.on(kind, (url, targets, error) => events.push([kind, url.origin, targets[0] === agent, error?.code]))
    }
    await (await fetch(origin, { headers: { connection: 'close' } })).text()
    await until(() => events.length === 2)
    assert.deepEqual(events, [['connect', origin, true, undefined], ['disconnect', origin, true, 'UND_ERR_INFO']])
  })

  within('context_of_the_caller_is_kept', async ({ origin, fetch }) => {
    const storage = new AsyncLocalStorage()
    await Promise.all([1, 2, 3].map((n) => storage.run(n, async () => {
      for (let again = 0; again < 3; again++) {
        await (await fetch(origin)).text()
        assert.equal(storage.getStore(), n)
      }
    })))
  })
})

describe('aborts', () => {
  const silent = () => rawServer((socket) => socket.resume())

  within('before_the_request_nothing_is_sent', async ({ origin, fetch, server }) => {
    await assert.rejects(fetch(origin, { signal: AbortSignal.abort(new Error('never')) }), { message: 'never' })
    assert.equal(server.accepted.length, 0)
  })

  within('while_waiting_for_an_answer', async ({ origin, fetch, server }) => {
    const controller = new AbortController()
    const pending = fetch(origin, { signal: controller.signal })
    await until(() => server.accepted.length === 1)
    controller.abort(new Error('enough'))
    await assert.rejects(pending, { message: 'enough' })
    await until(() => server.open.size === 0)
  }, { start: silent })

  within('while_waiting_for_a_connection', async ({ origin, fetch, agent, server }) => {
    const first = fetch(origin).catch((error) => error)
    const controller = new AbortController()
    const second = fetch(origin, { signal: controller.signal })
    await until(() => agent.stats().waiting === 1)
    controller.abort(new Error('enough'))
    await assert.rejects(second, { message: 'enough' })
    assert.equal(agent.stats().waiting, 0)
    await agent.destroy()
    assert.equal((await first).cause.code, 'UND_ERR_DESTROYED')
    await until(() => server.open.size === 0)
  }, { start: silent, options: { connections: 1 } })

  within('within_the_body', async ({ origin, fetch, server }) => {
    const controller = new AbortController()
    const res = await fetch(`${origin}/large`, { signal: controller.signal })
    controller.abort(new Error('enough'))
    // Of the reason, Node 20 has nothing to say.
    await assert.rejects(res.text(), /enough|The operation was aborted/)
    await until(() => server.open.size === 0)
  })

  within('by_cancelling_the_body', async ({ origin, fetch, server }) => {
    const res = await fetch(`${origin}/large`)
    await res.body.cancel()
    await until(() => server.open.size === 0)
  })
})

describe('limits', () => {
  const causeOf = (promise) => promise.then(() => undefined, ({ cause }) => cause)

  within('head_that_does_not_come', async ({ origin, fetch }) => {
    assert.equal((await causeOf(fetch(origin)))?.code, 'UND_ERR_HEADERS_TIMEOUT')
  }, { start: () => rawServer(() => {}), options: { headersTimeout: 50 } })

  within('body_that_does_not_go_on', async ({ origin, fetch }) => {
    const res = await fetch(origin)
    assert.equal((await causeOf(res.text()))?.code, 'UND_ERR_BODY_TIMEOUT')
  }, { start: () => scripted((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello')), options: { bodyTimeout: 50 } })

  within('body_larger_than_allowed_by_its_length', async ({ origin, fetch }) => {
    const outcome = await fetch(`${origin}/large`).then((res) => res.text()).catch((error) => error)
    assert.equal(outcome.cause.code, 'UND_ERR_RES_EXCEEDED_MAX_SIZE')
  }, { options: { maxResponseSize: 1000 } })

  within('body_larger_than_allowed_in_chunks', async ({ origin, fetch }) => {
    const outcome = await fetch(origin).then((res) => res.text()).catch((error) => error)
    assert.equal(outcome.cause.code, 'UND_ERR_RES_EXCEEDED_MAX_SIZE')
  }, {
    options: { maxResponseSize: 3 },
    start: () => scripted((socket) => socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n'))
  })

  for (const size of [1000, 20_000]) {
    within(`head_larger_than_${size}`, async ({ origin, fetch }) => {
      assert.equal((await causeOf(fetch(origin)))?.code, 'UND_ERR_HEADERS_OVERFLOW')
    }, {
      options: { maxHeaderSize: size },
      start: () => scripted((socket) => socket.write(ok('x', `X: ${'y'.repeat(size)}\r\n`)))
    })
  }

  within('many_headers_are_fine', async ({ origin, fetch }) => {
    assert.equal([...(await fetch(origin)).headers].length, 1201)
  }, { start: () => scripted((socket) => socket.write(ok('x', Array.from({ length: 1200 }, (_, n) => `X-${n}: y\r\n`).join('')))) })

  within('connect_that_takes_too_long', async ({ fetch }) => {
    // A lookup that never answers: nothing is connected to.
    assert.equal((await causeOf(fetch('http://never.test/')))?.code, 'UND_ERR_CONNECT_TIMEOUT')
  }, { options: { connect: { timeout: 50, lookup: () => {} } } })

  within('queue_that_is_full', async ({ origin, fetch, agent }) => {
    const pending = [fetch(origin), fetch(origin)].map((one) => one.catch(() => {}))
    assert.equal((await causeOf(fetch(origin)))?.code, 'ERR_AGENT_QUEUE_FULL')
    await agent.destroy()
    await Promise.all(pending)
  }, { start: () => rawServer(() => {}), options: { connections: 1, queueLimit: 1 } })
})

describe('lifecycle', () => {
  within('close_waits_for_what_runs_and_takes_nothing_more', async ({ origin, fetch, agent }) => {
    const pending = fetch(origin, { method: 'POST', body: 'last' })
    const closed = agent.close()
    assert.equal(agent.closed, true)
    assert.equal((await fetch(origin).catch((error) => error)).cause.code, 'UND_ERR_CLOSED')
    assert.equal(await (await pending).text(), 'last')
    await closed
    assert.deepEqual([agent.destroyed, agent.stats().closed], [true, { finished: 1 }])
  })

  within('destroy_ends_what_runs_with_its_error', async ({ origin, fetch, agent }) => {
    const failed = fetch(origin).catch((error) => error)
    await agent.destroy(new Error('over'))
    assert.equal((await failed).cause.message, 'over')
    assert.equal((await fetch(origin).catch((error) => error)).cause.code, 'UND_ERR_DESTROYED')
  }, { start: () => rawServer(() => {}) })

  within('installed_agent_serves_every_fetch_until_it_is_uninstalled', async ({ origin, agent }) => {
    agent.install()
    try {
      assert.equal(await (await globalThis.fetch(origin)).text(), '')
      assert.equal(agent.stats().requests, 1)
    } finally {
      agent.uninstall()
    }
    assert.equal(await (await globalThis.fetch(origin, { headers: { connection: 'close' } })).text(), '')
    assert.equal(agent.stats().requests, 1)
  })
})

describe('web sockets', () => {
  const talk = async (url, dispatcher) => {
    const socket = new WebSocket(url, { dispatcher })
    socket.binaryType = 'arraybuffer'
    await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: ({ error }) => reject(error) }))
    for (const message of ['hello', 'x'.repeat(MIB)]) {
      socket.send(message)
      const { data } = await new Promise((resolve) => { socket.onmessage = resolve })
      assert.equal(data, message)
    }
    const closed = new Promise((resolve) => { socket.onclose = resolve })
    socket.close(1000)
    assert.equal((await closed).code, 1000)
  }
  const skip = typeof WebSocket === 'function' ? false : 'this Node has no WebSocket'

  within('web_socket_over_the_agent', async ({ server, agent }) => {
    await talk(`ws://127.0.0.1:${server.port}`, agent)
    assertStats(agent.stats(), { closed: { detached: 1 } })
  }, { start: async () => webSockets(await httpServer(echo)), skip })

  const identity = new Authority('root').issue({ names: ['IP:127.0.0.1'] })
  within('secured_web_socket_over_the_agent', async ({ server, agent }) => {
    await talk(`wss://127.0.0.1:${server.port}`, agent)
  }, {
    start: async () => webSockets(await secureServer(identity, echo)), options: { connect: { rejectUnauthorized: false } }, skip
  })
})

describe('TLS and proxies', () => {
  const root = new Authority('holdfast test root')
  const identity = root.issue({ names: ['DNS:localhost', 'IP:127.0.0.1'] })
  let plain, secure, http, socks
  before(async () => {
    // Programs first: their ports are free until they have started.
    [http, socks] = await Promise.all([tinyproxy(), microsocks()]);
    [plain, secure] = await Promise.all([httpServer(echo), secureServer(identity, echo)])
  })
  after(() => Promise.all([plain, secure, http, socks].map((server) => server.stop())))

  const fetched = async (options, { isSecure = true, reused = 1 } = {}) => {
    const agent = new FetchAgent(options)
    try {
      const url = isSecure ? `https://localhost:${secure.port}` : `http://127.0.0.1:${plain.port}`
      const texts = []
      for (let n = 0; n < 2; n++) texts.push(await (await fetch(url, { method: 'POST', body: `${n}`, dispatcher: agent })).text())
      assertStats(agent.stats(), { opened: 2 - reused, reused })
      return texts.join()
    } catch (error) {
      return error.cause?.code ?? error
    } finally {
      await agent.destroy()
    }
  }

  test('options_of_tls_may_be_the_agents_or_its_connectors', limits, async () => {
    assert.equal(await fetched({ ca: root.cert }), '0,1')
    assert.equal(await fetched({ connect: { ca: root.cert } }), '0,1')
    assert.equal(await fetched({ tls: { ca: root.cert } }), '0,1')
  })

  test('server_that_nobody_vouches_for_is_refused', limits, async () => {
    assert.equal(await fetched({}), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    assert.equal(await fetched({ rejectUnauthorized: false }), '0,1')
    assert.equal(await fetched({ ca: root.cert, servername: 'other.test' }), 'ERR_TLS_CERT_ALTNAME_INVALID')
  })

  for (const isSecure of [false, true]) {
    const scheme = isSecure ? 'https' : 'http'
    test(`proxy_of_http_leads_to_${scheme}`, limits, async () => {
      assert.equal(await fetched({ ca: root.cert, proxy: `http://127.0.0.1:${http.port}` }, {
        isSecure, reused: isSecure ? 1 : 0 // tinyproxy closes behind each
      }), '0,1')
    })
    test(`proxy_of_socks_leads_to_${scheme}`, limits, async () => {
      assert.equal(await fetched({ ca: root.cert, proxy: `socks5h://127.0.0.1:${socks.port}` }, { isSecure }), '0,1')
    })
  }
})

describe('bad options', () => {
  for (const [name, options] of Object.entries({
    factory: { factory: () => {} },
    connect: { connect: () => {} },
    pipelining: { pipelining: 2 },
    interceptors: { interceptors: {} },
    useH2c: { useH2c: true },
    socketTimeout: { socketTimeout: 1 },
    idleTimeout: { idleTimeout: 1 }
  })) {
    test(`names_${name}`, () => {
      assert.throws(() => new FetchAgent(options), { code: 'ERR_INVALID_ARG_VALUE', message: new RegExp(name) })
    })
  }
  for (const options of [{ headersTimeout: 'x' }, { maxResponseSize: -2 }, { connections: -1 }, { strictContentLength: 1 },
    { maxOrigins: 0 }, { maxConcurrentStreams: 1.5 }, { initialWindowSize: 0 }, { webSocket: 1 }, { tls: 1 }, 1]) {
    test(`refuses_${JSON.stringify(options)}`, () => {
      assert.throws(() => new FetchAgent(options), /^(?:Type|Range)Error/)
    })
  }
})

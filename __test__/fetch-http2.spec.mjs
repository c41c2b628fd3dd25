// HTTP/2 by ALPN: exchanges share a connection, and what its peer has not looked at begins again.
import assert from 'node:assert/strict'
import http2 from 'node:http2'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import zlib from 'node:zlib'
import { request, upgrade } from 'undici'
import { FetchAgent, createFetch } from '../index.mjs'
import { listen, track } from './support/servers.mjs'
import { Authority } from './support/tls/authority.mjs'
import { secureServer } from './support/tls/servers.mjs'
import { collect, until } from './support/wait.mjs'

const MIB = 1 << 20
const identity = new Authority('root').issue({ names: ['DNS:localhost', 'IP:127.0.0.1'] })

const echo = async (req, res) => {
  if (req.url === '/large') return res.end(Buffer.alloc(8 * MIB, 'x'))
  if (req.url === '/gzip') {
    res.setHeader('content-encoding', 'gzip')
    return res.end(zlib.gzipSync('unpacked'))
  }
  if (req.url === '/nothing') return res.writeHead(204).end()
  const body = await collect(req)
  res.setHeader('x-seen', `${req.httpVersion} ${req.method} ${req.url}`)
  res.end(body.length > 0 ? body : 'x')
}

/** A server of both versions: `sessions` are those of HTTP/2, `streams` counts theirs. */
const bothServer = async ({ handler = echo, onStream, ...options } = {}) => {
  const server = http2.createSecureServer({ ...identity, allowHTTP1: true, ...options })
  const sessions = []
  const seen = { streams: 0 }
  server.on('session', (session) => {
    sessions.push(session)
    session.on('error', () => {})
  })
  server.on('sessionError', () => {})
  server.on('tlsClientError', () => {})
  server.on('stream', (stream) => {
    seen.streams++
    stream.on('error', () => {})
    onStream?.(stream, seen.streams)
  })
  if (!onStream) server.on('request', handler)
  track(server)
  const listening = await listen(server, { port: 0, host: '127.0.0.1' })
  return Object.assign(listening, { sessions, seen })
}

const within = (claim, body, { start, options } = {}) => test(claim, { timeout: 20_000 }, async () => {
  const server = await (start ?? bothServer)()
  const agent = new FetchAgent({ allowH2: true, connect: { rejectUnauthorized: false }, ...options })
  const origin = `https://127.0.0.1:${server.port}`
  try {
    await body({ server, agent, origin, fetch: (path, init) => fetch(`${origin}${path}`, { dispatcher: agent, ...init }) })
  } finally {
    await agent.destroy()
    await server.stop()
  }
  await until(() => agent.stats().closing === 0)
  const { connecting, idle, leased, waiting } = agent.stats()
  assert.deepEqual({ connecting, idle, leased, waiting }, { connecting: 0, idle: 0, leased: 0, waiting: 0 })
})

const texts = (responses) => Promise.all(responses.map(async (res) => await (await res).text()))

within('fifty_requests_at_once_share_one_connection', async ({ fetch, server, agent }) => {
  const answers = await texts(Array.from({ length: 50 }, (_, n) => fetch(`/${n}`, { method: 'POST', body: `${n}` })))
  assert.deepEqual(answers, Array.from({ length: 50 }, (_, n) => `${n}`))
  await texts([fetch('/again')])
  assert.deepEqual([server.sessions.length, server.seen.streams], [1, 51])
  const { opened, requests, reused, idle } = agent.stats()
  assert.deepEqual({ opened, requests, reused, idle }, { opened: 1, requests: 51, reused: 50, idle: 1 })
})

within('request_and_answer_are_those_of_HTTP_1', async ({ fetch }) => {
  const res = await fetch('/path?query', { method: 'PUT', body: 'body', headers: { 'X-Own': 'a' } })
  assert.deepEqual([res.status, res.statusText, res.headers.get('x-seen')], [200, '', '2.0 PUT /path?query'])
  assert.equal(await res.text(), 'body')
  assert.equal((await fetch('/nothing')).status, 204)
  assert.equal(await (await fetch('/gzip')).text(), 'unpacked')
  const head = await fetch('/', { method: 'HEAD' })
  assert.deepEqual([head.status, await head.text()], [200, ''])
})

within('windows_are_as_wide_as_they_were_asked_to_be', async ({ fetch, server }) => {
  await texts([fetch('/')])
  const { remoteSettings: { initialWindowSize }, state: { remoteWindowSize } } = server.sessions[0]
  assert.equal(initialWindowSize, 100_000)
  assert.ok(remoteWindowSize > 190_000 && remoteWindowSize <= 200_000, `${remoteWindowSize}`)
}, { options: { initialWindowSize: 100_000, connectionWindowSize: 200_000 } })

within('bodies_of_any_size_go_there_and_back', async ({ fetch }) => {
  const body = Uint8Array.from({ length: 5 * MIB }, (_, at) => at % 251)
  const answers = await Promise.all([1, 2, 3].map(() => fetch('/', { method: 'POST', body })))
  for (const res of answers) assert.deepEqual(Buffer.from(await res.arrayBuffer()), Buffer.from(body))
})

within('answer_that_nobody_reads_holds_up_no_other', async ({ fetch, server }) => {
  const unread = await fetch('/large')
  await texts([fetch('/'), fetch('/')])
  const chunks = await collect(unread.body)
  assert.equal(chunks.length, 8 * MIB)
  assert.equal(server.sessions.length, 1)
})

within('abort_resets_the_stream_and_no_other', async ({ fetch, server }) => {
  const abort = new AbortController()
  const res = await fetch('/large', { signal: abort.signal })
  const other = fetch('/', { method: 'POST', body: 'other' })
  abort.abort()
  await assert.rejects(res.text(), { name: 'AbortError' })
  assert.deepEqual(await texts([other, fetch('/')]), ['other', 'x'])
  assert.equal(server.sessions.length, 1)
})

within('trailers_and_informational_heads_are_told', async ({ agent, origin }) => {
  const informed = []
  const { statusCode, trailers, body } = await request(origin, { dispatcher: agent, onInfo: (info) => informed.push(info) })
  assert.equal(await body.text(), 'whole')
  assert.deepEqual([statusCode, { ...trailers }], [200, { 'x-sum': '1' }])
  assert.deepEqual(informed.map((info) => [info.statusCode, info.headers.link]), [[103, '</a>']])
}, {
  start: () => bothServer({
    onStream (stream) {
      stream.additionalHeaders({ ':status': 103, link: '</a>' })
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }))
      stream.end('whole')
    }
  })
})

const once = (refuse, which = 1) => () => bothServer({
  onStream (stream, count) {
    if (count === which) return refuse(stream)
    collect(stream).then((body) => { stream.respond({ ':status': 200 }); stream.end(`again ${body}`) })
  }
})

within('refused_post_begins_again_with_its_body', async ({ fetch, server, agent }) => {
  const body = new Blob(['bo', 'dy']).stream()
  assert.equal(await (await fetch('/', { method: 'POST', body, duplex: 'half' })).text(), 'again body')
  assert.deepEqual([server.sessions.length, { ...agent.stats().replays }.refused], [1, 1])
}, { start: once((stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)) })

within('what_a_goodbye_leaves_out_begins_again_on_another_connection', async ({ fetch, server }) => {
  assert.equal(await (await fetch('/', { method: 'POST', body: 'first' })).text(), 'again first')
  const body = new Blob(['bo', 'dy']).stream()
  assert.equal(await (await fetch('/', { method: 'POST', body, duplex: 'half' })).text(), 'again body')
  assert.equal(server.sessions.length, 2)
}, { start: once((stream) => stream.session.goaway(0, stream.id - 2), 2) })

const PIECE = 16 * 1024
const pieces = () => Array.from({ length: 20 }, (_, n) => Buffer.alloc(PIECE, 97 + n))

const SOURCES = {
  web_stream: () => ReadableStream.from(pieces()),
  readable: () => Readable.from(pieces()),
  generator: async function * () { yield * pieces() }
}

for (const [name, source] of Object.entries(SOURCES)) {
  within(`upload_from_a_${name}_that_is_refused_midway_arrives_whole_and_in_order`, async ({ agent, origin, server }) => {
    const { body, statusCode } = await request(origin, { dispatcher: agent, method: 'POST', body: source() })
    assert.equal(statusCode, 200)
    assert.deepEqual(Buffer.from(await body.arrayBuffer()), Buffer.concat(pieces()))
    assert.equal(server.seen.streams, 2)
  }, {
    options: { retry: { maxBodyBytes: MIB } },
    start: () => bothServer({
      async onStream (stream, count) {
        // The client has as much under way as the window lets it, and waits for more.
        if (count === 1) return stream.once('readable', () => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM))
        const body = await collect(stream)
        stream.respond({ ':status': 200 })
        stream.end(body)
      }
    })
  })
}

within('upload_that_outgrew_the_replay_buffer_fails_when_it_is_refused', async ({ agent, origin }) => {
  const error = await request(origin, { dispatcher: agent, method: 'POST', body: SOURCES.generator() }).catch((error) => error)
  assert.deepEqual([error.code, error.evidence, error.replayRefused], ['ERR_HTTP2_STREAM_ERROR', 'refused', 'capped'])
}, {
  options: { retry: { maxBodyBytes: PIECE } },
  start: () => bothServer({
    onStream (stream) { stream.once('readable', () => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)) }
  })
})

within('answers_that_nobody_reads_hold_up_no_other', async ({ fetch, server }) => {
  const unread = await Promise.all(Array.from({ length: 8 }, () => fetch('/large')))
  assert.deepEqual(await texts([fetch('/')]), ['x'])
  for (const res of unread) assert.equal((await res.arrayBuffer()).byteLength, 8 * MIB)
  assert.equal(server.sessions.length, 1)
}, { start: () => bothServer({ maxSessionMemory: 1000 }) })

within('head_that_is_too_large_is_told_as_with_HTTP_1', async ({ fetch, server }) => {
  const [large, small] = await Promise.all([fetch('/large').catch((error) => error.cause), fetch('/')])
  assert.deepEqual([large.code, await small.text()], ['UND_ERR_HEADERS_OVERFLOW', 'x'])
  assert.equal(server.sessions.length, 1)
}, {
  start: () => bothServer({
    handler (req, res) {
      if (req.url === '/large') res.setHeader('x-large', 'x'.repeat(20_000))
      res.end('x')
    }
  })
})

within('connection_that_fails_beside_others_of_HTTP_1_fails_one_request', async ({ fetch }) => {
  assert.equal(await (await fetch('/')).text(), 'x')
  const outcomes = await Promise.all(Array.from({ length: 6 }, () => fetch('/').then((res) => res.text(), () => 'failed')))
  assert.deepEqual(outcomes.sort(), ['failed', 'x', 'x', 'x', 'x', 'x'])
}, {
  start: async () => {
    let count = 0
    const server = await secureServer(identity, echo)
    server.on('secureConnection', (socket) => { if (++count === 2) socket.destroy() })
    return server
  }
})

within('stream_error_has_node_s_code', async ({ fetch }) => {
  const error = await fetch('/').catch((error) => error.cause)
  assert.equal(error.code, 'ERR_HTTP2_STREAM_ERROR')
  assert.match(error.message, /NGHTTP2_INTERNAL_ERROR/)
}, { start: () => bothServer({ onStream: (stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR) }) })

within('connection_that_the_server_ended_while_idle_is_not_used', async ({ fetch, server, agent }) => {
  for (const end of ['close', 'destroy']) {
    await texts([fetch('/')])
    const before = agent.stats().opened
    const session = server.sessions.at(-1)
    const closed = new Promise((resolve) => session.once('close', resolve))
    session[end]()
    await closed
    await texts([fetch('/')])
    assert.equal(agent.stats().opened, before + 1)
  }
  assert.deepEqual({ ...agent.stats().refused }, {})
})

within('as_many_streams_as_the_server_allows_and_the_rest_waits', async ({ fetch, server, agent }) => {
  await texts([fetch('/')])
  const answers = Array.from({ length: 10 }, (_, n) => fetch('/', { method: 'POST', body: `${n}` }))
  const { waiting } = agent.stats()
  assert.deepEqual(await texts(answers), Array.from({ length: 10 }, (_, n) => `${n}`))
  assert.equal(waiting, 8)
  assert.equal(server.sessions.length, 1)
}, { start: () => bothServer({ settings: { maxConcurrentStreams: 2 } }) })

within('server_of_HTTP_1_gets_a_connection_for_each', async ({ fetch, agent }) => {
  const answers = await Promise.all(Array.from({ length: 5 }, () => fetch('/')))
  assert.equal(answers[0].headers.get('x-seen'), '1.1 GET /')
  await texts(answers)
  assert.ok(agent.stats().opened > 1)
}, { start: () => secureServer(identity, echo) })

within('HTTP_1_unless_it_is_asked_for', async ({ fetch }) => {
  const res = await fetch('/')
  assert.equal(res.headers.get('x-seen'), '1.1 GET /')
  await res.text()
}, { options: { allowH2: false } })

within('CONNECT_and_upgrades_get_a_connection_of_HTTP_1', async ({ agent, origin, fetch }) => {
  await texts([fetch('/')])
  await assert.rejects(upgrade(origin, { dispatcher: agent, protocol: 'websocket' }), { name: 'SocketError', message: 'bad upgrade' })
  assert.equal(agent.stats().opened, 2)
})

within('connections_that_cannot_be_opened_fail_all_that_wait_for_them', async ({ server, fetch, agent }) => {
  await server.stop()
  const errors = await Promise.all([1, 2, 3].map(() => fetch('/').catch((error) => error.cause.code)))
  assert.deepEqual(errors, ['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED'])
  assert.equal(agent.stats().connectErrors, 1)
})

test('own_fetch_speaks_HTTP_2_too', { timeout: 20_000 }, async () => {
  const server = await bothServer()
  const own = createFetch({ allowH2: true, connect: { rejectUnauthorized: false } })
  const res = await own(`https://127.0.0.1:${server.port}/own`, { method: 'POST', body: 'own' })
  assert.deepEqual([res.headers.get('x-seen'), await res.text()], ['2.0 POST /own', 'own'])
  await server.stop()
})

// What of a body can be sent again, what the options change, and what may happen around a replay.
import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import { Readable } from 'node:stream'
import { breaksSecond, plain, reset } from './support/breaking.mjs'
import { assertStats, outcome, settled } from './support/outcome.mjs'
import { ok, rawServer, scripted } from './support/servers.mjs'
import { once, turns, until } from './support/wait.mjs'
import { exchange, to, withinHoldfast } from './support/within.mjs'

const within = withinHoldfast('Node\'s agent replays nothing')

const BUFFER = 65_536
const POST = { method: 'POST' }
const KEYED = { method: 'POST', headers: { 'Idempotency-Key': 'k1' } }
const put = (length) => ({ method: 'PUT', headers: { 'Content-Length': length } })

const CUT_AT = 3000
const HEAD_END = '\r\n\r\n'

/** Answers one GET, then resets each first connection after `CUT_AT` bytes; the next one echoes a chunked body, raw. */
const cutsUploads = () => rawServer((socket, connection) => {
  let bytes = ''
  socket.on('data', (chunk) => {
    bytes += chunk.toString('latin1')
    if (bytes.startsWith('GET') && bytes.endsWith(HEAD_END)) {
      bytes = ''
      socket.write(ok())
    } else if (connection === 1) {
      if (bytes.length >= CUT_AT) reset(socket)
    } else if (bytes.endsWith(`0${HEAD_END}`)) {
      const [, ...body] = bytes.split(HEAD_END)
      socket.write(ok(body.join(HEAD_END).replace(/(?:^|\r\n)[0-9a-f]+\r\n/g, '').replace(/\r\n$/, '')))
    }
  })
})

const PART = 'a'.repeat(CUT_AT)

within('body_in_pieces_is_sent_again_whole', cutsUploads, async ({ server, agent }) => {
  await exchange(server, agent)
  const req = http.request(to(server, agent, KEYED))
  const ended = outcome(req)
  req.write('one,')
  req.write('two,')
  req.end(PART)
  const { text, errors } = await ended
  assert.deepEqual([text, errors, req.retryCount], [`one,two,${PART}`, [], 1])
})

within('piece_written_while_the_replay_connects_follows_the_others', cutsUploads, async ({ server, agent }) => {
  await exchange(server, agent)
  const req = http.request(to(server, agent, KEYED))
  const ended = outcome(req)
  agent.once('replay', () => {
    req.write('while,')
    process.nextTick(() => req.write('after,'))
  })
  req.write(PART)
  await once(agent, 'replay')
  await until(() => server.accepted.length === 2)
  await turns(5)
  req.end('last')
  const { text, errors } = await ended
  assert.deepEqual([text, errors, req.retryCount], [`${PART}while,after,last`, [], 1])
})

within('piped_stream_is_sent_again_from_its_beginning', cutsUploads, async ({ server, agent }) => {
  await exchange(server, agent)
  const req = http.request(to(server, agent, KEYED))
  const ended = outcome(req)
  const pieces = Array.from({ length: 40 }, (_, n) => `${n}:`.repeat(100))
  Readable.from((async function * () {
    for (const piece of pieces) {
      await turns(1)
      yield piece
    }
  })()).pipe(req)
  const { text, errors } = await ended
  assert.deepEqual([text, errors, req.retryCount], [pieces.join(''), [], 1])
  assertStats(await settled(agent, { idle: 1 }), { opened: 2, replays: 1 })
})

/** What becomes of a PUT of `length` bytes whose reused connection dies when all of it has come. */
const putOf = async (server, agent, length) => {
  await exchange(server, agent)
  const req = http.request(to(server, agent, put(length))).end(Buffer.alloc(length, 'b'))
  const { text, errors } = await outcome(req)
  return { length: text?.length, errors, replays: req.retryCount }
}

const fullPut = BUFFER - 200

for (const [what, outcomes, more, expected] of [
  ['exactly_fills', 'is_sent_again', 0, (length) => ({ length, errors: [], replays: 1 })],
  ['exceeds_by_a_byte', 'is_not', 1, () => ({ length: undefined, errors: ['ECONNRESET'], replays: 0 })],
]) {
  within(`request_that_${what}_the_replay_buffer_${outcomes}`, breaksSecond(), async ({ server, agent }) => {
    // Lengths of as many digits have heads of the same length.
    const probe = http.request(to(server, agent, put(fullPut)))
    probe.end(Buffer.alloc(fullPut))
    await outcome(probe)
    const head = Buffer.byteLength(probe._header)
    agent.destroy()
    await settled(agent)
    const length = BUFFER - head + more
    assert.deepEqual(await putOf(server, agent, length), expected(length))
    assertStats(await settled(agent, { idle: more ? 0 : 1 }), more
      ? { replays: {}, refused: { capped: 1 } }
      : { replays: 1, refused: {} })
  })
}

for (const length of [BUFFER, 10 << 20]) {
  within(`body_of_${length}_bytes_is_not_sent_again`, breaksSecond(), async ({ server, agent }) => {
    assert.deepEqual(await putOf(server, agent, length), { length: undefined, errors: ['ECONNRESET'], replays: 0 })
    assertStats(await settled(agent), { opened: 1, replays: {}, refused: { capped: 1 } })
  })
}

within('body_of_64_kib_under_a_larger_limit_is_sent_again', breaksSecond(), async ({ server, agent }) => {
  assert.deepEqual(await putOf(server, agent, BUFFER), { length: BUFFER, errors: [], replays: 1 })
}, { agentOptions: { retry: { maxBodyBytes: BUFFER + 1000 } } })

within('request_under_a_limit_of_no_bytes_is_not_sent_again', breaksSecond(), async ({ server, agent }) => {
  assert.deepEqual(await putOf(server, agent, 0), { length: undefined, errors: ['ECONNRESET'], replays: 0 })
  assertStats(await settled(agent), { refused: { capped: 1 } })
}, { agentOptions: { retry: { maxBodyBytes: 0 } } })

within('retry_false_surfaces_the_error', breaksSecond(), async ({ server, agent }) => {
  await exchange(server, agent)
  const req = http.get(to(server, agent))
  const { errors } = await outcome(req)
  assert.deepEqual([errors, req.retryCount, req.reusedSocket], [['ECONNRESET'], 0, true])
  assertStats(await settled(agent), { opened: 1, replays: {}, refused: { off: 1 } })
}, { agentOptions: { retry: false } })

within('retry_methods_replace_the_default_ones', breaksSecond(), async ({ server, agent }) => {
  const [asked, others] = [http.request, http.get].map((send) => async (options) => {
    await exchange(server, agent)
    const { errors } = await outcome(send(to(server, agent, options)).end())
    return errors
  })
  assert.deepEqual(await asked(POST), [])
  agent.destroy()
  assert.deepEqual(await others({}), ['ECONNRESET'])
  agent.destroy()
  assertStats(await settled(agent), { replays: 1, refused: 1 })
}, { agentOptions: { retry: { methods: ['post'] } } })

for (const method of ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']) {
  within(`${method.toLowerCase()}_is_sent_again_by_default`, breaksSecond(), async ({ server, agent }) => {
    await exchange(server, agent)
    const req = http.request(to(server, agent, { method })).end()
    const { status, errors } = await outcome(req)
    assert.deepEqual([status, errors, req.retryCount], [200, [], 1])
  })
}

within('patch_is_not_sent_again_by_default', breaksSecond(), async ({ server, agent }) => {
  await exchange(server, agent)
  const { errors } = await outcome(http.request(to(server, agent, { method: 'PATCH' })).end())
  assert.deepEqual(errors, ['ECONNRESET'])
})

within('replay_whose_connect_is_refused_surfaces_that', breaksSecond(), async ({ server, agent }) => {
  await exchange(server, agent)
  net.Server.prototype.close.call(server) // http's own would end idle connections too.
  const req = http.get(to(server, agent))
  let error
  req.once('error', (one) => { error = one })
  const { errors } = await outcome(req)
  assert.deepEqual([errors, error.syscall, error.port, req.retryCount], [['ECONNREFUSED'], 'connect', server.port, 1])
  assertStats(await settled(agent),
    { opened: 2, connectErrors: 1, replays: 1, closed: { peerReset: 1, error: 1 } })
})

for (const [how, abort] of [
  ['destroy', (req) => req.destroy()],
  ['its_signal', (req, controller) => controller.abort()],
]) {
  within(`request_ended_by_${how}_while_its_replay_connects_ends_once`, breaksSecond(), async ({ server, agent }) => {
    await exchange(server, agent)
    const controller = new AbortController()
    const req = http.get(to(server, agent, { signal: controller.signal }))
    agent.once('replay', () => abort(req, controller))
    let closes = 0
    req.on('close', () => closes++)
    const { status, errors } = await outcome(req)
    const code = how === 'destroy' ? 'ECONNRESET' : 'ABORT_ERR'
    assert.deepEqual([status, errors, closes], [undefined, [code], 1])
    const stats = await settled(agent)
    assertStats(stats, { opened: 2, replays: 1 })
    assert.equal(stats.closed.peerReset, 1)
    await exchange(server, agent)
  })
}

within('upgrade_over_a_stale_connection_is_sent_again', () => scripted((socket, head, { connection, request }) => {
  if (!/^upgrade:/im.test(head)) return socket.write(ok())
  if (connection === 1 && request === 2) return reset(socket)
  socket.removeAllListeners('data').on('data', (chunk) => socket.write(chunk))
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
}), async ({ server, agent }) => {
  await exchange(server, agent)
  const headers = { Connection: 'Upgrade', Upgrade: 'echo' }
  const req = http.get(to(server, agent, { headers }))
  const [res, socket] = await once(req, 'upgrade')
  assert.deepEqual([res.statusCode, req.retryCount, server.accepted.length], [101, 1, 2])
  socket.write('ping')
  const [chunk] = await once(socket, 'data')
  assert.equal(chunk.toString(), 'ping')
  assertStats(await settled(agent), { opened: 2, replays: 1, closed: { peerReset: 1, detached: 1 } })
  socket.destroy()
})

for (const [what, bytes] of [
  ['response', ok('poison')],
  ['408', 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'],
]) {
  within(`unsolicited_${what}_on_an_idle_connection_answers_no_request`, plain, async ({ server, agent }) => {
    await exchange(server, agent)
    server.accepted[0].end(bytes)
    const req = http.request(to(server, agent, POST)).end('mine')
    const { status, text } = await outcome(req)
    assert.deepEqual([status, text, req.retryCount], [200, 'mine', 0])
    assertStats(await settled(agent, { idle: 1 }), { opened: 2, closed: { unsolicited: 1 } })
  })

  within(`unsolicited_${what}_between_lease_and_first_write_answers_no_request`, plain, async ({ server, agent }) => {
    await exchange(server, agent)
    const req = http.request(to(server, agent, POST))
    const replay = once(agent, 'replay')
    server.accepted[0].end(bytes)
    await replay
    const { status, text } = await outcome(req.end('mine'))
    assert.deepEqual([status, text, req.retryCount], [200, 'mine', 1])
    assertStats(await settled(agent, { idle: 1 }), { replays: { notWritten: 1 }, closed: { unsolicited: 1 } })
  })
}

within('get_with_ten_stale_connections_goes_to_a_fresh_one', plain, async ({ server, agent }) => {
  await Promise.all(Array.from({ length: 10 }, () => exchange(server, agent)))
  const before = server.accepted.length
  server.accepted.forEach(reset)
  const req = http.get(to(server, agent))
  const { status } = await outcome(req)
  assert.deepEqual([status, req.retryCount, server.accepted.length], [200, 0, before + 1])
  assertStats(await settled(agent, { idle: 1 }), { replays: {}, closed: { peerReset: before } })
})

for (const [way, end] of [['closed', (socket) => socket.destroy()], ['reset', reset]]) {
  within(`fifty_connections_${way}_at_once_cost_fifty_requests_no_failure`, plain, async ({ server, agent }) => {
    const all = (send) => Promise.all(Array.from({ length: 50 }, (_, n) => send(n)))
    await all(() => outcome(http.get(to(server, agent))))
    assert.equal(server.accepted.length, 50)
    server.accepted.slice().forEach(end)
    const seen = await all((n) => outcome(http.request(to(server, agent, n % 2 ? POST : {})).end(n % 2 ? 'body' : '')))
    assert.deepEqual(seen.flatMap(({ errors }) => errors), [])
    assert.deepEqual(seen.map(({ text }) => text), seen.map((_, n) => n % 2 ? 'body' : ''))
    assert.equal(server.executed.length, 100)
    assertStats(await settled(agent, { idle: 50 }), { opened: 100, replays: {}, refused: {} })
  })

  within(`fifty_${way}_under_fifty_gets_cost_a_replay_each`, breaksSecond(end), async ({ server, agent }) => {
    const all = () => Promise.all(Array.from({ length: 50 }, () => outcome(http.get(to(server, agent)))))
    await all()
    const seen = await all()
    assert.deepEqual(seen.flatMap(({ errors }) => errors), [])
    assert.equal(server.executed.length, 150)
    assertStats(await settled(agent, { idle: 50 }), { opened: 100, replays: 50, refused: {} })
  })
}

// Of requests that begin while many answers are told of, the kernel is asked when they leave, all at once.
const CROWD = 64

const crowded = () => {
  const waiting = []
  return scripted((socket, head) => {
    if (!head.startsWith('GET /wait')) return socket.write(ok('mine'))
    waiting.push(socket)
    if (waiting.length === CROWD) for (const one of waiting) one.write(ok('crowd'))
  })
}

/** Calls `act` with the server's ends of ten idle connections, amid the delivery of a crowd of answers. */
const amidTheCrowd = async (server, agent, act) => {
  await Promise.all(Array.from({ length: CROWD + 10 }, () => exchange(server, agent)))
  const crowd = Array.from({ length: CROWD }, () => http.get(to(server, agent, { path: '/wait' })))
  const idle = new Set(Object.values(agent.freeSockets)[0].map((socket) => socket.localPort))
  const peers = server.accepted.filter((socket) => idle.has(socket.remotePort))
  assert.equal(peers.length, 10)
  const told = new Promise((resolve, reject) => crowd[0].once('response', () => act(peers).then(resolve, reject)))
  await Promise.all(crowd.map(outcome))
  return told
}

for (const [method, options] of Object.entries({ get: {}, post: POST })) {
  within(`${method}s_amid_a_crowd_of_answers_survive_their_connections`, crowded, async ({ server, agent }) => {
    const seen = await amidTheCrowd(server, agent, (peers) => {
      const all = peers.map(() => outcome(http.request(to(server, agent, options)).end()))
      peers.forEach(reset)
      return Promise.all(all)
    })
    assert.deepEqual(seen.flatMap(({ errors, text }) => [...errors, text]), Array(10).fill('mine'))
    const { closed, refused } = await settled(agent, { idle: CROWD + 10 })
    assert.deepEqual([closed, refused], [{ peerReset: 10 }, {}])
  })
}

within('unsolicited_bytes_amid_a_crowd_of_answers_answer_no_request', crowded, async ({ server, agent }) => {
  const seen = await amidTheCrowd(server, agent, (peers) => {
    const all = peers.map(() => outcome(http.request(to(server, agent, POST)).end()))
    for (const peer of peers) peer.write(ok('poison'))
    return Promise.all(all)
  })
  assert.deepEqual(seen.flatMap(({ errors, text }) => [...errors, text]), Array(10).fill('mine'))
  assertStats(await settled(agent, { idle: CROWD + 10 }), { closed: { unsolicited: 10 } })
})

// The socket of a request is a net.Socket as far as any caller can tell.
import assert from 'node:assert/strict'
import http from 'node:http'
import { httpServer, ok, rawServer, scripted } from './support/servers.mjs'
import { assertNumbersAddUp } from './support/stats.mjs'
import { collect, once, turns, until } from './support/wait.mjs'
import { exchange, socketOf, to, within, withinHoldfast } from './support/within.mjs'

const plain = () => httpServer((req, res) => res.end('x'))
const echo = () => httpServer((req, res) => req.pipe(res))

within('addresses_are_the_connection_s_on_both_ends', plain, async ({ server, agent }) => {
  const { socket } = await exchange(server, agent)
  const [peer] = server.accepted
  assert.equal(socket.localPort, peer.remotePort)
  assert.equal(socket.remotePort, server.port)
  assert.deepEqual(socket.address(), { address: '127.0.0.1', family: 'IPv4', port: peer.remotePort })
})

within('setters_return_the_socket', plain, async ({ server, agent }) => {
  const req = http.get(to(server, agent))
  const socket = await socketOf(req)
  const chain = () => socket.setNoDelay(true).setNoDelay(false).setKeepAlive(true, 1000).setKeepAlive(false)
    .ref().unref().ref().setTimeout(0).pause().resume()
  assert.equal(chain(), socket, 'while connecting')
  await once(socket, 'connect')
  assert.equal(chain(), socket, 'when connected')
  const [res] = await once(req, 'response')
  await collect(res)
  await turns(2)
  assert.equal(chain(), socket, 'when idle')
  socket.destroy()
  assert.equal(chain(), socket, 'when destroyed')
  assert.equal(socket.destroy(), socket)
})

withinHoldfast('Node takes it out of the pool, open')('close_that_somebody_else_emits_is_not_believed', plain, async ({ server, agent }) => {
  const { socket } = await exchange(server, agent)
  socket.emit('close')
  assert.equal(Object.values(agent.freeSockets)[0][0], socket)
  const next = await exchange(server, agent)
  assert.equal(next.socket, socket)
  next.socket.destroy()
  const last = await exchange(server, agent)
  assert.notEqual(last.socket, socket)
  assertNumbersAddUp(agent, { idle: 1 })
})

within('idle_socket_has_no_data_listener', plain, async ({ server, agent }) => {
  const { socket } = await exchange(server, agent)
  assert.equal(socket.listenerCount('data'), 0)
  assert.equal(Object.values(agent.freeSockets)[0][0], socket)
})

within('listeners_do_not_grow_over_1000_requests_on_one_socket', plain, async ({ server, agent }) => {
  const counts = (socket) => socket.eventNames().map((name) => `${String(name)}=${socket.listenerCount(name)}`).sort()
  const { socket } = await exchange(server, agent)
  await exchange(server, agent)
  const early = counts(socket)
  const agentEarly = counts(agent)
  for (let n = 0; n < 1000; n++) {
    const last = await exchange(server, agent)
    assert.equal(last.socket, socket)
  }
  assert.deepEqual(counts(socket), early)
  assert.deepEqual(counts(agent), agentEarly)
  assert.equal(server.accepted.length, 1)
}, { timeout: 40_000 })

within('cork_holds_writes_until_uncork', echo, async ({ server, agent }) => {
  const req = http.request(to(server, agent, { method: 'POST' }))
  const socket = await socketOf(req)
  if (socket.connecting) await once(socket, 'connect')
  socket.cork()
  req.write('one')
  await turns(5)
  assert.equal(server.accepted[0]?.bytesRead ?? 0, 0)
  socket.uncork()
  req.end('two')
  const [res] = await once(req, 'response')
  assert.equal((await collect(res)).toString(), 'onetwo')
})

within('corked_writes_of_buffers_alone_leave_in_order', echo, async ({ server, agent }) => {
  const req = http.request(to(server, agent, { method: 'POST' }))
  req.flushHeaders()
  const socket = await socketOf(req)
  if (socket.connecting) await once(socket, 'connect')
  await turns(3)
  for (const text of ['4\r\nbuff\r\n', '3\r\ners\r\n', '0\r\n\r\n']) {
    socket.cork()
    socket.write(Buffer.from(text))
  }
  for (let n = 0; n < 3; n++) socket.uncork()
  const [res] = await once(req, 'response')
  assert.equal((await collect(res)).toString(), 'buffers')
  req.destroy()
})

within('reset_and_destroy_sends_a_reset', () => rawServer(() => {}), async ({ server, agent }) => {
  const req = http.get(to(server, agent))
  req.on('error', () => {})
  const [peer] = await once(server, 'connection')
  const seen = once(peer, 'error')
  await once(peer, 'data')
  const socket = await socketOf(req)
  assert.equal(socket.resetAndDestroy(), socket)
  const [error] = await seen
  assert.equal(error.code, 'ECONNRESET')
})

within('paused_response_of_64_mib_holds_the_server_back', () => httpServer((req, res) => {
  const chunk = Buffer.alloc(1 << 20, 'x')
  let left = 64
  const more = () => {
    while (left-- > 0) if (!res.write(chunk)) return res.once('drain', more)
    res.end()
  }
  more()
}), async ({ server, agent }) => {
  const req = http.get(to(server, agent))
  const [res] = await once(req, 'response')
  res.pause()
  const socket = req.socket
  // Bounded means that it comes to a rest: the same count over many turns.
  let [last, still] = [-1, 0]
  await until(() => {
    still = socket.bytesRead === last ? still + 1 : 0
    last = socket.bytesRead
    return still > 50
  })
  assert.ok(last < 4 << 20, `read ${last} bytes while nobody took them`)
  let size = 0
  for await (const chunk of res) size += chunk.length
  assert.equal(size, 64 << 20)
}, { timeout: 40_000 })

within('pause_and_resume_of_the_response_lose_nothing', () => httpServer((req, res) => {
  for (let n = 0; n < 400; n++) res.write(Buffer.alloc(10_000, n & 255))
  res.end()
}), async ({ server, agent }) => {
  const req = http.get(to(server, agent))
  const [res] = await once(req, 'response')
  const chunks = []
  res.on('data', (chunk) => {
    chunks.push(chunk)
    if (chunks.length % 7) return
    res.pause()
    setImmediate(() => res.resume())
  })
  await once(res, 'end')
  const whole = Buffer.concat(chunks)
  assert.equal(whole.length, 4_000_000)
  for (let n = 0; n < 400; n++) assert.equal(whole[n * 10_000 + 5000], n & 255)
})

within('upload_of_64_mib_waits_for_drain', () => httpServer((req, res) => {
  let size = 0
  req.on('data', (chunk) => { size += chunk.length })
  req.on('end', () => res.end(String(size)))
}), async ({ server, agent }) => {
  const req = http.request(to(server, agent, { method: 'POST' }))
  const socket = await socketOf(req)
  const chunk = Buffer.alloc(1 << 20, 'y')
  let drains = 0
  let most = 0
  for (let n = 0; n < 64; n++) {
    const took = req.write(chunk)
    most = Math.max(most, socket.writableLength)
    if (took) continue
    await once(req, 'drain')
    drains++
  }
  req.end()
  const [res] = await once(req, 'response')
  assert.equal((await collect(res)).toString(), String(64 << 20))
  assert.ok(drains > 10, `${drains} drains`)
  assert.ok(most < 4 << 20, `${most} bytes held`)
}, { timeout: 40_000 })

within('upload_to_a_server_that_does_not_read_is_held_back', () => rawServer((socket) => socket.pause()),
  async ({ server, agent }) => {
    const req = http.request(to(server, agent, { method: 'POST' }))
    req.on('error', () => {})
    const socket = await socketOf(req)
    if (socket.connecting) await once(socket, 'connect')
    let acknowledged = 0
    for (let n = 0; n < 32; n++) req.write(Buffer.alloc(1 << 20), (error) => { acknowledged += error ? 0 : 1 })
    await turns(50)
    assert.ok(acknowledged < 32, 'the kernel cannot have taken 32 MiB')
    assert.ok(socket.writableLength > 0)
    assert.equal(socket.writableNeedDrain, true)
    req.destroy()
    await new Promise((resolve) => req.once('close', resolve))
  })

within('answers_that_arrive_by_the_hundred_in_one_turn_reach_their_own_requests', () => {
  const COUNT = 900
  const waiting = []
  return scripted((socket, head) => {
    waiting.push([socket, head.slice(4, head.indexOf(' ', 4))])
    if (waiting.length === COUNT) for (const [one, path] of waiting) one.write(ok(path.repeat(100)))
  })
}, async ({ server, agent }) => {
  const texts = await Promise.all(Array.from({ length: 900 }, async (_, n) => {
    const req = http.get(to(server, agent, { path: `/${n}` }))
    const [res] = await once(req, 'response')
    return (await collect(res)).toString()
  }))
  texts.forEach((text, n) => assert.equal(text, `/${n}`.repeat(100)))
})

within('slices_kept_by_the_caller_are_never_written_again', () => scripted((socket, head) => {
  socket.write(ok(head.slice(5, 6).repeat(3000)))
}), async ({ server, agent }) => {
  const kept = []
  for (const letter of 'abcdefghijklmnopqrstuvwxyz') {
    const { text } = await exchange(server, agent, { path: `/${letter}` })
    kept.push([letter, text])
  }
  for (const [letter, text] of kept) assert.equal(text.toString(), letter.repeat(3000))
})

// Sockets: what their members and events tell, side by side with Node's own.
import http from 'node:http'
import net from 'node:net'
import { parity } from './support/parity.mjs'
import { ok } from './support/servers.mjs'
import { collect, once, turns, until } from './support/wait.mjs'
import { exchange, socketOf, to } from './support/within.mjs'

// What Node's own sockets say at each moment, said the same.
const facts = (socket) => JSON.stringify({
  isSocket: socket instanceof net.Socket,
  connecting: socket.connecting,
  pending: socket.pending,
  readyState: socket.readyState,
  remote: [socket.remoteAddress, typeof socket.remotePort, socket.remoteFamily],
  // Node's kernel has chosen the local end by then; holdfast's connects on another thread, and tells when it is done.
  ...!socket.connecting && {
    local: [socket.localAddress, typeof socket.localPort, socket.localFamily],
    address: Object.keys(socket.address() ?? {}).sort()
  },
  bytes: [socket.bytesRead > 0, socket.bytesWritten > 0],
  timeout: socket.timeout,
  destroyed: socket.destroyed,
  readable: socket.readable,
  writable: socket.writable,
  allowHalfOpen: socket.allowHalfOpen,
  data: socket.listenerCount('data'),
  autoSelectFamilyAttemptedAddresses: socket.autoSelectFamilyAttemptedAddresses?.length,
  marks: [socket.writableHighWaterMark, socket.readableHighWaterMark, socket.writableLength, socket.writableCorked],
})

parity('members_tell_the_same_at_every_moment', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  const req = http.get(to(server, agent))
  const socket = await socketOf(req)
  run.note('socket', facts(socket))
  socket.on('connect', () => run.note('connect', facts(socket)))
  const [res] = await once(req, 'response')
  run.note('response', facts(socket))
  res.resume()
  await run.released(socket)
  run.note('idle', facts(socket))
  socket.destroy()
  run.note('destroyed', facts(socket))
  await once(socket, 'close')
  run.note('closed', facts(socket))
})

parity('byte_counts_are_the_wire_s', async (run) => {
  const server = await run.scripted((socket) => socket.write(ok('x'.repeat(100))))
  const agent = run.agent()
  for (let round = 0; round < 3; round++) {
    const { req } = await exchange(server, agent)
    const peer = server.accepted[0]
    run.note('read', req.socket.bytesRead === peer.bytesWritten, 'written', req.socket.bytesWritten === peer.bytesRead)
  }
  const [peer] = server.accepted
  run.note('port', peer.remotePort > 0)
})

parity('bytes_written_counts_what_waits_for_connect', async (run) => {
  const server = await run.http((req, res) => req.pipe(res))
  const agent = run.agent()
  const req = http.request(to(server, agent, { method: 'POST' }))
  const socket = await socketOf(req)
  req.write('x'.repeat(1000))
  run.note('connecting', socket.connecting, socket.bytesWritten > 1000)
  req.end()
  const [res] = await once(req, 'response')
  await collect(res)
})

parity('listeners_of_an_active_and_an_idle_socket_are_as_many', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  // Not 'error': Node has a listener for an idle socket's, holdfast adds one when there is an error.
  const count = (socket) => ['data', 'end', 'close', 'drain', 'free', 'agentRemove', 'connect', 'readable']
    .map((name) => `${name}=${socket.listenerCount(name)}`)
  const req = http.get(to(server, agent))
  const socket = await socketOf(req)
  await once(req, 'response').then(([res]) => {
    run.note('active', count(socket))
    res.resume()
  })
  await run.released(socket)
  run.note('idle', count(socket))
})

parity('reset_and_destroy_tells_the_request_alike', async (run) => {
  const server = await run.raw(() => {})
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await once(req, 'finish')
  req.socket.resetAndDestroy()
  await run.done()
})

parity('reset_and_destroy_while_connecting_and_when_closed_act_alike', async (run) => {
  const server = await run.raw(() => {})
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  const socket = await socketOf(req)
  socket.resetAndDestroy()
  await run.done()
  await until(() => socket.closed)
  socket.resetAndDestroy()
  await turns(3)
  run.note('destroyed', socket.destroyed)
})

parity('destroy_soon_sends_what_was_written_first', async (run) => {
  const server = await run.raw((socket) => {
    let size = 0
    socket.on('data', (chunk) => { size += chunk.length })
    socket.on('end', () => run.wire.push(size > 1 << 20))
  }, { allowHalfOpen: true })
  const agent = run.agent()
  const req = run.request('a', to(server, agent, { method: 'POST' }))
  const socket = await socketOf(req)
  if (socket.connecting) await once(socket, 'connect')
  req.write('x'.repeat(1 << 20))
  await turns(1)
  socket.destroySoon()
  run.note('writable', socket.writable)
  await run.done()
  await until(() => run.wire.length === 1)
}, { order: 'entity' })

parity('half_close_by_the_server_ends_the_socket_alike', async (run) => {
  const server = await run.scripted((socket) => socket.end(ok('x', 'Connection: close\r\n')), { allowHalfOpen: true })
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await run.done()
  await until(() => req.socket.closed)
  run.note('ended', req.socket.readableEnded, req.socket.writableFinished)
}, { order: 'entity' })

parity('socket_timeout_set_by_the_user_fires_alike', async (run) => {
  const server = await run.http(() => {})
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  const socket = await socketOf(req)
  await once(req, 'finish')
  socket.setTimeout(30, () => {
    run.note('callback', socket.timeout)
    req.destroy()
  })
  await run.done()
})

parity('socket_timeout_is_put_off_by_every_read', async (run) => {
  const server = await run.http((req, res) => {
    let left = 6
    const timer = setInterval(() => {
      if (left-- > 0) return res.write('tick')
      clearInterval(timer)
      res.end()
    }, 60)
  })
  const agent = run.agent()
  const req = run.request('a', to(server, agent))
  req.setTimeout(250)
  req.end()
  await run.done()
})

parity('writes_to_a_destroyed_socket_fail_alike', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await run.done()
  await run.released(req.socket)
  req.socket.destroy()
  req.socket.write('late', (error) => run.note('write', run.describe(error)))
  await until(() => req.socket.closed)
})

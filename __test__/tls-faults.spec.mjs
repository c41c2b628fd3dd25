// What a server may do to a secured connection: close it, renegotiate, send more than it was asked for.
import assert from 'node:assert/strict'
import https from 'node:https'
import tls from 'node:tls'
import { block } from './support/elsewhere.mjs'
import { assertStats, outcome, settled } from './support/outcome.mjs'
import { ok } from './support/servers.mjs'
import { Authority } from './support/tls/authority.mjs'
import { secureRawServer, secureServer } from './support/tls/servers.mjs'
import { root, withinSecured } from './support/tls/within.mjs'
import { collect, once, until } from './support/wait.mjs'
import { exchange, to } from './support/within.mjs'

const MIB = 1 << 20
const identity = root.issue()
const ca = root.cert
const secure = { protocol: 'https:' }

const within = (claim, ...rest) => withinSecured(`tls_${claim}`, ...rest)

/** Answers every request on every connection; `sockets` has the secured ones. */
const answering = (options) => async () => {
  const sockets = []
  const server = await secureRawServer({ ...identity, ...options }, (socket) => {
    sockets.push(socket)
    socket.on('data', () => socket.write(ok('x')))
  })
  return Object.assign(server, { sockets })
}

const WAYS = {
  close_notify_and_fin: [(socket) => socket.end(), 'peerFin'],
  bare_fin: [(socket) => socket._parent.end(), 'peerFin'],
  reset: [(socket) => socket._parent.resetAndDestroy(), 'peerReset'],
  unsolicited_bytes: [(socket) => socket.write(ok('unasked')), 'unsolicited']
}

for (const [way, [act, reason]] of Object.entries(WAYS)) {
  within(`${way}_while_idle_closes_the_connection`, answering(), async ({ server, agent }) => {
    await exchange(server, agent, secure)
    const closed = once(agent, 'close')
    act(server.sockets[0])
    assert.equal((await closed)[0].reason, reason)
    const { text } = await exchange(server, agent, { ...secure, method: 'POST' })
    assert.equal(text.toString(), 'x')
    agent.destroy()
    assertStats(await settled(agent), { opened: 2, replays: {}, refused: {} })
  })
}

within('tickets_that_come_while_idle_leave_the_connection_in_the_pool', answering(), async ({ server, agent }) => {
  const first = await exchange(server, agent, secure)
  for (let n = 0; n < 5; n++) {
    const { socket } = await exchange(server, agent, secure)
    assert.equal(socket, first.socket)
  }
  assert.equal(server.sockets.length, 1)
})

within('certificate_that_changed_is_looked_at_on_a_replacement_too', answering(), async ({ server, agent }) => {
  await exchange(server, agent, secure)
  server.setSecureContext(new Authority('somebody else\'s root').issue())
  const [idle] = server.sockets
  // In the same tick: the engine finds out when the request is about to leave.
  idle._parent.resetAndDestroy()
  const { errors, status } = await outcome(https.get(to(server, agent)))
  assert.deepEqual({ errors, status }, { errors: ['UNABLE_TO_VERIFY_LEAF_SIGNATURE'], status: undefined })
})

within('certificate_of_another_name_is_refused_on_a_replacement_too', answering(), async ({ server, agent }) => {
  await exchange(server, agent, secure)
  server.setSecureContext(root.issue({ names: ['DNS:other.example'] }))
  server.sockets[0]._parent.resetAndDestroy()
  const { errors } = await outcome(https.get(to(server, agent)))
  assert.deepEqual(errors, ['ERR_TLS_CERT_ALTNAME_INVALID'])
})

// The session says who the server was; with another context it is a stranger.
within('certificate_that_changed_is_fine_if_it_is_as_good', answering(), async ({ server, agent }) => {
  await exchange(server, agent, secure)
  server.setSecureContext(root.issue())
  server.sockets[0]._parent.resetAndDestroy()
  const { text } = await outcome(https.get(to(server, agent)))
  assert.equal(text, 'x')
})

const echoing = (options) => () => secureServer({ ...identity, ...options }, (req, res) => req.pipe(res))

for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
  within(`bodies_of_many_records_arrive_whole_both_ways_${maxVersion}`, echoing({ maxVersion }), async ({ server, agent }) => {
    const body = Buffer.alloc(9 * MIB + 17, 0).map((_, n) => n % 251)
    for (let n = 0; n < 2; n++) {
      const { text } = await exchange(server, agent, { ...secure, method: 'POST' }, body)
      assert.ok(text.equals(body))
    }
  })

  within(`answer_read_slowly_arrives_whole_${maxVersion}`, async () => secureServer({ ...identity, maxVersion }, (req, res) => {
    res.end(Buffer.alloc(4 * MIB, 'y'))
  }), async ({ server, agent }) => {
    const req = https.get(to(server, agent))
    const [res] = await once(req, 'response')
    let size = 0
    for await (const chunk of res) {
      size += chunk.length
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.equal(size, 4 * MIB)
  })
}

within('upload_to_a_server_that_does_not_read_waits_and_goes_on', async () => {
  const server = await secureServer(identity, async (req, res) => {
    await new Promise((resolve) => { server.letGo = resolve })
    res.end(String((await collect(req)).length))
  })
  return server
}, async ({ server, agent }) => {
  const req = https.request(to(server, agent, { method: 'POST' }))
  const isTaken = req.write(Buffer.alloc(24 * MIB, 'z'))
  assert.equal(isTaken, false)
  await until(() => server.letGo)
  server.letGo()
  req.end()
  const { text } = await outcome(req)
  assert.equal(text, String(24 * MIB))
})

within('renegotiation_by_the_server_goes_unnoticed', async () => {
  const server = await secureRawServer({ ...identity, maxVersion: 'TLSv1.2' }, (socket) => {
    socket.on('data', () => socket.renegotiate({}, (error) => {
      server.renegotiated = error ?? true
      socket.write(ok('again'))
    }))
  })
  return server
}, async ({ server, agent }) => {
  const { text } = await exchange(server, agent, secure)
  assert.equal(text.toString(), 'again')
  assert.equal(server.renegotiated, true)
})

within('post_that_was_executed_before_a_reset_is_not_sent_again', async () => {
  let requests = 0
  const server = await secureServer(identity, (req, res) => {
    requests++
    if (requests === 1) return res.end('x')
    req.once('data', () => { server.executed = true; req.socket._parent.resetAndDestroy() })
  })
  server.count = () => requests
  return server
}, async ({ server, agent }) => {
  await exchange(server, agent, secure)
  const req = https.request(to(server, agent, { method: 'POST' }))
  const told = outcome(req)
  req.write('first')
  await until(() => server.executed)
  req.end('second')
  const { errors } = await told
  assert.deepEqual({ code: errors.length && 'told', retries: req.retryCount, count: server.count() }, { code: 'told', retries: 0, count: 2 })
})

within('handshake_that_ends_while_the_loop_is_blocked_is_in_time', answering(), async ({ server, agent }) => {
  const req = https.get(to(server, agent))
  const [socket] = await once(req, 'socket')
  if (socket.connecting) await once(socket, 'connect')
  block(400)
  const { errors } = await outcome(req)
  assert.ok(errors.length === 0 || errors[0] === 'ETIMEDOUT', errors.join())
}, { connectTimeout: 200 })

within('identity_check_that_throws_ends_the_request_with_what_it_threw', answering(), async ({ server, agent }) => {
  const req = https.get(to(server, agent))
  const [error] = await once(req, 'error')
  assert.equal(error.message, 'thrown')
}, { checkServerIdentity: () => { throw new Error('thrown') } })

within('socket_that_a_request_made_for_itself_serves_no_stricter_one', answering(), async ({ server, agent }) => {
  const createConnection = () => tls.connect({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false })
  await exchange(server, agent, { ...secure, createConnection })
  const { errors } = await outcome(https.get(to(server, agent)))
  assert.deepEqual(errors, ['UNABLE_TO_VERIFY_LEAF_SIGNATURE'])
}, { ca: [] })

within('roots_before_one_that_cannot_be_read_are_trusted', answering(), async ({ server, agent }) => {
  const { text } = await exchange(server, agent, secure)
  assert.equal(text.toString(), 'x')
}, { ca: `${ca}\n-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n` })

within('fast_download_leaves_the_loop_its_turns', () => secureServer(identity, (req, res) => {
  const chunk = Buffer.alloc(MIB)
  const write = () => { while (res.write(chunk)); }
  res.on('drain', write)
  write()
}), async ({ server, agent }) => {
  const req = https.get(to(server, agent, secure))
  const [res] = await once(req, 'response')
  let inTurn = 0
  let most = 0
  let total = 0
  await new Promise((resolve) => { res.once('data', resolve) })
  res.on('data', (chunk) => { inTurn += chunk.length })
  while (total < 64 * MIB) {
    await new Promise((resolve) => setImmediate(resolve))
    most = Math.max(most, inTurn)
    total += inTurn
    inTurn = 0
  }
  req.on('error', () => {}).destroy()
  // A quarter of a MiB in each of the engine's turns, of which the loop's has another one if a deadline passes.
  assert.ok(most <= MIB / 2, `${most} bytes in one turn`)
})

within('socket_that_is_taken_off_its_agent_is_used_no_more', answering(), async ({ server, agent }) => {
  const { socket } = await exchange(server, agent, secure)
  const req = https.get(to(server, agent, secure))
  await once(req, 'socket')
  assert.equal(req.socket, socket)
  assert.equal(req.reusedSocket, true)
  socket.emit('agentRemove')
  const [res] = await once(req, 'response')
  assert.equal(String(await collect(res)), 'x')
  const next = await exchange(server, agent, secure)
  assert.notEqual(next.socket, socket)
  assert.equal(server.sockets.length, 2)
  socket.destroy()
})

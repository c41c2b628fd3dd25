// What ends a connection at release and at checkout, and what never ends a request in flight. Where time is the
// subject, nothing may end too early; how late is not asked.
import assert from 'node:assert/strict'
import http from 'node:http'
import { test } from 'node:test'
import { AgentUnderTest, isHoldfast } from './support/agents.mjs'
import { plain } from './support/breaking.mjs'
import { block } from './support/elsewhere.mjs'
import { holding, past } from './support/holding.mjs'
import { assertStats, outcome, settled } from './support/outcome.mjs'
import { hinting, ok, scripted } from './support/servers.mjs'
import { once } from './support/wait.mjs'
import { exchange, failure, sent, to, withinHoldfast } from './support/within.mjs'

const within = withinHoldfast('these limits are holdfast\'s')

const LONG = 60_000
/** Clocks round: 50 ms may look like 49. */
const ROUNDING = 1

test('times_as_texts_become_milliseconds', { skip: !isHoldfast }, () => {
  for (const name of ['freeSocketTimeout', 'connectTimeout', 'queueTimeout', 'tcpUserTimeout']) {
    for (const [given, expected] of [['30s', 30_000], ['2m', 120_000], ['1h', 3_600_000], ['500', 500]]) {
      const agent = new AgentUnderTest({ [name]: given })
      assert.equal(agent.options[name], expected)
      agent.destroy()
    }
  }
})

for (const [kind, hint, closed] of [
  ['no_longer_than_its_buffer', 'timeout=1', { hint: 1 }],
  ['of_no_time', 'timeout=0', { hint: 1 }],
  ['given_twice_and_once_too_short', 'timeout=60, timeout=1', { hint: 1 }],
  ['of_no_further_requests', 'timeout=60, max=0', { hint: 1 }],
  ['of_letters', 'timeout=abc', {}],
  ['of_less_than_nothing', 'timeout=-1', {}],
  ['without_a_value', 'timeout', {}],
  ['without_a_word', '=', {}],
  ['beyond_every_clock', 'timeout=99999999999999999999', {}],
  ['outside_of_ascii', 't\xEEmeout=1', {}],
]) {
  within(`hint_${kind}_${closed.hint ? 'leaves_no_connection_idle' : 'lets_the_connection_live'}`,
    () => scripted((socket) => socket.write(Buffer.from(ok('x', `Keep-Alive: ${hint}\r\n`), 'latin1'))),
    async ({ server, agent }) => {
      await sent(server, agent)
      assertStats(await settled(agent, { idle: closed.hint ? 0 : 1 }), { closed })
    }, { agentOptions: { freeSocketTimeout: LONG } })
}

within('max_that_the_server_repeats_is_counted_down', hinting('Keep-Alive: max=2\r\n'), async ({ server, agent }) => {
  for (let n = 0; n < 6; n++) await exchange(server, agent)
  assertStats(await settled(agent), { opened: 2, requests: 6, reused: 4, closed: { hint: 2 } })
})

within('hint_counts_on_the_connection_that_a_replay_opened', () => scripted((socket, head, { connection, request }) => {
  if (connection === 1 && request === 2) socket.destroy()
  else socket.write(ok('x', 'Keep-Alive: max=2\r\n'))
}), async ({ server, agent }) => {
  for (let n = 0; n < 4; n++) await exchange(server, agent)
  assertStats(await settled(agent), { opened: 2, requests: 4, closed: { hint: 1, peerFin: 1 } })
})

within('max_that_the_server_counts_down_is_not_counted_twice', () => scripted((socket, head, { request }) => {
  socket.write(ok('x', `Keep-Alive: timeout=60, max=${3 - request}\r\n`))
}), async ({ server, agent }) => {
  for (let n = 0; n < 6; n++) await exchange(server, agent)
  assertStats(await settled(agent), { opened: 2, closed: { hint: 2 } })
})

within('max_requests_per_socket_ends_a_connection_after_so_many', plain, async ({ server, agent }) => {
  for (let n = 0; n < 7; n++) await exchange(server, agent)
  assertStats(await settled(agent, { idle: 1 }), { opened: 3, closed: { maxRequests: 2 } })
}, { agentOptions: { maxRequestsPerSocket: 3 } })

within('hint_does_not_limit_the_next_request_in_flight', () => scripted((socket, head, { request }) => {
  const answer = () => socket.write(ok('x', 'Keep-Alive: timeout=1\r\n'))
  if (request === 1) answer()
  else past(400).then(answer)
}), async ({ server, agent }) => { // node#53458
  await exchange(server, agent)
  const { req } = await exchange(server, agent)
  assert.equal(req.reusedSocket, true)
  assert.equal(server.accepted.length, 1)
}, { agentOptions: { freeSocketTimeout: LONG, agentKeepAliveTimeoutBuffer: 800, timeout: 30_000 } })

within('waiting_request_does_not_inherit_the_idle_clock', holding, async ({ server, agent }) => { // agentkeepalive#106
  const both = [sent(server, agent), sent(server, agent)]
  for (let n = 0; n < 2; n++) {
    const answer = await server.next()
    await past(150)
    answer()
  }
  assert.deepEqual((await Promise.all(both)).flatMap(({ errors }) => errors), [])
  assert.equal(server.accepted.length, 1)
}, { agentOptions: { freeSocketTimeout: 50, timeout: 30_000, maxSockets: 1 } })

within('ttl_that_passes_in_flight_ends_the_connection_at_release', holding, async ({ server, agent }) => {
  const ended = sent(server, agent)
  const answer = await server.next()
  await past(60)
  answer()
  assert.deepEqual((await ended).errors, [])
  assertStats(await settled(agent), { closed: { ttl: 1 } })
}, { agentOptions: { socketActiveTTL: 50, ttlJitter: 0 } })

for (const [what, reason, agentOptions, starting = plain] of [
  ['free_socket_timeout', 'expired', { freeSocketTimeout: 50 }],
  ['ttl', 'ttl', { freeSocketTimeout: LONG, socketActiveTTL: 100, ttlJitter: 0 }],
  ['hint', 'hint', { freeSocketTimeout: LONG, agentKeepAliveTimeoutBuffer: 950 }, hinting('Keep-Alive: timeout=1\r\n')],
]) {
  within(`${what}_that_passes_while_the_loop_is_blocked_counts_at_checkout`, starting, async ({ server, agent }) => {
    await exchange(server, agent)
    block(120)
    const req = http.request(to(server, agent, { method: 'POST' })).end()
    const { errors } = await outcome(req)
    assert.deepEqual([errors, req.reusedSocket, req.retryCount], [[], false, 0])
    assertStats(agent.stats(), { opened: 2, reused: 0, replays: {}, closed: { [reason]: 1 } })
  }, { agentOptions })
}

within('connect_timeout_does_not_limit_a_request_in_flight', holding, async ({ server, agent }) => {
  const ended = sent(server, agent)
  const answer = await server.next()
  await past(400)
  answer()
  assert.deepEqual((await ended).errors, [])
}, { agentOptions: { connectTimeout: 300 } })

within('queue_limit_refuses_the_request_that_would_exceed_it', holding, async ({ server, agent }) => {
  const fine = [1, 2, 3].map(() => sent(server, agent))
  const error = await failure(http.get(to(server, agent)))
  assert.equal(error.code, 'ERR_AGENT_QUEUE_FULL')
  assertStats(agent.stats(), { waiting: 2, queueFull: 1 })
  for (let n = 0; n < 3; n++) (await server.next())()
  assert.deepEqual((await Promise.all(fine)).flatMap(({ errors }) => errors), [])
  assertStats(await settled(agent, { idle: 1 }), { opened: 1, requests: 3, waiting: 0 })
}, { agentOptions: { maxSockets: 1, queueLimit: 2 } })

within('max_total_sockets_evicts_an_idle_connection_of_another_origin', plain, async ({ server, agent }) => {
  const other = await plain()
  try {
    const { socket } = await exchange(server, agent)
    await exchange(other, agent)
    assert.equal(socket.destroyed, true)
    const { closed, origins } = await settled(agent, { idle: 1 })
    assert.deepEqual(closed, { evicted: 1 })
    assert.deepEqual(Object.values(origins).map(({ idle }) => idle), [0, 1])
  } finally {
    await other.stop()
  }
}, { agentOptions: { maxTotalSockets: 1, freeSocketTimeout: LONG } })

within('silence_for_timeout_ends_a_request_that_does_not_listen', holding, async ({ server, agent }) => {
  const since = performance.now()
  const error = await failure(http.get(to(server, agent)))
  assert.ok(performance.now() - since >= 50 - ROUNDING)
  assert.deepEqual([error.code, error.message, error.timeout], ['ERR_SOCKET_TIMEOUT', 'Socket timeout', 50])
  await settled(agent)
  assert.equal(agent.timeoutSocketCount, 1)
}, { agentOptions: { timeout: 50 } })

for (const [who, agentOptions, options, listens] of [
  ['that_listens', { timeout: 50 }, {}, true],
  ['with_a_timeout_of_its_own_alone', {}, { timeout: 50 }, false],
]) {
  within(`silence_for_timeout_does_not_end_a_request_${who}`, holding, async ({ server, agent }) => {
    const req = http.get(to(server, agent, options))
    const ended = outcome(req)
    if (listens) await once(req, 'timeout')
    const answer = await server.next()
    await past(100)
    answer()
    const { status, errors } = await ended
    assert.deepEqual([status, errors], [200, []])
  }, { agentOptions })
}

within('origins_that_nobody_uses_any_more_are_forgotten_and_their_sums_kept', plain,
  async ({ server, agent }) => {
    // The engine forgets at every 1024th; three times that many show a bound.
    const COUNT = 3100
    const lookup = (host, options, found) => options.all
      ? found(null, [{ address: '127.0.0.1', family: 4 }])
      : found(null, '127.0.0.1', 4)
    for (let n = 0; n < COUNT; n += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, more) =>
        sent(server, agent, { host: `h${n + more}.test`, lookup })))
    }
    const { origins, requests, opened } = await settled(agent)
    assert.deepEqual([requests, opened], [COUNT, COUNT])
    assert.ok(Object.keys(origins).length <= 1100, `${Object.keys(origins).length} origins remembered`)
    assert.deepEqual([Object.keys(agent.sockets), Object.keys(agent.freeSockets)], [[], []])
  }, { agentOptions: { keepAlive: false }, timeout: 60_000 })

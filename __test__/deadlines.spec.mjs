// Limits that a timer ends: of idle connections, of connecting, of waiting. Nothing may end too early; how late is not
// asked, but for the test's own limit.
import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import { AgentUnderTest } from './support/agents.mjs'
import { plain } from './support/breaking.mjs'
import { block, serverElsewhere } from './support/elsewhere.mjs'
import { holding, past } from './support/holding.mjs'
import { assertStats, outcome, settled } from './support/outcome.mjs'
import { hinting } from './support/servers.mjs'
import { once, until } from './support/wait.mjs'
import { exchange, failure, sent, to, withinHoldfast } from './support/within.mjs'

const within = withinHoldfast('these limits are holdfast\'s')

const LONG = 60_000
/** Clocks round: an idle time of 50 ms may look like 49. */
const ROUNDING = 1

/** The connection of a second request, after `prepare`, ends by time alone, and not before `limit`. */
const expires = (claim, agentOptions, limit, { prepare, starting = plain, reason = 'expired' } = {}) =>
  within(claim, starting, async ({ server, agent }) => {
    const first = await exchange(server, agent)
    prepare?.({ agent, socket: first.socket })
    const since = performance.now()
    const { socket } = await exchange(server, agent)
    if (!socket.closed) await once(socket, 'close')
    assert.ok(performance.now() - since >= limit - ROUNDING, `after ${performance.now() - since} ms`)
    const { closed, opened } = await settled(agent)
    assert.deepEqual(closed, { [reason]: opened })
  }, { agentOptions })

expires('idle_connection_is_closed_after_free_socket_timeout', { freeSocketTimeout: 50 }, 50)
expires('free_socket_timeout_takes_a_text', { freeSocketTimeout: '50ms' }, 50)
expires('free_socket_timeout_takes_its_older_names', { keepAliveTimeout: 50 }, 50)
expires('free_socket_timeout_is_not_lengthened_by_a_hint', { freeSocketTimeout: 50 }, 50,
  { starting: hinting('Keep-Alive: timeout=60\r\n') })
expires('free_socket_timeout_assigned_later_counts_from_the_next_release', { freeSocketTimeout: LONG }, 50,
  { prepare: ({ agent }) => { agent.options.freeSocketTimeout = 50 } })
expires('free_socket_timeout_of_a_socket_wins_over_the_agent_s', { freeSocketTimeout: LONG }, 50,
  { prepare: ({ socket }) => { socket.freeSocketTimeout = 50 } })
expires('older_name_of_free_socket_timeout_on_a_socket_counts_too', { freeSocketTimeout: LONG }, 50,
  { prepare: ({ socket }) => { socket.freeSocketKeepAliveTimeout = 50 } })
expires('ttl_ends_an_idle_connection', { freeSocketTimeout: LONG, socketActiveTTL: 80, ttlJitter: 0 }, 0,
  { reason: 'ttl' })
expires('hint_less_its_buffer_shortens_the_idle_time',
  { freeSocketTimeout: LONG, agentKeepAliveTimeoutBuffer: 950 }, 50,
  { starting: hinting('Keep-Alive: timeout=1\r\n'), reason: 'hint' })
expires('hint_is_read_in_any_case_and_order',
  { freeSocketTimeout: LONG, agentKeepAliveTimeoutBuffer: 950 }, 50,
  { starting: hinting('KEEP-ALIVE: max=100, TimeOut=1\r\n'), reason: 'hint' })

within('deadline_set_at_the_end_of_a_long_turn_is_met', plain, async ({ server, agent }) => {
  // The loop's clock stood still for most of the time until the deadline.
  const req = http.get(to(server, agent), (res) => res.resume().once('end', () => block(60)))
  await outcome(req)
  await until(() => req.socket.destroyed)
  assertStats(await settled(agent), { closed: { expired: 1 } })
}, { agentOptions: { freeSocketTimeout: 80 } })

for (const [how, agentOptions, prepare] of [
  ['agent', { freeSocketTimeout: 0 }, () => {}],
  ['socket', { freeSocketTimeout: 40 }, (socket) => { socket.freeSocketTimeout = 0 }],
]) {
  within(`free_socket_timeout_0_of_the_${how}_is_no_limit`, plain, async ({ server, agent }) => {
    const sooner = new AgentUnderTest({ freeSocketTimeout: 80 })
    const req = http.get(to(server, agent), (res) => {
      prepare(req.socket)
      res.resume()
    })
    await outcome(req)
    const other = await exchange(server, sooner)
    await once(other.socket, 'close')
    assert.equal(req.socket.destroyed, false)
    assertStats(agent.stats(), { idle: 1, closed: {} })
  }, { agentOptions })
}

within('ttls_of_connections_opened_together_are_spread', plain, async ({ server, agent }) => {
  const ages = []
  agent.on('close', ({ age }) => ages.push(age))
  await Promise.all(Array.from({ length: 20 }, () => sent(server, agent)))
  await settled(agent)
  assert.equal(agent.stats().closed.ttl, 20)
  const spread = Math.max(...ages) - Math.min(...ages)
  assert.ok(spread > 40, `spread over ${spread} ms`)
}, { agentOptions: { freeSocketTimeout: LONG, socketActiveTTL: 800, ttlJitter: 1 } })

within('connect_timeout_covers_a_lookup_that_never_answers', plain, async ({ server, agent }) => {
  const since = performance.now()
  const error = await failure(http.get(to(server, agent, { host: 'some.test', lookup: () => {} })))
  assert.ok(performance.now() - since >= 50 - ROUNDING)
  assert.deepEqual([error.code, error.syscall, error.timeout], ['ETIMEDOUT', 'connect', 50])
  assertStats(await settled(agent), { opened: 1, connectErrors: 1, closed: { error: 1 } })
}, { agentOptions: { connectTimeout: 50 } })

within('connect_timeout_covers_a_createConnection_that_never_calls_back', plain, async ({ server, agent }) => {
  agent.createConnection = () => {}
  const error = await failure(http.get(to(server, agent)))
  assert.equal(error.code, 'ETIMEDOUT')
  assertStats(await settled(agent), { connectErrors: 1, closed: { error: 1 } })
}, { agentOptions: { connectTimeout: 50 } })

within('connect_timeout_covers_a_server_that_accepts_nothing', serverElsewhere, async ({ server, agent }) => {
  await server.stall()
  // The backlog is 511 long by default, and somaxconn may be less; one that does not connect shows that it is full.
  const fillers = []
  const fill = () => new Promise((resolve) => {
    const filler = net.connect(server.port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false))
    fillers.push(filler)
    past(200).then(() => resolve(!filler.connecting))
  })
  while (await fill());
  const error = await failure(http.get(to(server, agent)))
  assert.deepEqual([error.code, error.syscall, error.address, error.port, error.timeout],
    ['ETIMEDOUT', 'connect', '127.0.0.1', server.port, 100])
  for (const filler of fillers) filler.destroy()
  assertStats(await settled(agent), { connectErrors: 1, closed: { error: 1 } })
}, { agentOptions: { connectTimeout: 100 } })

within('queue_timeout_ends_a_request_that_waits_for_too_long', holding, async ({ server, agent }) => {
  const first = sent(server, agent)
  const since = performance.now()
  const error = await failure(http.get(to(server, agent)))
  assert.ok(performance.now() - since >= 50 - ROUNDING)
  assert.deepEqual([error.code, error.timeout], ['ERR_AGENT_CHECKOUT_TIMEOUT', 50])
  assert.deepEqual(Object.keys(agent.requests), [])
  const answer = await server.next()
  answer()
  assert.deepEqual((await first).errors, [])
  assertStats(await settled(agent, { idle: 1 }), { opened: 1, requests: 1, queueTimeouts: 1 })
}, { agentOptions: { maxSockets: 1, queueTimeout: 50 } })

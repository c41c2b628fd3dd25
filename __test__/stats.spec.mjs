// What an agent tells of its connections: stats(), events, diagnostics channels, NODE_DEBUG; and what it never tells.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import http from 'node:http'
import net from 'node:net'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { isHoldfast } from './support/agents.mjs'
import { breaksSecond, plain } from './support/breaking.mjs'
import { assertStats, outcome, settled } from './support/outcome.mjs'
import { ok, refusedPort, scripted } from './support/servers.mjs'
import { once, until } from './support/wait.mjs'
import { exchange, to, withinHoldfast } from './support/within.mjs'

const within = withinHoldfast('Node\'s agent has no stats')

const LONG = 60_000
const NUMBERS = ['connecting', 'idle', 'leased', 'closing', 'waiting', 'opened', 'requests', 'reused', 'unproven',
  'connectErrors', 'retries', 'queueFull', 'queueTimeouts']
const BY_WORD = ['closed', 'replays', 'refused']
const HISTOGRAMS = ['queueWait', 'connect', 'idleAge', 'requestsPerConnection']
const KINDS = ['connect', 'reuse', 'replay', 'close']

within('stats_of_an_unused_agent_are_all_there_and_zero', plain, async ({ agent }) => {
  const { origins, ...total } = agent.stats()
  const nothing = [...NUMBERS.map((name) => [name, 0]), ...BY_WORD.map((name) => [name, {}])]
  assert.deepEqual(total, Object.fromEntries(nothing))
  assert.deepEqual(origins, {})
})

within('stats_in_total_are_the_sums_over_the_origins', plain, async ({ server, agent }) => {
  const other = await plain()
  try {
    for (const one of [server, server, other]) await exchange(one, agent)
    await outcome(http.get({ host: '127.0.0.1', port: await refusedPort(), agent }))
    const { origins, ...total } = await settled(agent, { idle: 2 })
    const names = Object.keys(origins)
    assert.equal(names.length, 3)
    for (const one of [server, other]) assert.ok(names.includes(agent.getName(to(one))))
    for (const name of NUMBERS) {
      assert.equal(total[name], Object.values(origins).reduce((sum, view) => sum + view[name], 0), name)
    }
    for (const view of Object.values(origins)) {
      assert.deepEqual(Object.keys(view).sort(), [...NUMBERS, ...BY_WORD, ...HISTOGRAMS, 'learned'].sort())
    }
    assertStats(total, { opened: 3, requests: 4, reused: 1, idle: 2, connectErrors: 1, closed: { error: 1 } })
  } finally {
    await other.stop()
  }
})

within('stats_follow_a_connection_through_its_states', () => scripted((socket, head) => {
  if (!head.startsWith('GET /wait')) socket.write(ok())
}), async ({ server, agent }) => {
  const first = http.get(to(server, agent, { path: '/wait' }))
  const second = outcome(http.get(to(server, agent)))
  first.on('error', () => {})
  assertStats(agent.stats(), { connecting: 1, leased: 0, idle: 0, waiting: 1, opened: 1, requests: 1 })
  await once(agent, 'connect')
  assertStats(agent.stats(), { connecting: 0, leased: 1, idle: 0, waiting: 1 })
  first.destroy()
  await second
  assertStats(await settled(agent, { idle: 1 }), { waiting: 0, opened: 2, requests: 2, closed: { destroyed: 1 } })
}, { agentOptions: { maxSockets: 1, freeSocketTimeout: LONG } })

within('histograms_count_what_has_happened', plain, async ({ server, agent }) => {
  await Promise.all([exchange(server, agent), exchange(server, agent)])
  await exchange(server, agent)
  agent.destroy()
  const [view] = Object.values((await settled(agent)).origins)
  const { queueWait, connect, idleAge, requestsPerConnection } = view
  assert.deepEqual([queueWait.count, connect.count, idleAge.count, requestsPerConnection.count], [1, 1, 1, 1])
  assert.equal(requestsPerConnection.max, 3)
  for (const { count, mean, p50, p99, max } of [queueWait, connect, idleAge]) {
    assert.ok(count === 1 && mean > 0 && max >= mean - 1e-9 && p50 <= max && p99 <= max)
  }
}, { agentOptions: { maxSockets: 1, freeSocketTimeout: LONG } })

const listenTo = (agent) => {
  const told = []
  for (const kind of KINDS) agent.on(kind, (facts) => told.push([kind, facts]))
  return told
}

within('events_tell_each_step_of_a_connection_with_its_facts', breaksSecond(), async ({ server, agent }) => {
  const told = listenTo(agent)
  const { socket } = await exchange(server, agent)
  await exchange(server, agent)
  agent.destroy()
  await settled(agent)
  assert.deepEqual(told.map(([kind, { requests, reason }]) => [kind, requests, reason]), [
    ['connect', 0, undefined],
    ['reuse', 1, undefined],
    ['replay', 0, 'peerReset'],
    ['close', 1, 'destroyed'],
  ])
  for (const [kind, facts] of told) {
    assert.deepEqual(Object.keys(facts).sort(), ['age', 'connectTime', 'origin', 'reason', 'requests', 'socket'])
    assert.equal(facts.socket, socket)
    assert.equal(facts.origin, agent.getName(to(server)))
    assert.equal(typeof facts.connectTime, kind === 'connect' ? 'number' : 'undefined')
  }
  assert.ok(told[1][1].age >= 0 && told[3][1].age >= 0)
})

within('channels_tell_the_same_as_the_events_and_whose', breaksSecond(), async ({ server, agent }) => {
  const published = []
  const hear = (message, name) => published.push([name.replace('holdfast:', ''), message])
  for (const kind of KINDS) subscribe(`holdfast:${kind}`, hear)
  try {
    const told = listenTo(agent)
    await exchange(server, agent)
    await exchange(server, agent)
    agent.destroy()
    await settled(agent)
    assert.equal(told.length, 4)
    assert.deepEqual(published, told.map(([kind, facts]) => [kind, { agent, ...facts }]))
  } finally {
    for (const kind of KINDS) unsubscribe(`holdfast:${kind}`, hear)
  }
})

/** One close with its reason, in the event and in the stats, and no other. */
const closes = (reason, starting, act, agentOptions) =>
  within(`connection_ended_by_${reason}_is_told_so`, starting, async ({ server, agent }) => {
    const told = []
    agent.on('close', (facts) => told.push(facts.reason))
    await act({ server, agent })
    await until(() => told.length > 0)
    assert.deepEqual(told, [reason])
    const { closed } = await settled(agent, { idle: agent.totalSocketCount })
    assert.deepEqual(closed, { [reason]: 1 })
  }, { agentOptions: { freeSocketTimeout: LONG, ...agentOptions } })

const one = ({ server, agent }) => exchange(server, agent)
const hinted = () => scripted((socket) => socket.write(ok('x', 'Keep-Alive: timeout=1\r\n')))

closes('expired', plain, one, { freeSocketTimeout: 30 })
closes('ttl', plain, one, { socketActiveTTL: 50 })
closes('hint', hinted, one)
closes('maxRequests', plain, one, { maxRequestsPerSocket: 1 })
closes('peerFin', plain, async ({ server, agent }) => {
  await exchange(server, agent)
  server.accepted[0].end()
})
closes('unsolicited', plain, async ({ server, agent }) => {
  await exchange(server, agent)
  server.accepted[0].write('?')
})
closes('evicted', plain, ({ server, agent }) => Promise.all([exchange(server, agent), exchange(server, agent)]),
  { maxFreeSockets: 1 })
closes('error', plain, async ({ agent }) => outcome(http.get({ host: '127.0.0.1', port: await refusedPort(), agent })))
closes('finished', plain, ({ server, agent }) => {
  agent.keepSocketAlive = () => false
  return exchange(server, agent)
})
closes('destroyed', plain, async ({ server, agent }) => {
  const { socket } = await exchange(server, agent)
  socket.destroy()
})
closes('detached', () => scripted((socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\n')
}), async ({ server, agent }) => {
  const req = http.get(to(server, agent, { headers: { Connection: 'Upgrade', Upgrade: 'odd' } }))
  const [, socket] = await once(req, 'upgrade')
  socket.destroy()
})

within('socket_of_the_caller_s_own_is_told_of_too', plain, async ({ server, agent }) => {
  const told = listenTo(agent)
  const { socket } = await exchange(server, agent, { createConnection: (options) => net.connect(options) })
  await exchange(server, agent)
  socket.destroy()
  await settled(agent)
  assert.deepEqual(told.map(([kind, facts]) => [kind, facts.socket === socket]),
    [['connect', true], ['reuse', true], ['close', true]])
})

const SECRETS = ['s3cr3t-header', 's3cr3t-path', 's3cr3t-user', 's3cr3t-body', 's3cr3t-answer']
const [header, path, user, body, answer] = SECRETS

const secretly = (server, agent) => exchange(server, agent,
  { method: 'PUT', path: `/${path}?key=${path}`, auth: `${user}:${user}`, headers: { Authorization: header } }, body)

const assertSilent = (text) => {
  for (const secret of SECRETS) assert.equal(text.includes(secret), false, `${secret} in ${text}`)
}

within('secrets_of_requests_are_in_no_stats_and_no_facts', () => scripted((socket) => {
  socket.write(ok(answer, `Set-Cookie: ${answer}\r\n`))
}), async ({ server, agent }) => {
  const told = listenTo(agent)
  await secretly(server, agent)
  agent.destroy()
  await settled(agent)
  assertSilent(JSON.stringify([agent.stats(), agent.getCurrentStatus()]))
  for (const [kind, { socket, ...facts }] of told) assertSilent(JSON.stringify([kind, facts]))
})

test('node_debug_prints_a_line_for_each_event_and_no_secret', { skip: !isHoldfast, timeout: 30_000 }, async () => {
  const server = await breaksSecond()()
  try {
    const program = fileURLToPath(new URL('fixtures/told.mjs', import.meta.url))
    const args = [program, server.port, JSON.stringify({ path: `/${path}`, headers: { Authorization: header } })]
    const printed = async (env) => (await promisify(execFile)(process.execPath, args, { env })).stderr
    const lines = await printed({ NODE_DEBUG: 'holdfast' })
    const masked = lines.replace(/^HOLDFAST \d+: /gm, '').replace(/=[\d.]+ms/g, '=ms')
    assert.deepEqual(masked.trim().split('\n'), [
      'connect age=ms requests=0',
      'reuse age=ms requests=1',
      'replay age=ms requests=0 reason=peerReset',
      'close age=ms requests=1 reason=destroyed',
    ].map((line) => line.replace(' ', ` 127.0.0.1:${server.port}: `)))
    assertSilent(lines)
    assert.equal(await printed({}), '')
  } finally {
    await server.stop()
  }
})

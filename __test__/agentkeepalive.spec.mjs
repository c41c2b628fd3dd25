// agentkeepalive's surface, side by side with agentkeepalive 4.6; what differs on purpose is in docs/migrating.md.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import agentkeepalive from 'agentkeepalive'
import defaultExport, { HttpAgent } from '../index.mjs'
import { plain } from './support/breaking.mjs'
import { outcome } from './support/outcome.mjs'
import { httpServer, refusedPort } from './support/servers.mjs'
import { turns, until } from './support/wait.mjs'
import { exchange, to } from './support/within.mjs'

const require = createRequire(import.meta.url)
const LONG = 60_000
const COUNTERS = ['createSocketCount', 'createSocketErrorCount', 'closeSocketCount', 'errorSocketCount',
  'timeoutSocketCount', 'requestCount']

/** agentkeepalive says on stdout that names are old; that is not the subject. */
const silently = (work) => {
  const { log } = console
  console.log = () => {}
  try {
    return work()
  } finally {
    console.log = log
  }
}

/** Runs `script(server, agent)` with each agent on a server of its own, and compares what it returns. */
const alike = (claim, script, { options = {}, starting = plain } = {}) => {
  test(claim, { timeout: 20_000 }, async () => {
    const seen = []
    for (const Agent of [agentkeepalive, HttpAgent]) {
      const server = await starting()
      const agent = new Agent({ freeSocketTimeout: LONG, timeout: LONG, ...options })
      try {
        seen.push(JSON.parse(JSON.stringify(await script(server, agent)).replaceAll(String(server.port), '<port>')))
      } finally {
        agent.destroy()
        await server.stop()
      }
    }
    assert.deepEqual(seen[1], seen[0])
  })
}

const closed = (agent, count) => until(() => agent.closeSocketCount === count)

alike('status_of_an_unused_agent_is_alike', (server, agent) => [agent.getCurrentStatus(), agent.statusChanged])

alike('status_follows_the_same_traffic_alike', async (server, agent) => {
  const seen = [agent.getCurrentStatus()]
  const first = http.get(to(server, agent))
  const second = http.get(to(server, agent))
  seen.push(agent.getCurrentStatus())
  await Promise.all([outcome(first), outcome(second)])
  seen.push(agent.getCurrentStatus())
  await exchange(server, agent, { method: 'POST' }, 'body')
  agent.destroy()
  await closed(agent, 1)
  seen.push(agent.getCurrentStatus())
  assert.equal(seen[3].requestCount, 3)
  return seen
}, { options: { maxSockets: 1 } })

alike('status_changed_is_true_once_for_each_change_alike', async (server, agent) => {
  const seen = [agent.statusChanged]
  await exchange(server, agent)
  seen.push(agent.statusChanged, agent.statusChanged)
  await exchange(server, agent)
  seen.push(COUNTERS.map((counter) => agent[`${counter}LastCheck`]), agent.statusChanged)
  seen.push(COUNTERS.map((counter) => agent[`${counter}LastCheck`]), agent.statusChanged)
  agent.destroy()
  await closed(agent, 1)
  seen.push(agent.statusChanged, agent.statusChanged)
  assert.deepEqual(seen.filter((one) => typeof one === 'boolean'), [false, true, false, true, false, true, false])
  return seen
})

alike('counters_of_a_refused_connection_are_alike', async (server, agent) => {
  const { errors } = await outcome(http.get({ host: '127.0.0.1', port: await refusedPort(), agent }))
  await closed(agent, 1)
  return [errors, COUNTERS.map((counter) => agent[counter])]
})

alike('counters_of_a_request_that_waits_too_long_are_alike', async (server, agent) => {
  const [error] = await once(http.get(to(server, agent)), 'error')
  const held = Object.keys(agent.sockets)
  await closed(agent, 1)
  assert.equal(error.code, 'ERR_SOCKET_TIMEOUT')
  return [held, error.code, error.message, error.timeout, COUNTERS.map((counter) => agent[counter])]
}, { options: { timeout: 50 }, starting: () => httpServer(() => {}) })

alike('counters_of_an_idle_socket_that_expires_are_alike', async (server, agent) => {
  const { socket } = await exchange(server, agent)
  if (!socket.destroyed) await once(socket, 'close')
  await closed(agent, 1)
  return COUNTERS.map((counter) => agent[counter])
}, { options: { freeSocketTimeout: 50 } })

alike('marks_on_sockets_count_requests_alike', async (server, agent) => {
  const { constants } = agent instanceof HttpAgent ? HttpAgent : agentkeepalive
  const marks = (socket) => [constants.SOCKET_REQUEST_COUNT, constants.SOCKET_REQUEST_FINISHED_COUNT]
    .map((mark) => socket[mark])
  const seen = []
  const req = http.get(to(server, agent))
  const [res] = await once(req, 'response')
  seen.push(marks(req.socket))
  res.resume()
  await once(req, 'close')
  await turns(2)
  seen.push(marks(req.socket))
  const { socket } = await exchange(server, agent)
  seen.push(marks(socket), typeof socket[constants.SOCKET_NAME])
  assert.ok(Math.abs(socket[constants.SOCKET_CREATED_TIME] - Date.now()) < LONG)
  return seen
}, { options: { socketActiveTTL: LONG } })

alike('calc_socket_timeout_without_a_ttl_is_alike', async (server, agent) => {
  const { socket } = await exchange(server, agent)
  const seen = [agent.calcSocketTimeout(socket)]
  socket.freeSocketTimeout = 123
  seen.push(agent.calcSocketTimeout(socket))
  socket.freeSocketTimeout = undefined
  socket.freeSocketKeepAliveTimeout = 45
  seen.push(agent.calcSocketTimeout(socket))
  socket.freeSocketKeepAliveTimeout = undefined
  agent.options.freeSocketTimeout = 0
  seen.push(agent.calcSocketTimeout(socket) ?? 'none')
  assert.deepEqual(seen, [LONG, 123, 45, 'none'])
  return seen
})

alike('calc_socket_timeout_under_a_ttl_is_alike', async (server, agent) => {
  const { socket } = await exchange(server, agent)
  const within = agent.calcSocketTimeout(socket)
  assert.ok(within > 0 && within <= 30_000, `${within}`)
  agent.options.socketActiveTTL = 1
  const since = Date.now()
  await until(() => Date.now() > since + 3)
  const seen = [agent.calcSocketTimeout(socket) <= 0]
  agent.options.socketActiveTTL = 30_000
  socket.freeSocketTimeout = 123
  return [...seen, agent.calcSocketTimeout(socket)]
}, { options: { socketActiveTTL: 30_000, ttlJitter: 0 } })

test('options_in_words_become_the_same_milliseconds', () => {
  for (const text of ['100', '100ms', '30s', '2m', '1h', '1d']) {
    const [theirs, ours] = [agentkeepalive, HttpAgent].map((Agent) => {
      const { options } = new Agent({ freeSocketTimeout: text, timeout: text, socketActiveTTL: text })
      return [options.freeSocketTimeout, options.timeout, options.socketActiveTTL]
    })
    assert.deepEqual(ours, theirs, text)
  }
})

for (const name of ['keepAliveTimeout', 'freeSocketKeepAliveTimeout']) {
  test(`option_${name}_stands_for_free_socket_timeout`, () => {
    const [theirs, ours] = [agentkeepalive, HttpAgent].map((Agent) =>
      silently(() => new Agent({ [name]: 1234 }).options.freeSocketTimeout))
    assert.deepEqual([theirs, ours], [1234, 1234])
  })
}

test('older_getters_give_what_the_options_are', () => {
  const [theirs, ours] = [agentkeepalive, HttpAgent].map((Agent) => silently(() => {
    const agent = new Agent({ freeSocketTimeout: 1234, timeout: 5678, socketActiveTTL: 9000 })
    return [agent.freeSocketKeepAliveTimeout, agent.timeout, agent.socketActiveTTL]
  }))
  assert.deepEqual(ours, theirs)
  assert.deepEqual(ours, [1234, 5678, 9000])
})

test('constants_are_symbols_of_the_same_names', () => {
  const described = (constants) => Object.entries(constants).map(([name, symbol]) => [name, symbol.description])
  assert.deepEqual(described(HttpAgent.constants), described(agentkeepalive.constants))
})

test('module_is_the_class_under_every_name', () => {
  const required = require('../index.js')
  assert.equal(defaultExport, required)
  assert.equal(HttpAgent, required)
  assert.equal(required.HttpAgent, required)
  for (const agent of [new required(), required(), new HttpAgent()]) { // eslint-disable-line new-cap
    assert.ok(agent instanceof required && agent instanceof http.Agent)
    assert.equal(agent.constructor, required)
  }
  class Own extends required {}
  assert.ok(new Own() instanceof required && new Own() instanceof http.Agent)
})

test('prototype_has_every_public_member_of_agentkeepalive_s', () => {
  const missing = Object.getOwnPropertyNames(agentkeepalive.prototype).filter((name) => !(name in HttpAgent.prototype))
  assert.deepEqual(missing, [])
})

// Differences on purpose: docs/migrating.md, "From agentkeepalive 4.6".

test('timeout_has_no_default_as_documented', () => {
  assert.equal(new agentkeepalive().options.timeout, 8000) // eslint-disable-line new-cap
  assert.equal(new HttpAgent().options.timeout, undefined)
})

test('options_object_of_the_caller_is_left_alone_as_documented', () => {
  const [theirs, ours] = [agentkeepalive, HttpAgent].map((Agent) => silently(() => {
    const given = { keepAliveTimeout: 1234 }
    assert.equal(new Agent(given).options.freeSocketTimeout, 1234)
    return given
  }))
  assert.equal(theirs.keepAliveTimeout, undefined)
  assert.deepEqual(ours, { keepAliveTimeout: 1234 })
})

test('older_names_are_silent_as_documented', () => {
  const { log } = console
  const lines = []
  console.log = (...line) => lines.push(line)
  try {
    const agent = new HttpAgent({ keepAliveTimeout: 1, timeout: 1 })
    assert.deepEqual([agent.freeSocketKeepAliveTimeout, agent.timeout], [1, 1])
    assert.deepEqual(lines, [])
    new agentkeepalive({ keepAliveTimeout: 1 }).destroy() // eslint-disable-line new-cap
    assert.equal(lines.length, 1)
  } finally {
    console.log = log
  }
})

test('timeout_can_be_assigned_and_counts_as_documented', { timeout: 20_000 }, async () => {
  const server = await httpServer(() => {})
  const agent = new HttpAgent()
  try {
    assert.throws(() => { agent.timeout = 'soon' }, { code: 'ERR_INVALID_ARG_VALUE', message: /"options.timeout"|'options.timeout'/ })
    assert.equal(agent.timeout, undefined)
    agent.timeout = '0.05s'
    assert.equal(agent.options.timeout, 50)
    agent.maxSockets = '1' // as Node, which compares texts with numbers
    const [error] = await once(http.get(to(server, agent)), 'error')
    assert.deepEqual([error.code, error.timeout], ['ERR_SOCKET_TIMEOUT', 50])
  } finally {
    agent.destroy()
    await server.stop()
  }
})

test('texts_and_flags_that_mean_nothing_are_errors_as_documented', () => {
  for (const options of [{ timeout: 'soon' }, { freeSocketTimeout: '5 apples' }, { keepAlive: 0 }, { keepAlive: '' }]) {
    assert.throws(() => new HttpAgent(options), { name: 'TypeError', message: new RegExp(Object.keys(options)[0]) })
  }
})

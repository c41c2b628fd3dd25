// The option `retry` of agents and requests, what failed requests tell, and what origins teach.
import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import { breaking, breaksSecond, fin, plain, reset } from './support/breaking.mjs'
import { past } from './support/holding.mjs'
import { assertStats, outcome, settled } from './support/outcome.mjs'
import { ok, rawServer, refusedPort, scripted } from './support/servers.mjs'
import { once, turns, until } from './support/wait.mjs'
import { exchange, failure, to, withinHoldfast } from './support/within.mjs'

const within = withinHoldfast('Node\'s agent retries nothing')

const POST = { method: 'POST' }
const QUICK = { base: 1, max: 5 }

// A request's own policy.

within('request_s_own_retry_turns_replay_off_for_it_alone', breaksSecond(fin), async ({ server, agent }) => {
  await exchange(server, agent)
  const req = http.get(to(server, agent, { retry: false }))
  const { errors } = await outcome(req)
  assert.deepEqual([errors, req.retryCount], [['ECONNRESET'], 0])
  await exchange(server, agent)
  const again = http.get(to(server, agent))
  assert.equal((await outcome(again)).status, 200)
  assert.equal(again.retryCount, 1)
  assertStats(await settled(agent, { idle: 1 }), { replays: 1, refused: { off: 1 } })
})

within('request_s_own_retry_may_send_twice_what_the_agent_would_not', breaksSecond(fin), async ({ server, agent }) => {
  await exchange(server, agent)
  const req = http.request(to(server, agent, { ...POST, retry: { nonIdempotent: 'always' } })).end('abc')
  const { text, errors } = await outcome(req)
  assert.deepEqual([text, errors, req.retryCount], ['abc', [], 1])
  assert.deepEqual(server.executed, ['GET 0 on 1', 'POST 3 on 1', 'POST 3 on 2'])
})

within('request_s_own_methods_say_what_is_idempotent', breaksSecond(fin), async ({ server, agent }) => {
  await exchange(server, agent)
  const req = http.request(to(server, agent, { ...POST, retry: { methods: ['post'] } })).end('abc')
  assert.deepEqual([(await outcome(req)).text, req.retryCount], ['abc', 1])
})

within('request_s_own_retry_holds_for_one_that_had_to_wait', breaksSecond(fin), async ({ server, agent }) => {
  const first = exchange(server, agent)
  const req = http.get(to(server, agent, { retry: false }))
  await first
  assert.deepEqual([(await outcome(req)).errors, req.retryCount], [['ECONNRESET'], 0])
  assertStats(await settled(agent), { refused: { off: 1 } })
}, { agentOptions: { maxSockets: 1 } })

within('request_s_own_cap_counts', breaksSecond(fin), async ({ server, agent }) => {
  await exchange(server, agent)
  const options = { method: 'PUT', retry: { maxBodyBytes: 1 } }
  const error = await failure(http.request(to(server, agent, options)).end('abc'))
  assert.equal(error.replayRefused, 'capped')
})

// An idle connection that was passed over for a surer one.

for (const [options, isReused] of [
  [{}, true], [{ retry: false }, false], [POST, false], [{ ...POST, retry: { nonIdempotent: 'always' } }, true]
]) {
  within(`idle_connection_that_may_not_last_is${isReused ? '' : '_not'}_for_${JSON.stringify(options)}`, plain, async ({ server, agent }) => {
    await exchange(server, agent)
    await past(300)
    assert.equal((await exchange(server, agent, options)).req.reusedSocket, isReused)
    assertStats(await settled(agent, { idle: isReused ? 1 : 2 }), { unproven: isReused ? 0 : 1 })
  })
}

within('post_gets_the_idle_connection_that_it_passed_over_once_the_server_takes_no_others', plain, async ({ server, agent }) => {
  await exchange(server, agent)
  net.Server.prototype.close.call(server) // those of http end idle connections too
  await past(300)
  const req = http.request(to(server, agent, POST)).end('abc')
  let port
  req.on('response', ({ socket }) => { port = socket.remotePort })
  const { text, errors } = await outcome(req)
  assert.deepEqual([text, errors, req.reusedSocket, req.retryCount, port], ['abc', [], true, 0, server.port])
  assert.deepEqual(server.executed, ['GET 0 on 1', 'POST 3 on 1'])
  const { text: again } = await exchange(server, agent, POST, 'at once')
  assert.equal(again.toString(), 'at once')
  assertStats(await settled(agent, { idle: 1 }), { opened: 2, requests: 3, reused: 2, unproven: 1, connectErrors: 1 })
})

within('post_gets_the_idle_connection_that_it_passed_over_if_its_name_is_not_found_any_more', plain, async ({ server, agent }) => {
  const answers = [(done) => done(null, [{ address: server.host, family: 4 }]), (done) => done(new Error('not found'))]
  const named = { host: 'some.example', lookup: (host, options, done) => process.nextTick(answers.shift(), done) }
  await exchange(server, agent, named)
  await past(300)
  const { req, text } = await exchange(server, agent, { ...POST, ...named }, 'abc')
  assert.deepEqual([text.toString(), req.reusedSocket, answers.length], ['abc', true, 0])
})

within('close_leaves_a_post_the_idle_connection_that_it_passed_over', plain, async ({ server, agent }) => {
  await exchange(server, agent)
  net.Server.prototype.close.call(server)
  await past(300)
  const answered = exchange(server, agent, POST, 'abc')
  await agent.close()
  assert.equal((await answered).text.toString(), 'abc')
})

within('retry_that_another_library_left_in_the_options_is_not_the_agent_s', breaksSecond(fin), async ({ server, agent }) => {
  // As got 11 leaves it.
  const retry = { limit: 0, methods: ['GET'], statusCodes: [413], errorCodes: ['ETIMEDOUT'], maxRetryAfter: undefined, calculateDelay: () => 0 }
  await exchange(server, agent)
  const req = http.request(to(server, agent, { method: 'PUT', retry })).end('abc')
  assert.deepEqual([(await outcome(req)).text, req.retryCount], ['abc', 1])
})

within('bad_retry_of_a_request_is_thrown_before_anything_is_touched', plain, async ({ server, agent }) => {
  const bad = (retry) => () => http.get(to(server, agent, { retry }))
  assert.throws(bad(3), { code: 'ERR_INVALID_ARG_TYPE', message: /options\.retry/ })
  assert.throws(bad({ attempts: -1 }), { code: 'ERR_OUT_OF_RANGE', message: /options\.retry\.attempts/ })
  await turns()
  assertStats(agent.stats(), { opened: 0, requests: 0 })
  assert.deepEqual([agent.sockets, agent.requests], [{}, {}].map((map) => Object.assign(Object.create(null), map)))
})

// Attempts after a wait.

within('refused_connect_is_tried_again_until_the_server_is_there', plain, async ({ agent }) => {
  const port = await refusedPort()
  const req = http.get({ host: '127.0.0.1', port, agent })
  const ended = outcome(req)
  await once(agent, 'replay')
  const server = await rawServer((socket) => socket.once('data', () => socket.write(ok('up'))), { listen: { port, host: '127.0.0.1' } })
  try {
    const { text, errors } = await ended
    assert.deepEqual([text, errors, req.retryCount > 0], ['up', [], true])
  } finally {
    await server.stop()
  }
}, { agentOptions: { retry: { attempts: 1000, backoff: QUICK, budget: { ratio: 0, minPerSecond: Infinity } } } })

within('attempts_that_are_spent_surface_node_s_error_with_their_number', plain, async ({ agent }) => {
  const port = await refusedPort()
  const req = http.get({ host: '127.0.0.1', port, agent })
  const error = await failure(req)
  assert.deepEqual([error.code, error.syscall, error.address, error.port], ['ECONNREFUSED', 'connect', '127.0.0.1', port])
  assert.deepEqual([error.attempts, error.replayRefused, error.evidence, error.reused], [3, 'spent', 'notWritten', false])
  assert.equal(req.retryCount, 2)
  assertStats(await settled(agent), { retries: 2, connectErrors: 3, refused: { spent: 1 } })
}, { agentOptions: { retry: { attempts: 2, backoff: QUICK } } })

within('name_that_does_not_exist_is_tried_again_only_if_its_code_is_listed', plain, async ({ agent }) => {
  const get = (retry) => http.get({ host: 'holdfast.invalid', agent, retry })
  const unlisted = await failure(get(undefined))
  assert.equal(unlisted.attempts, 1)
  const listed = await failure(get({ codes: [unlisted.code] }))
  assert.deepEqual([listed.code, listed.attempts], [unlisted.code, 3])
}, { agentOptions: { retry: { attempts: 2, backoff: QUICK } } })

for (const [way, end] of Object.entries({
  destroy: (req) => req.destroy(),
  abort_signal: (req, controller) => controller.abort(),
  timeout: (req) => req.on('timeout', () => req.destroy()),
})) {
  within(`${way}_ends_a_wait_and_leaves_nothing`, plain, async ({ agent }) => {
    const controller = new AbortController()
    const req = http.get({ host: '127.0.0.1', port: await refusedPort(), agent, timeout: 50, signal: controller.signal })
    const ended = outcome(req)
    await once(agent, 'replay')
    end(req, controller)
    const { errors } = await ended
    assert.equal(errors.length, 1)
    assertStats(await settled(agent), { opened: 1, retries: 1, connectErrors: 1 })
  }, { agentOptions: { retry: { attempts: 1, backoff: { base: 2 ** 31 - 1, max: 2 ** 31 - 1 } } } })
}

within('idempotent_request_reset_on_a_fresh_connection_gets_its_attempts', breaking((socket, { connection }) => {
  if (connection < 3) reset(socket)
  return connection < 3
}), async ({ server, agent }) => {
  const req = http.request(to(server, agent, { method: 'PUT' })).end('abc')
  const { text, errors } = await outcome(req)
  assert.deepEqual([text, errors, req.retryCount], ['abc', [], 2])
  assert.deepEqual(server.executed, ['PUT 3 on 1', 'PUT 3 on 2', 'PUT 3 on 3'])
}, { agentOptions: { retry: { attempts: 2, backoff: QUICK } } })

within('empty_budget_surfaces_the_first_error_and_says_so', breaksSecond(fin), async ({ server, agent }) => {
  await exchange(server, agent)
  const error = await failure(http.get(to(server, agent)))
  assert.deepEqual([error.code, error.replayRefused], ['ECONNRESET', 'budget'])
  assertStats(await settled(agent), { replays: {}, refused: { budget: 1 } })
}, { agentOptions: { retry: { budget: { ratio: 0, minPerSecond: 0 } } } })

// What errors tell.

within('post_that_the_server_had_read_tells_what_is_known_of_it', breaksSecond(fin), async ({ server, agent }) => {
  await exchange(server, agent)
  const error = await failure(http.request(to(server, agent, POST)).end('abc'))
  const { code, message, reused, idleMs, requestsOnSocket, evidence, attempts, replayRefused } = error
  assert.deepEqual([code, message], ['ECONNRESET', 'socket hang up'])
  assert.deepEqual({ reused, requestsOnSocket, attempts }, { reused: true, requestsOnSocket: 1, attempts: 1 })
  assert.ok(Number.isInteger(idleMs) && idleMs >= 0)
  if (process.platform === 'linux') assert.deepEqual([evidence, replayRefused], ['acknowledged', 'acknowledged'])
})

within('answer_cut_short_tells_that_it_had_begun', () => scripted((socket) => {
  socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!')
}), async ({ server, agent }) => {
  const [res] = await once(http.get(to(server, agent)), 'response')
  const [error] = await once(res.resume(), 'error')
  assert.deepEqual([error.code, error.replayRefused, error.reused], ['ECONNRESET', 'answered', false])
})

within('error_that_the_caller_makes_gets_no_facts', plain, async ({ server, agent }) => {
  const req = http.get(to(server, agent))
  const error = new Error('mine')
  req.destroy(error)
  assert.equal(await failure(req), error)
  assert.deepEqual(Object.keys(error), [])
})

// Early answers.

within('early_413_reaches_the_caller_though_the_upload_breaks', () => rawServer((socket) => socket.once('data', () => {
  socket.write('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig')
  socket.pause()
  setImmediate(() => socket.destroy()) // with most of the body unread: a reset
})), async ({ server, agent }) => {
  const headers = { 'content-length': 64 << 20 }
  const req = http.request(to(server, agent, { ...POST, headers }))
  const chunk = Buffer.alloc(1 << 20)
  let left = 64
  const more = () => {
    while (left-- > 0) if (!req.write(chunk)) return req.once('drain', more)
    req.end()
  }
  more()
  const { status, text, errors, broken } = await outcome(req)
  assert.deepEqual({ status, text, errors, broken }, { status: 413, text: 'big', errors: [], broken: undefined })
  await settled(agent)
})

// What origins teach.

within('idle_timeout_of_a_server_that_does_not_tell_it_is_learned_and_shown', async () => {
  const server = await scripted((socket) => {
    socket.write(ok())
    clearTimeout(socket.idle)
    socket.idle = setTimeout(() => socket.end(), 120)
  })
  return server
}, async ({ server, agent }) => {
  const learned = () => Object.values(agent.stats().origins)[0].learned
  for (let n = 0; n < 2; n++) {
    const { socket } = await exchange(server, agent)
    assert.equal(learned().idleTimeout, undefined)
    await until(() => socket.closed)
  }
  const { idleTimeout, maxRequests } = learned()
  assert.ok(idleTimeout >= 90 && idleTimeout < 120 + 60, `learned ${idleTimeout}`)
  assert.equal(maxRequests, undefined)
  const { socket } = await exchange(server, agent)
  await until(() => socket.closed)
  assertStats(await settled(agent), { closed: { peerFin: 2, expired: 1 } })
})

within('agent_that_must_not_learn_does_not', () => scripted((socket) => {
  socket.write(ok())
  setTimeout(() => socket.end(), 60)
}), async ({ server, agent }) => {
  for (let n = 0; n < 3; n++) {
    const { socket } = await exchange(server, agent)
    await until(() => socket.closed)
  }
  const stats = await settled(agent)
  assertStats(stats, { closed: { peerFin: 3 } })
  assert.deepEqual(Object.values(stats.origins)[0].learned, { idleTimeout: undefined, maxRequests: undefined })
}, { agentOptions: { learnIdleTimeout: false } })

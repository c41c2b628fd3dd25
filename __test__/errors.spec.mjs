// Bad input: options that cannot be, servers that break off anywhere. Node's error, once, and the numbers add up.
import assert from 'node:assert/strict'
import http from 'node:http'
import { test } from 'node:test'
import { AgentUnderTest, isHoldfast } from './support/agents.mjs'
import { parity } from './support/parity.mjs'
import { ok, refusedPort, scripted } from './support/servers.mjs'
import { assertNumbersAddUp } from './support/stats.mjs'
import { turns, until } from './support/wait.mjs'
import { exchange } from './support/within.mjs'

const ours = isHoldfast ? {} : { skip: 'these options are holdfast\'s; Node\'s agent does not check them' }

const MAX_MS = 2 ** 31 - 1
const TYPE = 'ERR_INVALID_ARG_TYPE'
const RANGE = 'ERR_OUT_OF_RANGE'

const duration = { wrong: [{}, [], true, () => {}, 5n], outside: [-1, NaN, MAX_MS + 1], fine: [1, 1000, MAX_MS] }
const limit = { wrong: ['5', {}, [], true], outside: [-1, NaN], fine: [1, 256, Infinity] }
const count = { wrong: ['5', {}, [], true], outside: [-1, NaN, 1.5], fine: [1, 100] }
const flag = { wrong: ['yes', 1, {}], outside: [], fine: [true, false] }

const OPTIONS = {
  keepAlive: flag,
  keepAliveMsecs: { ...duration, wrong: [{}, [], true], fine: [0, MAX_MS, Infinity] },
  maxSockets: limit,
  maxTotalSockets: { ...limit, outside: [0, -1, NaN] },
  maxFreeSockets: limit,
  timeout: duration,
  freeSocketTimeout: { ...duration, fine: [0, 1, MAX_MS, '30s', '2m'] },
  keepAliveTimeout: duration,
  freeSocketKeepAliveTimeout: duration,
  socketActiveTTL: { ...duration, fine: [1, MAX_MS, '1h'] },
  ttlJitter: { wrong: ['a', {}, true], outside: [-0.1, 1.1, NaN], fine: [0, 0.5, 1] },
  agentKeepAliveTimeoutBuffer: { wrong: [{}, true, 'x'], outside: [-1, NaN], fine: [0, 1000] },
  learnIdleTimeout: flag,
  maxRequestsPerSocket: count,
  connectTimeout: { ...duration, fine: [0, '5s'] },
  queueLimit: count,
  queueTimeout: { ...duration, fine: [0, '5s'] },
  tcpUserTimeout: { ...duration, fine: [0, '5s'] },
  keepAliveInterval: { wrong: [{}, [], true], outside: [-1, NaN, 32_767_001], fine: [1, 1000, 32_767_000] },
  keepAliveCount: { ...count, outside: [...count.outside, 128] },
}

const constructed = (options) => new AgentUnderTest(options).destroy()

for (const [name, { wrong, outside, fine }] of Object.entries(OPTIONS)) {
  test(`option_${name}_of_a_wrong_type_throws_by_name`, ours, () => {
    const expected = { name: 'TypeError', code: TYPE, message: new RegExp(name) }
    for (const value of wrong) {
      assert.throws(() => constructed({ [name]: value }), expected, `${name}: ${String(value)}`)
    }
  })

  test(`option_${name}_out_of_range_throws_by_name`, ours, () => {
    const expected = { name: 'RangeError', code: RANGE, message: new RegExp(name) }
    for (const value of outside) {
      assert.throws(() => constructed({ [name]: value }), expected, `${name}: ${String(value)}`)
    }
  })

  test(`option_${name}_within_its_range_is_taken`, ours, () => {
    for (const value of [...fine, undefined]) constructed({ [name]: value })
  })
}

test('option_timeout_that_is_no_duration_throws_by_name', ours, () => {
  for (const name of ['timeout', 'freeSocketTimeout', 'socketActiveTTL', 'connectTimeout', 'queueTimeout', 'tcpUserTimeout']) {
    assert.throws(() => constructed({ [name]: 'soon' }), ({ code, message }) =>
      [TYPE, RANGE, 'ERR_INVALID_ARG_VALUE'].includes(code) && message.includes(name), name)
  }
})

test('option_retry_wrong_anywhere_throws_by_name', ours, () => {
  for (const [retry, word, code] of [
    [5, 'retry', TYPE],
    ['no', 'retry', TYPE],
    [{ methods: 'GET' }, 'methods', TYPE],
    [{ methods: [1] }, 'methods', TYPE],
    [{ maxBodyBytes: 'x' }, 'maxBodyBytes', TYPE],
    [{ maxBodyBytes: -1 }, 'maxBodyBytes', RANGE],
  ]) assert.throws(() => constructed({ retry }), { code, message: new RegExp(word) }, JSON.stringify(retry))
  for (const retry of [false, {}, { methods: ['GET', 'POST'] }, { maxBodyBytes: 0 }]) constructed({ retry })
})

test('option_scheduling_unknown_throws_as_node_does', () => {
  for (const scheduling of ['random', 5, {}]) {
    assert.throws(() => constructed({ scheduling }), { code: 'ERR_INVALID_ARG_VALUE', message: /scheduling/ })
  }
})

test('options_that_are_no_object_throw', ours, () => {
  for (const options of ['x', 5, true]) assert.throws(() => constructed(options), { code: TYPE, message: /options/ })
})

test('options_object_of_the_caller_is_unchanged', () => {
  const given = Object.freeze({
    keepAlive: true, maxSockets: 5, freeSocketTimeout: 1000, timeout: 5000, socketActiveTTL: 60_000,
    scheduling: 'fifo', noDelay: true, retry: Object.freeze({ methods: Object.freeze(['GET']), maxBodyBytes: 10 })
  })
  const before = JSON.stringify(given)
  const agent = new AgentUnderTest(given)
  assert.equal(JSON.stringify(given), before)
  assert.notEqual(agent.options, given)
  agent.destroy()
})

test('request_options_of_the_caller_are_unchanged', { timeout: 10_000 }, async () => {
  const port = await refusedPort()
  const agent = new AgentUnderTest()
  const options = Object.freeze({ host: '127.0.0.1', port, agent, headers: Object.freeze({ 'X-A': 'b' }) })
  const before = Object.keys(options).join()
  const req = http.get(options).on('error', () => {})
  await new Promise((resolve) => req.once('close', resolve))
  assert.equal(Object.keys(options).join(), before)
  agent.destroy()
})

const RESPONSES = {
  with_a_length: ok('hello', 'X-A: b\r\n'),
  chunked: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n',
  after_an_informational_one: 'HTTP/1.1 103 Early\r\nX-A: b\r\n\r\n' + ok('hi'),
  until_close: 'HTTP/1.1 200 OK\r\n\r\nhello',
}

for (const [end, cut] of Object.entries({
  reset: (socket) => socket.resetAndDestroy(),
  fin: (socket) => socket.end(),
})) {
  for (const [kind, text] of Object.entries(RESPONSES)) {
    // Seen: the client has read the bytes before the cut comes. Unseen: bytes and cut arrive together.
    for (const seen of [true, false]) {
      const claim = `${end}_${seen ? 'after' : 'together_with'}_every_byte_of_a_response_${kind}_ends_alike`
      parity(claim, async (run) => {
        let length = 0
        const server = await run.scripted((socket) => {
          if (length > 0) socket.write(text.slice(0, length))
          if (!seen || length === 0) cut(socket)
        })
        const agent = run.agent()
        // A reset that comes with the last byte is known before the socket would become idle: it never does, and has
        // no 'end' of its own.
        const longest = end === 'reset' && !seen ? text.length - 1 : text.length
        for (length = 0; length <= longest; length++) {
          const before = server.accepted.length
          const req = run.get(`byte ${length}`, { host: '127.0.0.1', port: server.port, agent })
          if (seen && length > 0) {
            await until(() => req.socket?.bytesRead === length)
            await turns(1)
            cut(server.accepted.at(-1))
          }
          await run.done(req)
          await until(() => req.socket.closed)
          run.note('accepted', server.accepted.length - before)
        }
        await until(() => agent.totalSocketCount === 0)
        assertNumbersAddUp(agent)
      }, { order: 'entity', timeout: 60_000 })
    }
  }
}

test('unsolicited_bytes_on_an_idle_socket_never_answer_the_next_request', { timeout: 10_000 }, async () => {
  const server = await scripted((socket, head, { connection }) => socket.write(ok(`answer ${connection}`)))
  const agent = new AgentUnderTest()
  try {
    const first = await exchange(server, agent)
    assert.equal(first.text.toString(), 'answer 1')
    server.accepted[0].write(ok('poison'))
    if (isHoldfast) await until(() => first.socket.closed)
    else first.socket.destroy()
    const second = await exchange(server, agent)
    assert.equal(second.text.toString(), 'answer 2')
  } finally {
    agent.destroy()
    await server.stop()
  }
})

parity('failures_of_every_kind_leave_numbers_that_add_up', async (run) => {
  const closedPort = await refusedPort()
  run.mask(closedPort, '<closed>')
  const server = await run.scripted((socket, head) => {
    if (head.startsWith('GET /garbage')) socket.write('garbage\r\n\r\n')
    else if (head.startsWith('GET /reset')) socket.resetAndDestroy()
    else if (head.startsWith('GET /fin')) socket.end()
    else if (head.startsWith('GET /big')) socket.write(`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(1 << 20)}\r\n\r\n`)
    else socket.write(ok('fine'))
  })
  const agent = run.agent({ maxSockets: 2 })
  const port = server.port
  const lookup = (host, options, found) => found(Object.assign(new Error('no'), { code: 'ENOTFOUND' }))
  for (const options of [{ port, path: '/garbage' }, { port, path: '/reset' }, { port, path: '/fin' },
    { port, path: '/big' }, { port: closedPort }, { port: 80, host: 'some.test', lookup }]) {
    const req = http.get({ host: '127.0.0.1', agent, ...options })
    let errors = 0
    req.on('error', (error) => {
      errors++
      run.note(options.path ?? options.host ?? 'refused', error.code, error.syscall)
    })
    await new Promise((resolve) => req.once('close', resolve))
    await turns(5)
    run.note('errors', errors)
  }
  await until(() => agent.totalSocketCount === 0)
  assertNumbersAddUp(agent)
}, { order: 'entity' })

// How programs with an agent end: on every runtime, in their own processes.
import assert from 'node:assert/strict'
import http from 'node:http'
import { once } from 'node:events'
import { after, before, beforeEach, describe, test } from 'node:test'
import { AgentUnderTest, isHoldfast } from './support/agents.mjs'
import { run } from './support/programs.mjs'
import { RUNTIMES } from './support/runtimes.mjs'
import { httpServer, rawServer } from './support/servers.mjs'
import { collect, until } from './support/wait.mjs'

const LIMIT = 60_000
const bounded = { timeout: LIMIT + 5_000 }

let server
let waiting = []

before(async () => {
  server = await httpServer((req, res) => {
    if (req.url === '/wait') return waiting.push(res)
    if (req.url === '/die') return req.socket.resetAndDestroy()
    if (req.url === '/half') return res.writeHead(200, { 'Content-Length': 100 }).write('half')
    res.end('x')
  }, { keepAliveTimeout: 0 })
})
after(() => server.stop())

const ended = async (program, expected) => {
  const { code, signal, lines, errors } = await program.ended
  assert.deepEqual({ code, signal, lines }, { code: 0, signal: null, ...expected }, errors)
}

for (const { version, path } of RUNTIMES) {
  describe(`on ${version}`, () => {
    const program = (name, args, options) => run(name, args, { path, limit: LIMIT, ...options })

    test('idle_agent_lets_the_process_exit', bounded, () =>
      ended(program('idle-agent', [server.port]), { lines: ['idle 1'] }))

    test('unref_of_a_socket_that_shakes_hands_lets_the_process_exit', bounded, async () => {
      const silent = await rawServer(() => {})
      try {
        await ended(program('unref-handshake', [silent.port]), { lines: ['unref'] })
      } finally {
        await silent.stop()
      }
    })

    for (const host of ['127.0.0.1', 'localhost']) {
      test(`pending_request_to_${host}_keeps_the_process`, bounded, async () => {
        const held = httpServer((req, res) => { held.answer = () => res.end('x') })
        const own = await held
        try {
          const pending = program('pending-request', [own.port, host])
          await Promise.race([once(own, 'request'), pending.ended])
          assert.ok(held.answer, 'the process ended before its request arrived')
          // A second process starts and ends meanwhile: time enough for the first to end if nothing held it.
          await ended(program('idle-agent', [server.port]), { lines: ['idle 1'] })
          assert.equal(pending.child.exitCode, null)
          held.answer()
          await ended(pending, { lines: ['answered 200'] })
        } finally {
          await own.stop()
        }
      })
    }

    for (const moment of ['data', 'end', 'response', 'socket', 'connect', 'error', 'close']) {
      test(`process_exit_in_a_${moment}_listener_exits_at_once`, bounded, () =>
        ended(program('exit-in-callback', [server.port, moment]), { code: 7, lines: [] }))
    }

    test('two_hundred_workers_ended_in_the_middle_leave_the_process_whole', bounded, () =>
      ended(program('workers', [server.port]), { lines: ['ended 200'] }))

    test('two_hundred_agents_created_and_dropped_are_collected', bounded, () =>
      ended(program('many-agents', [server.port], { flags: ['--expose-gc'] }), { lines: ['dropped', 'collected'] }))

    test('destroy_with_idle_active_connecting_and_queued_requests_ends_them_all', bounded, () =>
      ended(program('destroy-everything', [server.port]), { lines: ['active closed', 'queued closed', 'used again'] }))
  })
}

const ours = isHoldfast ? bounded : { skip: 'Node\'s agent has no close()' }
const closedOnce = (req) => new Promise((resolve) => req.closed ? resolve() : req.once('close', resolve))

describe('close()', () => {
  beforeEach(() => { waiting = [] })

  const answers = async (count) => {
    await until(() => waiting.length === count)
    return waiting.splice(0)
  }

  test('close_resolves_after_what_is_in_flight_has_finished', ours, async () => {
    const agent = new AgentUnderTest()
    const req = http.get({ host: '127.0.0.1', port: server.port, path: '/wait', agent })
    const [res] = await answers(1)
    let resolved = false
    const closing = agent.close().then(() => { resolved = true })
    const failed = http.get({ host: '127.0.0.1', port: server.port, agent })
    const [error] = await once(failed, 'error')
    assert.equal(error.code, 'ERR_AGENT_CLOSED')
    assert.equal(resolved, false)
    res.end('whole')
    const [response] = await once(req, 'response')
    assert.equal((await collect(response)).toString(), 'whole')
    await closing
    assert.equal(agent.totalSocketCount, 0)
    assert.deepEqual([Object.keys(agent.sockets), Object.keys(agent.freeSockets)], [[], []])
  })

  test('close_of_an_idle_agent_closes_its_sockets_and_resolves', ours, async () => {
    const agent = new AgentUnderTest()
    const req = http.get({ host: '127.0.0.1', port: server.port, agent }, (res) => res.resume())
    await closedOnce(req)
    await agent.close()
    assert.equal(agent.totalSocketCount, 0)
    await until(() => req.socket.closed)
  })

  test('close_of_an_unused_agent_and_a_second_close_resolve', ours, async () => {
    const agent = new AgentUnderTest()
    await Promise.all([agent.close(), agent.close()])
    await agent.close()
  })

  test('destroy_after_close_ends_what_is_in_flight', ours, async () => {
    const agent = new AgentUnderTest()
    const req = http.get({ host: '127.0.0.1', port: server.port, path: '/wait', agent })
    req.on('error', () => {})
    await answers(1)
    const closing = agent.close()
    agent.destroy()
    await Promise.all([closing, closedOnce(req)])
  })
})

// A small young generation: V8 grows it under load by more than the 10 % (Node's own agent: 68 to 83 MB without).
const flags = ['--expose-gc', '--max-semi-space-size=2']

test('resident_memory_after_200_000_requests_is_that_after_20_000', { timeout: 180_000 }, async () => {
  const plain = run('server', [], { limit: 170_000 })
  try {
    await until(() => plain.lines.length === 1)
    const { lines, code, errors } = await run('memory', [plain.lines[0]], { flags, limit: 160_000 }).ended
    assert.equal(code, 0, errors)
    const { early, late } = JSON.parse(lines[0])
    assert.ok(late.rss <= early.rss * 1.1, `${early.rss} bytes became ${late.rss}`)
    assert.ok(late.listeners <= early.listeners, `${early.listeners} listeners became ${late.listeners}`)
  } finally {
    plain.child.stdin.end()
    await plain.ended
  }
})

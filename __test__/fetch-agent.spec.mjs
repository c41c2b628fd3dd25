// A FetchAgent as its caller holds it: composed, installed, listened to, asked for many origins.
import assert from 'node:assert/strict'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { after, describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import undici from 'undici'
import { FetchAgent } from '../index.mjs'
import { both, limits, own } from './support/dispatchers.mjs'
import { dispatched } from './support/dispatching.mjs'
import { hinting, httpServer, ok, scripted } from './support/servers.mjs'
import { turns, until } from './support/wait.mjs'

own('says_a_head_of_any_length', async ({ agent, origin }) => {
  for (const length of [...Array.from({ length: 160 }, (_, n) => 1920 + n), 12_000]) {
    const { body } = await dispatched(agent, { origin, path: `/${'x'.repeat(length)}z` })
    assert.equal(body, `${length + 2} z`)
  }
}, { start: () => httpServer((req, res) => res.end(`${req.url.length} ${req.url.at(-1)}`)) })

own('takes_a_hint_that_came_in_two_headers', async ({ agent, origin }) => {
  await dispatched(agent, { origin })
  await until(() => agent.stats().closed.hint === 1)
}, { start: hinting('Keep-Alive: timeout=1\r\nKeep-Alive: max=9\r\n') })

describe('a composed dispatcher', () => {
  const noting = (seen, name) => (dispatch) => (opts, handler) => {
    seen.push(name)
    return dispatch(opts, handler)
  }
  const answering = { start: () => scripted((socket) => socket.write(ok())) }

  both('keeps_what_was_composed_before', async ({ agent, origin }) => {
    const seen = []
    const composed = agent.compose(noting(seen, 'first')).compose(noting(seen, 'second'))
    assert.equal((await dispatched(composed, { origin })).body, 'ok')
    assert.deepEqual(seen, ['second', 'first'])
  }, answering)

  both('passes_on_what_an_interceptor_makes_of_the_headers', async ({ agent, origin }) => {
    const changing = (handler) => ({
      onRequestStart: (...facts) => handler.onRequestStart(...facts),
      onResponseStart: (controller, status, headers, text) => handler.onResponseStart(controller, status, { ...headers, 'x-own': 'a' }, text),
      onResponseData: (...facts) => handler.onResponseData(...facts),
      onResponseEnd: (...facts) => handler.onResponseEnd(...facts),
      onResponseError: (...facts) => handler.onResponseError(...facts)
    })
    const composed = agent.compose((dispatch) => (opts, handler) => dispatch(opts, changing(handler)))
    for (const modern of [false, true]) {
      const { events } = await dispatched(composed, { origin }, { modern })
      assert.match(JSON.stringify(events), /x-own/)
    }
  }, answering)

  both('may_ask_by_an_object_of_a_class', async ({ agent, origin }) => {
    class Asked {
      #options

      constructor (options) { this.#options = options }
      get origin () { return this.#options.origin }
      get path () { return this.#options.path }
      get method () { return this.#options.method }
    }
    const composed = agent.compose((dispatch) => (opts, handler) => dispatch(new Asked(opts), handler))
    assert.equal((await dispatched(composed, { origin })).body, 'ok')
  }, answering)

  own('is_itself_what_is_installed', async ({ agent, origin }) => {
    const seen = []
    const composed = agent.compose(noting(seen, 'first'))
    assert.equal(composed.install(), composed)
    try {
      assert.equal(await (await fetch(origin)).text(), 'ok')
    } finally {
      assert.equal(composed.uninstall(), composed)
    }
    assert.deepEqual(seen, ['first'])
    assert.equal(await (await fetch(origin, { headers: { connection: 'close' } })).text(), 'ok')
    assert.deepEqual([seen, agent.stats().requests], [['first'], 1])
  }, answering)
})

describe('installed agents', () => {
  const GLOBAL = Symbol.for('undici.globalDispatcher.1')

  test('give_back_what_was_before_them_all_in_whatever_order_they_go', limits, async () => {
    const before = globalThis[GLOBAL]
    const agents = [new FetchAgent(), new FetchAgent(), new FetchAgent()]
    for (const agent of agents) agent.install()
    const [first, second, third] = agents
    for (const [agent, left] of [[second, third], [first, third], [third, before]]) {
      agent.uninstall()
      assert.equal(globalThis[GLOBAL], left)
    }
    for (const agent of agents) await agent.destroy()
  })
})

describe('code of the caller that throws', () => {
  /** The words of what is thrown to the process while `work` runs. */
  const thrownBy = async (work) => {
    const words = []
    process.setUncaughtExceptionCaptureCallback(({ message }) => words.push(message))
    try {
      await work()
      await turns()
    } finally {
      process.setUncaughtExceptionCaptureCallback(null)
    }
    return words
  }

  own('at_the_end_of_one_request_leaves_the_others_theirs', async ({ agent, origin }) => {
    const ended = []
    const handler = (name) => ({
      onRequestStart () {},
      onResponseStart () {},
      onResponseData () {},
      onResponseEnd () {},
      onResponseError (controller, { code }) {
        ended.push([name, code])
        throw new Error(name)
      }
    })
    const thrown = await thrownBy(async () => {
      for (const name of ['a', 'b']) agent.dispatch({ origin, path: '/', method: 'GET' }, handler(name))
      await agent.destroy()
    })
    assert.deepEqual(ended, [['a', 'UND_ERR_DESTROYED'], ['b', 'UND_ERR_DESTROYED']])
    assert.deepEqual(thrown, ['a', 'b'])
  })

  for (const kind of ['connect', 'reuse', 'drain', 'disconnect']) {
    own(`for_${kind}_harms_no_request`, async ({ agent, origin }) => {
      agent.on(kind, () => { throw new Error(kind) })
      const thrown = await thrownBy(async () => {
        const outcomes = await Promise.all([1, 2, 3].map(() => dispatched(agent, { origin })))
        assert.deepEqual(outcomes.map(({ body }) => body), ['ok', 'ok', 'ok'])
        await agent.destroy()
      })
      assert.deepEqual([...new Set(thrown)], [kind])
    }, { start: () => scripted((socket) => socket.write(ok())), options: { connections: 1 } })
  }
})

describe('many origins', () => {
  const lookup = (name, { all }, done) => done(null, ...all ? [[{ address: '127.0.0.1', family: 4 }]] : ['127.0.0.1', 4])

  own('are_forgotten_when_nothing_of_them_is_left_though_their_numbers_count', async ({ agent, server }) => {
    const ask = async (n) => assert.equal((await dispatched(agent, { origin: `http://h${n}.test:${server.port}` })).body, 'ok')
    for (let n = 0; n < 1100; n++) await ask(n)
    await ask(0)
    const { origins, requests, opened } = agent.stats()
    assert.ok(Object.keys(origins).length <= 1024, `${Object.keys(origins).length} are known`)
    assert.deepEqual([requests, opened], [1101, 1101])
  }, { start: () => scripted((socket) => socket.end(ok('ok', 'Connection: close\r\n'))), options: { connect: { lookup } } })

  const mostOne = { maxOrigins: 1, connect: { lookup } }

  both('are_at_most_maxOrigins', async ({ agent, server }) => {
    const ask = async (name) => await dispatched(agent, { origin: `http://${name}.test:${server.port}` })
    assert.equal((await ask('a')).body, 'ok')
    assert.match((await ask('b')).error, /^MaxOriginsReachedError UND_ERR_MAX_ORIGINS_REACHED /)
    assert.equal((await ask('a')).body, 'ok')
  }, { start: () => scripted((socket) => socket.write(ok())), options: mostOne })

  own('leave_room_for_others_once_they_have_no_connection', async ({ agent, server }) => {
    for (const name of ['a', 'b', 'a']) {
      assert.equal((await dispatched(agent, { origin: `http://${name}.test:${server.port}` })).body, 'ok')
    }
  }, { start: () => scripted((socket) => socket.end(ok('ok', 'Connection: close\r\n'))), options: mostOne })

  own('by_the_host_header_are_one_to_plain_http', async ({ agent, origin }) => {
    for (const host of ['a.test', 'b.test']) await dispatched(agent, { origin, headers: { host } })
    const { origins, opened } = agent.stats()
    assert.deepEqual([Object.keys(origins).length, opened], [1, 1])
  }, { start: () => scripted((socket) => socket.write(ok())) })
})

describe('a server of a path in the file system', () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-'))
  const socketPath = join(folder, 'http.sock')
  const start = () => scripted((socket) => socket.write(ok()), { listen: { path: socketPath } })
  after(() => rm(folder, { recursive: true }))

  for (const options of [{ socketPath }, { connect: { socketPath } }]) {
    both(`is_reached_by_${JSON.stringify(Object.keys(options))}`, async ({ agent }) => {
      assert.equal((await dispatched(agent, { origin: 'http://a.test' })).body, 'ok')
    }, { start, options })
  }
})

describe('the end of an agent', () => {
  const answering = { start: () => scripted((socket) => socket.write(ok())) }

  both('comes_once', async ({ agent, origin }) => {
    await dispatched(agent, { origin })
    const kinds = []
    agent.on('disconnect', (url, targets, { code }) => kinds.push(code))
    await Promise.all([agent.close(), agent.close()])
    assert.deepEqual([kinds.length, agent.closed, agent.destroyed], [1, true, true], 'its connections have closed')
    await assert.rejects(agent.close(), { code: 'UND_ERR_DESTROYED' })
    await agent.destroy()
  }, answering)

  both('by_destroy_is_no_close', async ({ agent }) => {
    await agent.destroy()
    assert.deepEqual([agent.closed, agent.destroyed], [false, true])
    await assert.rejects(agent.close(), { code: 'UND_ERR_DESTROYED' })
  }, answering)
})

describe('a tunnel', () => {
  const refusing = { start: () => scripted((socket) => socket.write('HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n')) }

  both('that_is_refused_tells_its_status', async ({ agent, origin }) => {
    const { statusCode, headers, socket } = await undici.connect(origin, { dispatcher: agent, path: 'a.test:443' })
    socket.destroy()
    assert.deepEqual([statusCode, headers['proxy-authenticate']], [407, 'Basic'])
  }, refusing)

  both('is_not_what_a_101_without_a_word_makes', async ({ agent, origin }) => {
    await assert.rejects(undici.upgrade(origin, { dispatcher: agent }), { code: 'UND_ERR_SOCKET', message: 'bad upgrade' })
  }, { start: () => scripted((socket) => socket.write('HTTP/1.1 101 Switching\r\nConnection: close\r\n\r\n')) })
})

describe('an answer', () => {
  /** A server that waits until so many have asked, and answers all. */
  const atOnce = (count, answer) => () => {
    const waiting = []
    return scripted((socket) => {
      if (waiting.push(socket) === count) for (const asker of waiting.splice(0)) asker.write(answer)
    })
  }
  const CROWD = 100
  const LETTERS = 'abcdefghijklm'.repeat(1000) // a hundred times that is more than all slabs
  const chunks = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(100)}0\r\n\r\n`

  both('of_many_small_chunks_that_came_together_is_told_together', async ({ agent, origin }) => {
    let ticks = 0
    let ticksBefore
    await dispatched(agent, { origin }, {
      act: { data: () => { process.nextTick(() => ticks++) }, complete: () => { ticksBefore = ticks } }
    })
    assert.equal(ticksBefore, 0)
  }, { start: () => scripted((socket) => socket.write(chunks)) })

  both('of_a_large_piece_is_told_with_its_end', async ({ agent, origin }) => {
    let ticks
    let ticksBefore
    const act = {
      data: () => {
        ticks = 0
        process.nextTick(() => ticks++)
      },
      complete: () => { ticksBefore = ticks }
    }
    // It may come in more than one read.
    for (let tries = 0; tries < 20 && ticksBefore !== 0; tries++) await dispatched(agent, { origin }, { act })
    assert.equal(ticksBefore, 0)
  }, { start: () => scripted((socket) => socket.write(ok('x'.repeat(20_000)))) })

  own('is_told_with_others_that_came_together_before_what_they_set_off', async ({ agent, origin }) => {
    const order = []
    const act = {
      complete: () => {
        order.push('complete')
        queueMicrotask(() => order.push('set off'))
      }
    }
    // The kernel may show one of them a turn later.
    for (let tries = 0; tries < 20 && order.join() !== 'complete,complete,set off,set off'; tries++) {
      order.length = 0
      await Promise.all([dispatched(agent, { origin }, { act }), dispatched(agent, { origin }, { act })])
    }
    assert.deepEqual(order, ['complete', 'complete', 'set off', 'set off'])
  }, { start: atOnce(2, ok()) })

  own('is_whole_though_a_turn_brings_more_than_there_is_room_for', async ({ agent, origin }) => {
    const asked = Array.from({ length: CROWD }, () => dispatched(agent, { origin }))
    for (const { body } of await Promise.all(asked)) assert.equal(body, LETTERS)
  }, { start: atOnce(CROWD, ok(LETTERS)) })

  both('that_is_too_large_is_told_up_to_its_limit', async ({ agent, origin }) => {
    const { statusCode, body } = await undici.request(origin, { dispatcher: agent })
    assert.equal(statusCode, 200)
    await assert.rejects(body.text(), { code: 'UND_ERR_RES_EXCEEDED_MAX_SIZE' })
  }, { start: () => scripted((socket) => socket.write(ok('too large'))), options: { maxResponseSize: 3 } })
})

describe('a connection', () => {
  for (const [name, answer] of [
    ['behind_a_body', ok('whole') + ok('stray')],
    ['behind_no_body', ok('') + ok('stray')],
    ['that_are_no_answer', ok('whole') + 'x']
  ]) {
    both(`is_not_used_again_with_bytes_${name}`, async ({ agent, origin, server }) => {
      const answers = []
      for (let n = 0; n < 3; n++) answers.push((await dispatched(agent, { origin })).body)
      assert.deepEqual(answers.filter((body) => !answer.includes(`\r\n\r\n${body}`)), [])
      assert.ok(!answers.includes('stray'), answers.join())
      assert.equal(server.accepted.length, 3)
    }, { start: () => scripted((socket) => socket.write(answer)) })
  }

  both('is_told_to_have_closed_behind_the_answer', async ({ agent, origin }) => {
    const told = []
    agent.on('disconnect', (url, targets, { code }) => told.push(code))
    await dispatched(agent, { origin, reset: true }, { act: { complete: () => { told.push('complete') } } })
    await until(() => told.length === 2)
    assert.deepEqual(told, ['complete', 'UND_ERR_INFO'])
  }, { start: () => scripted((socket) => socket.write(ok())) })

  for (const [method, accepted] of [['GET', 2], ['DELETE', 2], ['POST', 1]]) {
    both(`on_which_a_${method}_had_a_body_${accepted === 1 ? 'stays' : 'closes'}`, async ({ agent, origin, server }) => {
      for (let n = 0; n < 2; n++) await dispatched(agent, { origin, method, body: 'x' })
      assert.equal(server.accepted.length, accepted)
    }, { start: () => scripted((socket) => socket.write(ok())) })
  }

  own('has_clientTtl_to_live', async ({ agent, origin }) => {
    await dispatched(agent, { origin })
    await until(() => agent.stats().closed.ttl === 1)
  }, { start: () => scripted((socket) => socket.write(ok())), options: { clientTtl: 50, freeSocketTimeout: 60_000 } })
})

describe('a proxy', () => {
  own('is_given_one_set_of_credentials_the_agents', async ({ server }) => {
    const agent = new FetchAgent({ proxy: `http://user:secret@127.0.0.1:${server.port}` })
    try {
      const { body } = await dispatched(agent, { origin: 'http://a.test', headers: { 'Proxy-Authorization': 'Basic mine' } })
      assert.deepEqual(body.match(/^proxy-authorization: .*$/gim), ['proxy-authorization: Basic dXNlcjpzZWNyZXQ='])
    } finally {
      await agent.destroy()
    }
  }, { start: () => scripted((socket, head) => socket.write(ok(head))) })
})

// fetch holds on to `abort` where only a full collection reaches, and would to all of the exchange.
own('abort_that_somebody_keeps_does_not_hold_an_exchange_that_is_over', async ({ agent, origin }) => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc')
  const asked = () => new Promise((resolve, reject) => {
    const body = new Uint8Array(1000)
    const held = new WeakRef(body.buffer) // the handler, which `abort` has, must not have the body
    let abort
    agent.dispatch({ origin, path: '/', method: 'POST', body }, {
      onConnect: (given) => { abort = given },
      onHeaders: () => true,
      onData: () => true,
      onComplete: () => resolve({ abort, held }),
      onError: reject
    })
  })
  const { abort, held } = await asked()
  await until(() => { gc(); return held.deref() === undefined })
  abort() // too late to be heard
}, { start: () => scripted((socket) => socket.write(ok())) })

// What goes wrong around a request: its body, its handler, its limits. Held against undici's own Agent where that has an opinion.
import assert from 'node:assert/strict'
import process from 'node:process'
import { PassThrough, Readable } from 'node:stream'
import { describe, test } from 'node:test'
import undici from 'undici'
import { FetchAgent } from '../index.mjs'
import { dispatched } from './support/dispatching.mjs'
import { assertStats } from './support/outcome.mjs'
import { httpServer, ok, rawServer, refusedPort, scripted } from './support/servers.mjs'
import { collect, deferred, turns, until } from './support/wait.mjs'

const limits = { timeout: 20_000 }
const silent = () => scripted(() => {})

/** `run({ agent, origin, server })` with an agent of each kind and a server of its own. */
const forEach = (Agents) => (claim, run, { start = silent, options } = {}) => {
  for (const Agent of Agents) {
    const name = Agent === FetchAgent ? 'holdfast' : 'undici'
    test(`${claim} (${name})`, limits, async () => {
      const server = await start()
      const agent = new Agent(options)
      try {
        await run({ agent, server, origin: `http://127.0.0.1:${server.port}` })
      } finally {
        await agent.destroy()
        await server.stop()
      }
    })
  }
}
const both = forEach([undici.Agent, FetchAgent])
const own = forEach([FetchAgent])

/** Answers from `server.release()` on. */
const holding = async () => {
  const released = deferred()
  const server = await scripted((socket) => released.promise.then(() => socket.write(ok())))
  server.release = released.resolve
  return server
}

/** Not by `once`: that rejects for an error, which is not its business here. */
const closed = (stream) => new Promise((resolve) => stream.on('close', resolve))

describe('a stream as a body', () => {
  /** Whatever is emitted that nobody listens to fails the test. */
  const upload = (agent, origin, body, how) => dispatched(agent, { origin, method: 'POST', body }, { modern: true, ...how })

  both('is_left_without_a_crash_when_the_connection_is_refused', async ({ agent }) => {
    const { error } = await upload(agent, `http://127.0.0.1:${await refusedPort()}`, new PassThrough())
    assert.match(error, /ECONNREFUSED/)
  })

  /** An upload that waits while the agent's one connection has something else to do. */
  const waiting = async ({ agent, origin, server }, how) => {
    const first = dispatched(agent, { origin })
    await until(() => server.accepted.length === 1)
    const body = new PassThrough()
    return { first, body, outcome: upload(agent, origin, body, how) }
  }
  const queued = { start: holding, options: { connections: 1 } }

  // undici's own handlers hear of no controller before their turn.
  own('is_left_without_a_crash_when_its_request_is_aborted_in_the_queue', async (given) => {
    let controller
    const { first, outcome } = await waiting(given, { act: { start: (its) => { controller = its } } })
    controller.abort(new Error('enough'))
    given.server.release()
    assert.equal((await outcome).error, 'Error  enough')
    assert.equal((await first).body, 'ok')
  }, queued)

  for (const [name, error, told] of [['breaks', new Error('gone'), 'Error  gone'], ['closes', undefined, 'AbortError UND_ERR_ABORTED Request aborted']]) {
    both(`that_${name}_in_the_queue_ends_its_request`, async (given) => {
      const { first, body, outcome } = await waiting(given)
      body.destroy(error)
      await closed(body)
      given.server.release()
      assert.equal((await outcome).error, told)
      assert.equal((await first).body, 'ok')
    }, queued)

    both(`that_${name}_before_ends_its_request`, async ({ agent, origin }) => {
      const body = new PassThrough().on('error', () => {})
      body.destroy(error)
      await closed(body)
      assert.equal((await upload(agent, origin, body)).error, told)
    })
  }

  both('that_has_ended_before_is_an_empty_body', async ({ agent, origin }) => {
    const body = new PassThrough()
    body.end().resume()
    await closed(body)
    assert.equal((await upload(agent, origin, body)).body, 'ok')
  }, { start: () => scripted((socket) => socket.write(ok())) })
})

describe('the rest of an upload', () => {
  const answersEarly = { start: () => scripted((socket) => socket.write(ok())) }

  both('is_made_no_more_once_the_answer_is_there', async ({ agent, origin }) => {
    const body = new Readable({ read () { setImmediate(() => this.push(Buffer.alloc(16_384))) } })
    const outcome = await dispatched(agent, { origin, method: 'POST', body })
    assert.deepEqual([outcome.error, outcome.body], [undefined, 'ok'])
    await until(() => body.destroyed)
  }, answersEarly)

  both('of_an_iterator_is_made_no_more_either', async ({ agent, origin }) => {
    let hasEnded = false
    const endless = async function * () {
      try {
        for (;;) yield await new Promise((resolve) => setImmediate(resolve, 'x'))
      } finally {
        hasEnded = true
      }
    }
    const outcome = await dispatched(agent, { origin, method: 'POST', body: endless() })
    assert.deepEqual([outcome.error, outcome.body], [undefined, 'ok'])
    await until(() => hasEnded)
  }, answersEarly)

  both('that_a_server_is_asked_for_leaves_it_able_to_answer', async ({ agent }) => {
    const origin = `http://127.0.0.1:${await refusedPort()}`
    const front = await httpServer(async (req, res) => {
      const { error } = await dispatched(agent, { origin, method: 'POST', body: req })
      res.writeHead(502, { connection: 'close' }).end(error)
    })
    try {
      const res = await fetch(`http://127.0.0.1:${front.port}`, { method: 'POST', body: 'x' })
      assert.equal(res.status, 502)
      assert.match(await res.text(), /ECONNREFUSED/)
    } finally {
      await front.stop()
    }
  })
})

describe('a policy of retries that is none', () => {
  own('is_told_to_the_handler_and_nothing_is_left', async ({ agent, origin }) => {
    const { events, error } = await dispatched(agent, { origin, retry: { retryOn: '503' } }, { modern: true })
    assert.match(error, /^InvalidArgumentError UND_ERR_INVALID_ARG .*"options.retry.retryOn"/)
    assert.equal(events.answer, false)
    await agent.close()
  })
})

describe('a pause', () => {
  const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n'
  const whole = { start: () => scripted((socket) => socket.write(`${CHUNKED}0\r\n\r\n`)) }
  const cut = { start: () => scripted((socket) => socket.end(CHUNKED)) }

  /** A request whose handler pauses where `pauses` says; what it was told, for `told` to count. */
  const pausing = (agent, origin, pauses) => {
    const seen = { told: [], controller: undefined }
    const act = Object.fromEntries(['start', 'head', 'data', 'complete'].map((stage) => [stage, (controller) => {
      seen.controller ??= controller
      if (stage !== 'start') seen.told.push(stage)
      if (pauses.includes(stage)) seen.controller.pause()
    }]))
    seen.outcome = dispatched(agent, { origin }, { modern: true, act })
    return seen
  }

  for (const stage of ['start', 'head']) {
    both(`at_the_${stage}_holds_back_the_body_and_its_end`, async ({ agent, origin }) => {
      const seen = pausing(agent, origin, [stage])
      await until(() => seen.told.length > 0)
      await turns()
      assert.deepEqual(seen.told, ['head'])
      seen.controller.resume()
      assert.equal((await seen.outcome).body, 'abcdef')
    }, whole)
  }

  both('at_each_piece_holds_back_the_next_though_it_has_come', async ({ agent, origin }) => {
    const seen = pausing(agent, origin, ['data'])
    const told = ['head', 'data', 'data', 'complete']
    for (let count = 2; count <= told.length; count++) {
      await until(() => seen.told.length >= count)
      await turns()
      assert.deepEqual(seen.told, told.slice(0, count))
      seen.controller.resume()
    }
    assert.equal((await seen.outcome).body, 'abcdef')
  }, whole)

  both('holds_back_how_the_connection_broke', async ({ agent, origin }) => {
    const seen = pausing(agent, origin, ['head', 'data'])
    for (const count of [1, 2, 3]) {
      await until(() => seen.told.length >= count)
      await turns()
      assert.equal(seen.told.length, count)
      seen.controller.resume()
    }
    const { body, error } = await seen.outcome
    assert.deepEqual([body, error], ['abcdef', 'SocketError UND_ERR_SOCKET other side closed'])
  }, cut)

  both('of_an_older_handler_is_what_it_answers', async ({ agent, origin }) => {
    const told = []
    let goOn
    const outcome = dispatched(agent, { origin }, { act: {
      head: ({ resume }) => {
        goOn = resume
        return false
      },
      data: () => { told.push('data') }
    } })
    await until(() => goOn)
    await turns()
    assert.deepEqual(told, [])
    goOn()
    assert.equal((await outcome).body, 'abcdef')
  }, whole)

  own('that_ends_within_what_was_held_back_tells_all_in_order', async ({ agent, origin }) => {
    const seen = pausing(agent, origin, ['head'])
    await until(() => seen.told.length > 0)
    await turns()
    for (const name of ['pause', 'resume']) seen.controller[name]()
    assert.deepEqual([seen.told, (await seen.outcome).body], [['head', 'data', 'data', 'complete'], 'abcdef'])
  }, whole)

  own('after_the_whole_answer_has_come_holds_no_connection', async ({ agent, origin }) => {
    const seen = pausing(agent, origin, ['head'])
    await until(() => agent.stats().idle === 1)
    assert.deepEqual(seen.told, ['head'])
    assert.equal((await dispatched(agent, { origin })).body, 'abcdef')
    assertStats(agent.stats(), { opened: 1, reused: 1 })
    seen.controller.resume()
    assert.equal((await seen.outcome).body, 'abcdef')
  }, whole)

  own('does_not_outlive_an_abort', async ({ agent, origin }) => {
    const seen = pausing(agent, origin, ['head'])
    await until(() => agent.stats().idle === 1)
    seen.controller.abort(new Error('enough'))
    const { error, body } = await seen.outcome
    seen.controller.resume()
    assert.deepEqual([error, body, seen.told], ['Error  enough', '', ['head']])
  }, whole)
})

describe('the wait for a head', () => {
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
  const slowly = async function * (ms) {
    yield 'x'
    await pause(ms)
  }
  const echoing = (ms) => () => httpServer(async (req, res) => {
    const body = await collect(req)
    await pause(ms)
    res.end(body)
  })

  both('begins_when_the_upload_is_over', async ({ agent, origin }) => {
    const { error, body } = await dispatched(agent, { origin, method: 'POST', body: slowly(700) })
    assert.deepEqual([error, body], [undefined, 'x'])
  }, { start: echoing(700), options: { headersTimeout: 1000 } })

  own('does_not_count_what_the_caller_takes_to_make_its_body', async ({ agent, origin }) => {
    const { error, body } = await dispatched(agent, { origin, method: 'POST', body: slowly(300) })
    assert.deepEqual([error, body], [undefined, 'x'])
  }, { start: echoing(0), options: { headersTimeout: 100 } })

  both('ends_where_the_server_has_stopped_reading', async ({ agent, origin }) => {
    const endless = async function * () { while (true) yield Buffer.alloc(65_536) }
    const { error } = await dispatched(agent, { origin, method: 'POST', body: endless() })
    assert.equal(error, 'HeadersTimeoutError UND_ERR_HEADERS_TIMEOUT Headers Timeout Error')
  }, { start: () => rawServer((socket) => socket.pause()), options: { headersTimeout: 100 } })
})

describe('an answer that is asked for again', () => {
  const options = { retry: { attempts: 1, retryOn: [503], backoff: { base: 1, max: 1 } }, maxResponseSize: 1000, bodyTimeout: 500 }
  const BUSY = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: '
  let asked
  const busyOnce = (answer) => () => {
    asked = 0
    return scripted((socket) => ++asked === 1 ? answer(socket) : socket.write(ok()))
  }

  const BODIES = {
    that_stalls: (socket) => socket.write(`${BUSY}10\r\n\r\nabc`),
    that_is_cut: (socket) => socket.end(`${BUSY}10\r\n\r\nabc`),
    larger_than_answers_may_be: (socket) => socket.write(`${BUSY}2000\r\n\r\n${'x'.repeat(2000)}`),
    without_an_end: (socket) => socket.write(`${BUSY}200000000\r\n\r\n${'x'.repeat(200_000)}`)
  }
  for (const [name, answer] of Object.entries(BODIES)) {
    own(`is_though_its_body_is_one_${name}`, async ({ agent, origin, server }) => {
      const { error, body } = await dispatched(agent, { origin })
      assert.deepEqual([error, body, asked], [undefined, 'ok', 2])
      await until(() => server.open.size === 1)
    }, { start: busyOnce(answer), options })
  }

  own('is_though_the_request_was_an_empty_stream', async ({ agent, origin }) => {
    const { body } = await dispatched(agent, { origin, method: 'PUT', body: Readable.from([]) })
    assert.equal(body, 'ok')
    assertStats(agent.stats(), { opened: 1, retries: 1 })
  }, {
    options,
    start: async () => {
      asked = 0
      return httpServer(async (req, res) => {
        await collect(req)
        res.writeHead(++asked === 1 ? 503 : 200).end('ok')
      })
    }
  })

  own('is_not_once_its_caller_has_left', async ({ agent, origin }) => {
    let controller
    const outcome = dispatched(agent, { origin }, { modern: true, act: { start: (its) => { controller = its } } })
    await until(() => asked === 1 && agent.stats().retries === 1)
    controller.abort(new Error('enough'))
    assert.equal((await outcome).error, 'Error  enough')
    await until(() => agent.stats().leased === 0)
    assert.equal(asked, 1)
  }, { start: busyOnce((socket) => socket.write(`${BUSY}10\r\nRetry-After: 9\r\n\r\nabc`)), options: { retry: { ...options.retry, backoff: { base: 1, max: 10_000 } } } })
})

describe('a limit to the size of answers', () => {
  for (const status of ['304 Not Modified', '204 No Content']) {
    // undici finds the body shorter than its length, and fails (RFC 9110 section 8.6).
    own(`does_not_regard_what_${status.slice(0, 3)}_says_of_a_body`, async ({ agent, origin }) => {
      assert.equal((await dispatched(agent, { origin })).error, undefined)
    }, { start: () => scripted((socket) => socket.write(`HTTP/1.1 ${status}\r\nContent-Length: 100000\r\n\r\n`)), options: { maxResponseSize: 1000 } })
  }
})

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

  own('by_the_host_header_are_one_to_plain_http', async ({ agent, origin }) => {
    for (const host of ['a.test', 'b.test']) await dispatched(agent, { origin, headers: { host } })
    const { origins, opened } = agent.stats()
    assert.deepEqual([Object.keys(origins).length, opened], [1, 1])
  }, { start: () => scripted((socket) => socket.write(ok())) })
})

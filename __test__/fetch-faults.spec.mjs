// What goes wrong within a request: its body, its pauses, its time limits. Held against undici's own Agent where that has an opinion.
import assert from 'node:assert/strict'
import { PassThrough, Readable } from 'node:stream'
import { describe } from 'node:test'
import { both, own } from './support/dispatchers.mjs'
import { dispatched } from './support/dispatching.mjs'
import { past } from './support/holding.mjs'
import { assertStats } from './support/outcome.mjs'
import { httpServer, ok, rawServer, refusedPort, scripted } from './support/servers.mjs'
import { collect, deferred, turns, until } from './support/wait.mjs'

/** Answers from `server.release()` on. */
const holding = async () => {
  const released = deferred()
  const server = await scripted((socket) => released.promise.then(() => socket.write(ok())))
  server.release = released.resolve
  return server
}

/** Not by `once`: that rejects for an error, which is not its business here. */
const closed = (stream) => new Promise((resolve) => stream.on('close', resolve))

both('post_after_a_pause_is_answered_though_the_server_takes_no_other_connection', async ({ agent, origin, server }) => {
  await dispatched(agent, { origin })
  server.close()
  await past(300)
  for (const body of ['abc', Readable.from(['abc'])]) {
    const { body: text, error } = await dispatched(agent, { origin, method: 'POST', body })
    assert.deepEqual([text, error], ['ok', undefined])
  }
}, { start: () => scripted((socket) => socket.write(ok())) })

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

  both('may_be_made_of_views_of_any_kind', async ({ agent, origin }) => {
    const body = (async function * () {
      yield new Uint16Array([0x4141, 0x4242])
      yield new DataView(new ArrayBuffer(4), 1, 2)
    })()
    assert.equal((await dispatched(agent, { origin, method: 'POST', body })).body, 'AABB\0\0')
  }, { start: () => httpServer(async (req, res) => res.end(await collect(req))) })

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

  // Whose first piece comes when the server has spoken already.
  for (const [word, retold] of [['HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n', 'a 408'], ['garbage', 'garbage']]) {
    own(`that_has_not_begun_is_not_answered_by_${retold.replace(' ', '_')}`, async ({ agent, origin }) => {
      const begun = deferred()
      const late = async function * () {
        await begun.promise
        yield 'x'
      }
      const { error } = await dispatched(agent, { origin, method: 'POST', body: late() })
      begun.resolve()
      assert.equal(error, 'HTTPParserError HPE_INVALID_CONSTANT Bytes that answer nothing')
    }, { start: () => rawServer((socket) => socket.write(word)) })
  }

  for (const how of ['end', 'resetAndDestroy']) {
    own(`that_has_not_begun_goes_over_another_connection_after_${how}`, async ({ agent, origin, server }) => {
      const late = async function * () {
        await until(() => server.accepted.length === 2)
        yield 'x'
      }
      const { error, body } = await dispatched(agent, { origin, method: 'POST', body: late() })
      assert.deepEqual([error, body], [undefined, 'ok'])
    }, {
      start: () => rawServer((socket, n) => {
        if (n === 1) socket[how]()
        else socket.on('data', (chunk) => { if (String(chunk).endsWith('0\r\n\r\n')) socket.write(ok()) })
      })
    })
  }

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

describe('a pause', () => {
  const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n'
  const whole = { start: () => scripted((socket) => socket.write(`${CHUNKED}0\r\n\r\n`)) }
  const cut = { start: () => scripted((socket) => socket.end(CHUNKED)) }
  const LONG = 'abcdef'.repeat(50_000)

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

  // undici does not tell of what came with the end as of pieces.
  for (const [name, sent, script, suite] of [
    ['with_its_head', 'abcdef', (socket) => socket.write(ok('abcdef')), both],
    ['with_the_connection_s_end', 'abcdef', (socket) => socket.end(ok('abcdef')), own],
    ['in_more_than_one_read', LONG, (socket) => socket.end(ok(LONG)), own]
  ]) {
    suite(`holds_back_a_body_of_known_length_that_came_${name}`, async ({ agent, origin }) => {
      const seen = pausing(agent, origin, ['head', 'data'])
      for (let told = 1; !seen.told.includes('complete'); told++) {
        await until(() => seen.told.length >= told)
        await turns()
        assert.equal(seen.told.length, told, 'one piece, or the end')
        seen.controller.resume()
      }
      assert.equal((await seen.outcome).body, sent)
    }, { start: () => scripted(script) })
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

describe('the wait for an answer', () => {
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
    const { error, body } = await dispatched(agent, { origin, method: 'POST', body: slowly(900) })
    assert.deepEqual([error, body], [undefined, 'x'])
  }, { start: echoing(0), options: { headersTimeout: 300 } })

  for (const name of ['headersTimeout', 'bodyTimeout']) {
    both(`of_${name}_may_be_longer_than_a_timer`, async ({ agent, origin }) => {
      const { error, body } = await dispatched(agent, { origin, [name]: 2 ** 31 })
      assert.deepEqual([error, body], [undefined, 'early late'])
    }, {
      start: () => httpServer(async (req, res) => {
        await pause(20)
        res.write('early ')
        await pause(20)
        res.end('late')
      })
    })
  }

  let released
  both('begins_anew_when_a_pause_ends', async ({ agent, origin }) => {
    const head = async (controller) => {
      controller.pause()
      await pause(700)
      controller.resume()
      setTimeout(released.resolve, 700)
    }
    const { error, body } = await dispatched(agent, { origin }, { modern: true, act: { head } })
    assert.deepEqual([error, body], [undefined, 'early late'])
  }, {
    options: { bodyTimeout: 1000 },
    start: () => {
      released = deferred()
      return httpServer(async (req, res) => {
        res.write('early ')
        await released.promise
        res.end('late')
      })
    }
  })

  both('ends_where_the_server_has_stopped_reading', async ({ agent, origin }) => {
    const endless = async function * () { while (true) yield Buffer.alloc(65_536) }
    const { error } = await dispatched(agent, { origin, method: 'POST', body: endless() })
    assert.equal(error, 'HeadersTimeoutError UND_ERR_HEADERS_TIMEOUT Headers Timeout Error')
  }, { start: () => rawServer((socket) => socket.pause()), options: { headersTimeout: 100 } })
})

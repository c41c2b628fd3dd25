// Answers that are asked for again by a dispatcher, and how long one may be.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { describe, test } from 'node:test'
import { FetchAgent } from '../index.mjs'
import { waitFor } from '../lib/fetch/again.js'
import { own } from './support/dispatchers.mjs'
import { dispatched } from './support/dispatching.mjs'
import { assertStats } from './support/outcome.mjs'
import { httpServer, ok, scripted } from './support/servers.mjs'
import { collect, until } from './support/wait.mjs'

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

describe('a policy of retries that is none', () => {
  own('is_told_to_the_handler_and_nothing_is_left', async ({ agent, origin }) => {
    assert.throws(() => new FetchAgent({ retry: { retryOn: [503] } }), { code: 'ERR_INVALID_ARG_VALUE', message: /needs options.retry.attempts/ })
    const { events, error } = await dispatched(agent, { origin, retry: { retryOn: '503' } }, { modern: true })
    assert.match(error, /^InvalidArgumentError UND_ERR_INVALID_ARG .*"options.retry.retryOn"/)
    assert.equal(events.answer, false)
    await agent.close()
  })
})

describe('Retry-After', () => {
  const policy = { enabled: true, attempts: 1, backoff: { base: 100, max: 10_000 } }
  const now = Date.UTC(2015, 9, 21, 7, 28, 0)
  const waitAfter = (value) => waitFor({
    status: 503, pairs: ['Retry-After', value], attempts: 1, isIdempotent: true, retry: { policy, retryOn: new Set([503]) }
  }, { now, random: 0.5 })

  for (const value of ['Wed, 21 Oct 2015 07:28:05 GMT', 'Wednesday, 21-Oct-15 07:28:05 GMT', 'Wed Oct 21 07:28:05 2015', '5']) {
    test(`is_heeded_as_${value}`, () => assert.equal(waitAfter(value), 5000))
  }

  for (const value of ['2.5', '-5', '1 2', '2015-10-21', 'soon', '']) {
    test(`is_no_wish_as_${value}`, () => assert.equal(waitAfter(value), 50))
  }
})

describe('a limit to the size of answers', () => {
  for (const status of ['304 Not Modified', '204 No Content']) {
    // undici finds the body shorter than its length, and fails (RFC 9110 section 8.6).
    own(`does_not_regard_what_${status.slice(0, 3)}_says_of_a_body`, async ({ agent, origin }) => {
      assert.equal((await dispatched(agent, { origin })).error, undefined)
    }, { start: () => scripted((socket) => socket.write(`HTTP/1.1 ${status}\r\nContent-Length: 100000\r\n\r\n`)), options: { maxResponseSize: 1000 } })
  }
})

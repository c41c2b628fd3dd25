// What goes wrong around a request: its body, its handler, its limits. Held against undici's own Agent where that has an opinion.
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { describe, test } from 'node:test'
import undici from 'undici'
import { FetchAgent } from '../index.mjs'
import { dispatched } from './support/dispatching.mjs'
import { ok, refusedPort, scripted } from './support/servers.mjs'
import { deferred, until } from './support/wait.mjs'

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

describe('a policy of retries that is none', () => {
  own('is_told_to_the_handler_and_nothing_is_left', async ({ agent, origin }) => {
    const { events, error } = await dispatched(agent, { origin, retry: { retryOn: '503' } }, { modern: true })
    assert.match(error, /^InvalidArgumentError UND_ERR_INVALID_ARG .*"options.retry.retryOn"/)
    assert.equal(events.answer, false)
    await agent.close()
  })
})

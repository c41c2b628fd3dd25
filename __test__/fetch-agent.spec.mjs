// A FetchAgent as its caller holds it: composed, installed, listened to, asked for many origins.
import assert from 'node:assert/strict'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { after, describe, test } from 'node:test'
import { FetchAgent } from '../index.mjs'
import { both, limits, own } from './support/dispatchers.mjs'
import { dispatched } from './support/dispatching.mjs'
import { ok, scripted } from './support/servers.mjs'
import { turns, until } from './support/wait.mjs'

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

describe('a connection', () => {
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

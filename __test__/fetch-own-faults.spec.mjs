// holdfast's own fetch where an answer goes wrong, is unwanted, or is asked for in another way: as the built-in one does.
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { createRequire } from 'node:module'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import zlib from 'node:zlib'
import undici from 'undici'
import { createFetch, FetchAgent } from '../index.mjs'
import { withinFetch } from './support/fetching.mjs'
import { httpServer, ok, scripted } from './support/servers.mjs'
import { collect, deferred, once, turns, until } from './support/wait.mjs'

const { decode } = createRequire(import.meta.url)('../lib/fetch/decoding.js')

const MIB = 1 << 20
const packed = zlib.gzipSync(Buffer.alloc(MIB, 'x'))

const rejection = (promise) => promise.then(() => assert.fail('it was resolved'), (error) => error)

const ANSWERS = {
  '/packed': (res) => res.setHeader('Content-Encoding', 'gzip').end(packed),
  '/letter': (res) => res.setHeader('Content-Encoding', 'gzip').end(zlib.gzipSync('x')),
  '/corrupt': (res) => res.setHeader('Content-Encoding', 'gzip').write('this is no gzip'),
  '/large': (res) => res.end(Buffer.alloc(4 * MIB)),
  '/redirect': (res) => res.writeHead(302, { Location: '/' }).end(),
  '/never': () => {},
  '/': (res) => res.end('hello')
}

const within = (claim, body, how) => withinFetch(claim, () => httpServer((req, res) => ANSWERS[req.url](res)), body, how)
const each = (claim, body) => within(claim, async (given) => {
  for (const fetch of [globalThis.fetch, given.own]) await body({ ...given, fetch })
})

describe('a packed answer', () => {
  each('that_is_cancelled_says_no_more', async ({ origin, fetch }) => {
    await (await fetch(`${origin}/packed`)).body.cancel()
    const reader = (await fetch(`${origin}/packed`)).body.getReader()
    const pending = reader.read()
    await reader.cancel()
    await pending
    // What was cancelled would have been unpacked before this one.
    assert.equal((await (await fetch(`${origin}/packed`)).text()).length, MIB)
  })

  within('that_is_corrupt_ends_its_connection', async ({ origin, own, server }) => {
    const told = async (fetch) => {
      const { name, message, cause } = await rejection((await fetch(`${origin}/corrupt`)).text())
      return { name, message, code: cause.code }
    }
    assert.deepEqual(await told(own), await told(fetch))
    await until(() => server.open.size === 0)
    await own.agent.close()
  })

  within('holds_back_at_each_coding', async () => {
    const input = zlib.gzipSync(zlib.gzipSync(Buffer.alloc(64 * MIB)))
    let unheld = 0
    const held = { push (chunk) { held.source.flow(false); held.size += chunk.length }, size: 0, end () {} }
    const free = { push (chunk) { unheld += chunk.length }, end: () => free.ended.resolve(), ended: deferred() }
    for (const sink of [held, free]) {
      const first = decode(['gzip', 'gzip'], sink)
      first.source = { flow () {} }
      first.push(input)
      first.end()
    }
    await free.ended.promise
    assert.equal(unheld, 64 * MIB)
    assert.ok(held.size < MIB, `${held.size} bytes came in spite of that`)
  })

  each('that_cuts_an_element_of_its_reader_tells_so', async ({ origin, fetch }) => {
    const reader = (await fetch(`${origin}/letter`)).body.getReader({ mode: 'byob' })
    await assert.rejects(reader.read(new Uint16Array(1)), TypeError)
  })
})

describe('a body that is read', () => {
  for (const kind of ['own', 'built-in']) {
    withinFetch(`by_text_cannot_be_had_as_a_stream_${kind}`, () => httpServer(async (req, res) => {
      res.write('first, ')
      await once(req.socket.server, 'go')
      res.end('last')
    }), async ({ origin, own, server }) => {
      const res = await (kind === 'own' ? own : fetch)(origin)
      const text = res.text()
      assert.deepEqual([res.body.locked, res.bodyUsed], [true, true])
      server.emit('go')
      assert.equal(await text, 'first, last')
      assert.deepEqual([res.body.locked, res.bodyUsed], [true, true])
      assert.throws(() => res.body.getReader(), TypeError)
      assert.throws(() => res.clone(), TypeError)
      await assert.rejects(res.text(), TypeError)
    })
  }

  withinFetch('into_own_memory_ends', () => httpServer(async (req, res) => {
    res.write('x')
    await once(req.socket.server, 'go')
    res.end()
  }), async ({ origin, own, server }) => {
    for (const fetch of [globalThis.fetch, own]) {
      const reader = (await fetch(origin)).body.getReader({ mode: 'byob' })
      assert.equal((await reader.read(new Uint8Array(4))).value.length, 1)
      const last = reader.read(new Uint8Array(4))
      server.emit('go')
      assert.equal((await last).done, true)
    }
  })
})

describe('an answer that nobody reads', () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc')

  within('ends_its_connection_when_it_is_dropped', async ({ origin, own, server }) => {
    const fetchAndDrop = async () => { assert.equal((await own(`${origin}/large`)).status, 200) }
    await fetchAndDrop()
    await until(() => { gc(); return server.open.size === 0 })
  })

  within('is_left_alone_while_its_stream_is_held', async ({ origin, own }) => {
    const bodyOf = async () => (await own(`${origin}/large`)).body
    const body = await bodyOf()
    for (let round = 0; round < 5; round++) {
      gc()
      await turns()
    }
    assert.equal((await collect(body)).length, 4 * MIB)
  })

  withinFetch('for_its_status_has_none_holds_nothing_up', () => scripted((socket, head) => {
    socket.write(head.startsWith('GET /205') ? `HTTP/1.1 205 Reset Content\r\nContent-Length: ${MIB}\r\n\r\n${'x'.repeat(MIB)}` : ok())
  }), async ({ origin, own }) => {
    const res = await own(`${origin}/205`)
    assert.deepEqual([res.status, res.body, await res.text()], [205, null, ''])
    assert.equal(await (await own(origin)).text(), 'ok')
  }, { options: { connections: 1 } })
})

describe('a signal', () => {
  for (const path of ['/', '/packed']) {
    within(`aborts_what_has_come_and_was_not_read_${path}`, async ({ origin, own }) => {
      const controller = new AbortController()
      const [text, stream] = await Promise.all([own(`${origin}${path}`, controller), own(`${origin}${path}`, controller)])
      const { body } = stream
      await until(() => own.agent.stats().idle === 2)
      controller.abort()
      assert.equal((await rejection(text.text())).name, 'AbortError')
      assert.equal((await rejection(collect(body))).name, 'AbortError')
    })
  }

  each('aborts_with_null', async ({ origin, fetch, server }) => {
    const early = new AbortController()
    const pending = fetch(`${origin}/never`, { signal: early.signal })
    const asked = once(server, 'request')
    await asked
    early.abort(null)
    assert.equal(await rejection(pending), null)
  })

  within('aborts_with_null_while_the_answer_is_read', async ({ origin, own }) => {
    const controller = new AbortController()
    const res = await own(`${origin}/large`, controller)
    controller.abort(null)
    assert.equal(await rejection(res.text()), null)
  })

  within('is_listened_to_until_the_body_was_read', async ({ origin, own }) => {
    const { signal } = new AbortController()
    const READERS = {
      '/': (res) => res.text(),
      '/packed': (res) => collect(res.body),
      '/large': (res) => res.body.cancel(),
      '/redirect': (res) => res.json().catch(() => {}),
      '/corrupt': (res) => res.text().catch(() => {})
    }
    for (const [path, read] of Object.entries(READERS)) {
      const res = await own(`${origin}${path}`, { signal })
      assert.equal(getEventListeners(signal, 'abort').length, 1)
      await read(res)
      assert.equal(getEventListeners(signal, 'abort').length, 0)
    }
    await own(origin, { signal, method: 'HEAD' })
    await until(() => getEventListeners(signal, 'abort').length === 0)
  })

  within('may_be_shared_by_many', async ({ origin, own }) => {
    const warnings = []
    const hear = (warning) => warnings.push(warning.name)
    process.on('warning', hear)
    const { signal } = new AbortController()
    await Promise.all(Array.from({ length: 20 }, async () => (await own(origin, { signal })).text()))
    await turns()
    process.off('warning', hear)
    assert.deepEqual(warnings, [])
  })
})

describe('headers', () => {
  each('of_an_answer_cannot_be_changed', async ({ origin, fetch }) => {
    const res = await fetch(origin)
    for (const headers of [res.headers, res.clone().headers]) {
      assert.throws(() => headers.set('a', 'b'), { name: 'TypeError', message: 'immutable' })
      assert.throws(() => headers.append('a', 'b'), { name: 'TypeError', message: 'immutable' })
      assert.throws(() => headers.delete('date'), { name: 'TypeError', message: 'immutable' })
    }
    const copy = new Headers(res.headers)
    copy.set('content-length', 'x')
    assert.deepEqual([...copy.keys()], [...res.headers.keys()])
    assert.equal(res.headers.get('content-length'), '5')
  })
})

describe('in other places', () => {
  within('as_the_platform_it_leaves_other_schemes_to_that', async ({ own }) => {
    const platform = globalThis.fetch
    globalThis.fetch = own
    try {
      assert.equal(await (await fetch('data:,x')).text(), 'x')
    } finally {
      globalThis.fetch = platform
    }
  })

  withinFetch('a_request_whose_body_waits_for_the_server_is_sent_as_it_comes', () => httpServer((req, res) => {
    req.once('data', () => { res.flushHeaders(); req.pipe(res) })
  }), async ({ origin, own }) => {
    let body
    const stream = new ReadableStream({ start (controller) { body = controller } })
    body.enqueue(Buffer.from('first, '))
    const res = await own(new Request(origin, { method: 'POST', body: stream, duplex: 'half' }))
    body.enqueue(Buffer.from('last'))
    body.close()
    assert.match(await res.text(), /last$/)
  })

  within('a_request_whose_body_fails_is_told_so', async ({ origin, own }) => {
    for (const fetch of [globalThis.fetch, own]) {
      const stream = new ReadableStream({ pull (controller) { controller.error(new Error('enough')) } })
      const error = await rejection(fetch(new Request(origin, { method: 'POST', body: stream, duplex: 'half' })))
      assert.deepEqual([error.name, error.message], ['TypeError', 'fetch failed'])
    }
  })

  const { dump, responseError, retry, redirect, decompress, dns, cache } = undici.interceptors
  for (const [name, make] of Object.entries({ dump, responseError, retry, redirect, decompress, dns, cache })) {
    withinFetch(`over_the_interceptor_${name}`, () => httpServer((req, res) => {
      res.setHeader('Set-Cookie', ['a=1', 'b=2']).setHeader('Content-Encoding', 'gzip').end(packed)
    }), async ({ origin, own }) => {
      const res = await createFetch({ dispatcher: own.agent.compose(make()) })(origin)
      assert.deepEqual([res.status, res.statusText, res.headers.getSetCookie()], [200, 'OK', ['a=1', 'b=2']])
      // `dump` is there to throw the body away.
      assert.equal((await res.text()).length, name === 'dump' ? 0 : MIB)
    })
  }

  within('over_an_agent_of_undici', async ({ origin }) => {
    const dispatcher = new undici.Agent()
    try {
      const fetch = createFetch({ dispatcher })
      assert.equal(await (await fetch(`${origin}/redirect`)).text(), 'hello')
      assert.equal((await (await fetch(`${origin}/packed`)).text()).length, MIB)
      assert.equal((await rejection(fetch(`${origin}/never`, { signal: AbortSignal.timeout(1) }))).name, 'TimeoutError')
    } finally {
      await dispatcher.destroy()
    }
  })

  within('over_a_dispatcher_of_the_call_s_own', async ({ origin, own }) => {
    const dispatcher = new FetchAgent()
    try {
      assert.equal(await (await own(`${origin}/redirect`, { dispatcher })).text(), 'hello')
      assert.deepEqual([dispatcher.stats().requests, own.agent.stats().requests], [2, 0])
      assert.equal((await rejection(own(origin, { dispatcher: {} }))).code, 'ERR_INVALID_ARG_TYPE')
    } finally {
      await dispatcher.destroy()
    }
  })

  test('not_over_what_is_no_dispatcher_nor_with_options_that_would_be_of_no_effect', async () => {
    const dispatcher = new FetchAgent()
    for (const [options, message] of [
      [dispatcher, /pass \{ dispatcher \}/], [{ dispatcher: 5 }, /"options.dispatcher"/], [{ agent: {} }, /agent/], ['x', /options/],
      [{ dispatcher, headersTimeout: 1 }, /headersTimeout/], [{ connect: 'x' }, /"options.connect"/], [{ connections: 'x' }, /"options.connections"/]
    ]) assert.throws(() => createFetch(options), { name: 'TypeError', message })
    for (const options of [undefined, null, {}, { dispatcher: null }]) await createFetch(options).agent.destroy()
    await dispatcher.destroy()
  })

  within('over_a_dispatcher_that_throws', async ({ origin }) => {
    const agent = new FetchAgent()
    let count = 0
    const dispatch = (...request) => {
      if (++count === 2) throw new Error('enough')
      return agent.dispatch(...request)
    }
    try {
      const error = await rejection(createFetch({ dispatcher: { dispatch } })(`${origin}/redirect`))
      assert.deepEqual([error.message, error.cause.message], ['fetch failed', 'enough'])
    } finally {
      await agent.destroy()
    }
  })
})

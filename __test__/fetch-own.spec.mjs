// holdfast's own fetch, held against the built-in one wherever that has an opinion.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import process from 'node:process'
import { Readable } from 'node:stream'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import zlib from 'node:zlib'
import { fetch as usual } from '../index.mjs'
import { withinFetch } from './support/fetching.mjs'
import { httpServer, refusedPort, scripted } from './support/servers.mjs'
import { collect, until } from './support/wait.mjs'

const MIB = 1 << 20

const PACKED = {
  gzip: zlib.gzipSync, deflate: zlib.deflateSync, raw: zlib.deflateRawSync, br: zlib.brotliCompressSync, zstd: zlib.zstdCompressSync
}

const serve = async (req, res) => {
  const url = new URL(req.url, 'http://x')
  const body = await collect(req)
  const [, what, more] = url.pathname.split('/')
  if (PACKED[what]) {
    const packed = PACKED[what](Buffer.from(more === 'large' ? 'x'.repeat(MIB) : 'unpacked'))
    return res.setHeader('Content-Encoding', what === 'raw' ? 'deflate' : what).end(more === 'cut' ? packed.subarray(0, -8) : packed)
  }
  if (what === 'twice') return res.setHeader('Content-Encoding', 'gzip, br').end(zlib.brotliCompressSync(zlib.gzipSync('unpacked')))
  if (what === 'unknown') return res.setHeader('Content-Encoding', 'mystery').end('as it is')
  if (what === 'status') return res.writeHead(Number(more), 'In Words').end(more === '304' ? '' : 'body')
  if (what === 'to') return res.writeHead(Number(more), { Location: url.searchParams.get('at') ?? '/end' }).end('moved')
  if (what === 'loop') return res.writeHead(302, { Location: '/loop' }).end()
  if (what === 'large') return res.end(Buffer.alloc(8 * MIB, 'x'))
  const { authorization = '', 'content-type': type = '', 'content-length': length = '', 'transfer-encoding': coding = '' } = req.headers
  res.setHeader('X-Seen', JSON.stringify([req.method, req.url, body.length > 99 ? body.length : `${body}`, type, authorization, length, coding]))
  if (req.headers.range) res.setHeader('X-Accepted', req.headers['accept-encoding'])
  if (what === 'typed') res.setHeader('Content-Type', type)
  res.setHeader('Set-Cookie', ['a=1', 'b=2'])
  res.end(body)
}

const within = (claim, body, { start = () => httpServer(serve), ...how } = {}) => withinFetch(claim, start, body, how)

const told = (error) => error && { name: error.name, message: error.message, code: error.cause?.code }

/** How a fetch ends, as plain data. */
const outcomeOf = async (fetch, url, init) => {
  try {
    const res = await fetch(url, typeof init === 'function' ? init() : init)
    assert.ok(res instanceof Response)
    const { status, statusText, ok, redirected, type, bodyUsed } = res
    const outcome = { status, statusText, ok, redirected, type, bodyUsed, url: res.url, seen: res.headers.get('x-seen'), accepted: res.headers.get('x-accepted'), cookies: res.headers.getSetCookie() }
    outcome.text = await res.text()
    assert.equal(res.bodyUsed, outcome.text !== '' || res.bodyUsed)
    return outcome
  } catch (error) {
    return { error: told(error) }
  }
}

const CASES = {
  get: ['/a?b=c#d'],
  url_object: ['/', {}, (url) => new URL(url)],
  request: ['/', {}, (url) => new Request(url, { method: 'PUT', body: 'text', headers: { authorization: 'x' } })],
  request_with_init: ['/', { method: 'POST', body: 'other' }, (url) => new Request(url, { method: 'PUT', body: 'text' })],
  request_with_undefined_members: [
    '/', { method: undefined, headers: undefined, body: undefined, redirect: undefined, signal: undefined },
    (url) => new Request(url, { method: 'PUT', body: 'text', headers: { authorization: 'x' } })
  ],
  request_aborted: ['/', { signal: undefined }, (url) => new Request(url, { signal: AbortSignal.abort(new Error('enough')) })],
  request_aborted_and_freed: ['/', { signal: null }, (url) => new Request(url, { signal: AbortSignal.abort(new Error('enough')) })],
  request_with_large_body: ['/', {}, (url) => new Request(url, { method: 'POST', body: 'x'.repeat(MIB) })],
  method_in_small_letters: ['/', { method: 'put', body: 'x' }],
  head: ['/', { method: 'HEAD' }],
  text: ['/', { method: 'POST', body: 'text' }],
  number: ['/', { method: 'POST', body: 1 }],
  bytes: ['/', { method: 'POST', body: new Uint8Array([65, 66]) }],
  buffer: ['/', { method: 'POST', body: new Uint8Array([65, 66]).buffer }],
  search: ['/', { method: 'POST', body: new URLSearchParams({ a: 'b c' }) }],
  blob: ['/', { method: 'POST', body: new Blob(['text'], { type: 'text/x' }) }],
  stream: ['/', () => ({ method: 'POST', duplex: 'half', body: new Response('text').body })],
  iterable: ['/', () => ({ method: 'POST', duplex: 'half', body: Readable.from([Buffer.from('te'), Buffer.from('xt')]) })],
  stream_without_duplex: ['/', () => ({ method: 'POST', body: new Response('text').body })],
  get_with_body: ['/', { body: 'x' }],
  no_method: ['/', { method: 'a b' }],
  forbidden_method: ['/', { method: 'TRACE' }],
  headers_list: ['/', { headers: [['authorization', 'a']] }],
  range: ['/', { headers: { Range: 'bytes=0-1' } }],
  headers_object: ['/', { headers: new Headers({ authorization: 'a' }) }],
  no_header: ['/', { headers: { 'a b': 'c' } }],
  bare_hash: ['/#'],
  unheard_of: ['/status/999'],
  no_content: ['/status/204'],
  not_modified: ['/status/304'],
  not_found: ['/status/404'],
  gzip: ['/gzip'],
  deflate: ['/deflate'],
  deflate_raw: ['/raw'],
  brotli: ['/br'],
  packed_twice: ['/twice'],
  packed_and_cut: ['/gzip/cut'],
  packed_and_large: ['/gzip/large'],
  packed_head: ['/gzip', { method: 'HEAD' }],
  unknown_encoding: ['/unknown'],
  redirect_301: ['/to/301', { method: 'POST', body: 'x' }],
  redirect_302: ['/to/302', { method: 'POST', body: 'x' }],
  redirect_303: ['/to/303', { method: 'PUT', body: 'x' }],
  redirect_307: ['/to/307', { method: 'POST', body: 'x' }],
  redirect_308: ['/to/308', { method: 'PUT', body: 'x', headers: { authorization: 'a' } }],
  redirect_307_stream: ['/to/307', () => ({ method: 'POST', duplex: 'half', body: new Response('text').body })],
  redirect_307_request: ['/to/307', {}, (url) => new Request(url, { method: 'POST', body: 'x' })],
  redirect_308_large_request: ['/to/308', {}, (url) => new Request(url, { method: 'PUT', body: 'x'.repeat(MIB) })],
  redirect_in_utf8: [`/to/302?at=/${encodeURIComponent(Buffer.from('ü').toString('latin1'))}`],
  redirect_escaped: ['/to/302?at=/%25C3%25BC'],
  redirect_with_credentials: ['/to/302', {}, (url) => `${url}?at=${encodeURIComponent(url.replace('//', '//user:pass@'))}`],
  redirect_nowhere: ['/to/302?at=http%3A%2F%2F%5B'],
  redirect_relative: ['/to/302?at=..%2Felsewhere'],
  redirect_loop: ['/loop'],
  redirect_error: ['/to/302', { redirect: 'error' }],
  redirect_manual: ['/to/302', { redirect: 'manual' }],
  redirect_elsewhere: ['/to/302?at=ftp%3A%2F%2Fx'],
  redirect_unknown: ['/', { redirect: 'x' }],
  aborted: ['/', { signal: AbortSignal.abort(new Error('enough')) }],
  credentials: ['/', {}, (url) => url.replace('//', '//user:pass@')],
  no_url: ['', {}, () => 'no url'],
  blocked_port: ['', {}, () => 'http://127.0.0.1:25/'],
  redirect_to_a_blocked_port: [`/to/302?at=${encodeURIComponent('http://127.0.0.1:6000/')}`],
  data: ['', {}, () => 'data:text/plain,hello'],
  data_url: ['', {}, () => new URL('data:text/plain,hello')],
  data_request: ['', {}, () => new Request('data:text/plain,hello')],
  null_init: ['/', null]
}

// What differs on purpose: the built-in one's words name its own parts, or its caller's URL with a password in it.
const WORDS_DIFFER = new Set(['credentials', 'no_header', 'redirect_unknown', 'redirect_elsewhere', 'redirect_307_stream', 'redirect_loop', 'redirect_error'])

describe('as the built-in fetch', () => {
  for (const [name, [path, init, input = (url) => url]] of Object.entries(CASES)) {
    within(name, async ({ origin, own }) => {
      const given = (fetch) => outcomeOf(fetch, input(`${origin}${path}`), init)
      const theirs = await given(fetch)
      const ours = await given(own)
      if (WORDS_DIFFER.has(name)) {
        assert.equal(ours.error.name, theirs.error.name)
      } else {
        assert.deepEqual(ours, theirs)
      }
    })
  }

  within('form', async ({ origin, own }) => {
    const form = new FormData()
    form.set('a', 'b')
    for (const fetch of [globalThis.fetch, own]) {
      const text = await (await fetch(origin, { method: 'POST', body: form })).text()
      assert.match(text, /^-+.*\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n-/i)
    }
  })

  within('zstd', async ({ origin, own }) => {
    assert.equal(await (await own(`${origin}/zstd`)).text(), 'unpacked')
  }, { skip: zlib.zstdCompressSync ? false : 'this Node has no zstd' })

  within('credentials_do_not_cross_origins', async ({ origin, own }) => {
    const other = await httpServer(serve)
    try {
      const res = await own(`${origin}/to/302?at=http%3A%2F%2F127.0.0.1%3A${other.port}%2Fend`, { headers: { authorization: 'secret' } })
      assert.deepEqual(JSON.parse(res.headers.get('x-seen')), ['GET', '/end', '', '', '', '', ''])
    } finally {
      await other.stop()
    }
  })
})

describe('answers', () => {
  for (const read of ['text', 'json', 'arrayBuffer', 'blob', 'bytes', 'formData']) {
    const skip = read === 'bytes' && !Response.prototype.bytes ? 'this Node has no Response.bytes' : false
    within(`read_by_${read}`, async ({ origin, own }) => {
      const init = { method: 'POST', body: read === 'formData' ? 'a=b' : '{"a":"é"}', headers: { 'content-type': 'application/x-www-form-urlencoded' } }
      const plain = async (res) => {
        const value = await res[read]()
        if (value instanceof Blob) return [value.type, await value.text()]
        return value instanceof FormData ? [...value] : value
      }
      const answer = () => new Response(init.body, { headers: init.headers })
      // The form's reader needs to know the type.
      const res = await own(read === 'formData' ? `${origin}/typed` : origin, init)
      const expected = await plain(read === 'blob' ? new Response(init.body, { headers: { 'content-type': '' } }) : answer())
      assert.deepEqual(await plain(res), expected)
      assert.equal(res.bodyUsed, true)
      await assert.rejects(res[read](), TypeError)
    }, { skip })
  }

  within('read_as_a_stream_with_back_pressure', async ({ origin, own, server }) => {
    const res = await own(`${origin}/large`)
    const [socket] = server.accepted
    await until(() => socket.writableLength > 0)
    let size = 0
    for await (const chunk of res.body) size += chunk.length
    assert.equal(size, 8 * MIB)
    assert.equal(res.bodyUsed, true)
  })

  within('in_small_chunks_come_together_to_who_reads_them', async ({ origin, own }) => {
    const pieces = []
    for await (const piece of (await own(origin)).body) pieces.push(piece)
    assert.equal(Buffer.concat(pieces).toString(), 'x'.repeat(1000))
    assert.ok(pieces.length < 1000, `${pieces.length} pieces`)
  }, { start: () => scripted((socket) => socket.end(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(1000)}0\r\n\r\n`)) })

  within('cloned', async ({ origin, own }) => {
    const res = await own(origin, { method: 'POST', body: 'text' })
    const copy = res.clone()
    assert.deepEqual([await res.text(), await copy.text(), copy.url], ['text', 'text', res.url])
    assert.throws(() => res.clone(), TypeError)
  })

  within('cancelled', async ({ origin, own, server }) => {
    await (await own(`${origin}/large`)).body.cancel()
    await until(() => server.open.size === 0)
  })

  within('cut', async ({ origin, own }) => {
    const res = await own(origin)
    const error = await res.text().catch((error) => error)
    assert.deepEqual([error.name, error.message, error.cause.code], ['TypeError', 'terminated', 'UND_ERR_SOCKET'])
  }, { start: () => scripted((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello')) })

  within('aborted_while_read', async ({ origin, own }) => {
    const controller = new AbortController()
    const res = await own(`${origin}/large`, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await assert.rejects(res.text(), { message: 'enough' })
  })

  within('refused', async ({ own }) => {
    const error = await own(`http://127.0.0.1:${await refusedPort()}`).catch((error) => error)
    assert.deepEqual(told(error), { name: 'TypeError', message: 'fetch failed', code: 'ECONNREFUSED' })
  })

  within('integrity_is_refused_not_ignored', async ({ origin, own }) => {
    await assert.rejects(own(origin, { integrity: 'sha256-x' }), /integrity/)
    await assert.rejects(own(new Request(origin, { integrity: 'sha256-x' })), /integrity/)
  })

  test('in_place_of_the_platform_s_it_knows_that_one_still', async () => {
    // In a process of its own, where nobody has asked for it before.
    const program = `
      const { fetch: own } = require(${JSON.stringify(fileURLToPath(new URL('../index.js', import.meta.url)))})
      globalThis.fetch = own
      fetch('data:text/plain,hello').then((res) => res.text()).then(console.log)`
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], { timeout: 20_000 })
    assert.equal(stdout, 'hello\n')
  })

  within('default_one_needs_no_agent', async ({ origin }) => {
    assert.equal(await (await usual(origin, { method: 'POST', body: 'x', headers: { connection: 'close' } })).text(), 'x')
  })
})

describe('another attempt for a status', () => {
  const busy = (times, headers = {}) => async () => {
    const server = await httpServer(async (req, res) => {
      const body = await collect(req)
      server.seen = [...server.seen ?? [], `${req.method} ${body}`]
      if (server.seen.length <= times) return res.writeHead(503, headers).end('busy')
      res.end(`served ${body}`)
    })
    return server
  }
  const retry = { attempts: 2, retryOn: [503], backoff: { base: 1, max: 50 } }

  within('is_off_unless_asked_for', async ({ origin, own, server }) => {
    assert.equal((await own(origin)).status, 503)
    assert.deepEqual(server.seen, ['GET '])
  }, { start: busy(1), options: { retry: { attempts: 2 } } })

  for (const [name, body] of Object.entries({ text: () => 'x', stream: () => new Response('x').body })) {
    within(`sends_a_${name}_again`, async ({ origin, own, server }) => {
      const res = await own(origin, { method: 'PUT', body: body(), duplex: 'half' })
      assert.deepEqual([res.status, await res.text()], [200, 'served x'])
      assert.deepEqual(server.seen, ['PUT x', 'PUT x', 'PUT x'])
      const { retries, opened } = own.agent.stats()
      assert.deepEqual({ retries, opened }, { retries: 2, opened: 1 })
    }, { start: busy(2), options: { retry } })
  }

  within('ends_after_so_many_attempts_with_the_answer', async ({ origin, own, server }) => {
    const res = await own(origin)
    assert.deepEqual([res.status, await res.text(), server.seen.length], [503, 'busy', 3])
  }, { start: busy(9), options: { retry } })

  within('is_not_made_of_a_request_that_may_not_be_sent_twice', async ({ origin, own }) => {
    assert.equal((await own(origin, { method: 'POST', body: 'x' })).status, 503)
    assert.equal((await own(origin, { method: 'POST', body: 'x', headers: { 'idempotency-key': 'k' } })).status, 200)
  }, { start: busy(2), options: { retry } })

  within('waits_no_longer_than_allowed', async ({ origin, own, server }) => {
    assert.equal((await own(origin)).status, 503)
    assert.equal(server.seen.length, 1)
  }, { start: busy(1, { 'Retry-After': '60' }), options: { retry } })

  within('waits_as_the_server_wishes', async ({ origin, own, server }) => {
    assert.equal((await own(origin)).status, 200)
    assert.equal(server.seen.length, 2)
  }, { start: busy(1, { 'Retry-After': '0' }), options: { retry } })

  within('ends_with_an_abort', async ({ origin, own, server }) => {
    const controller = new AbortController()
    const pending = own(origin, { signal: controller.signal })
    await until(() => server.seen?.length === 1 && own.agent.stats().idle === 1)
    controller.abort(new Error('enough'))
    await assert.rejects(pending, { message: 'enough' })
  }, { start: busy(1, { 'Retry-After': '9' }), options: { retry: { ...retry, backoff: { base: 1, max: 10_000 } } } })

  within('is_asked_for_by_request', async ({ origin, own }) => {
    assert.equal((await own(origin, { retry })).status, 200)
  }, { start: busy(2) })
})

// What handlers hear of requests through FetchAgent, held against undici's own Agent.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { describe, test } from 'node:test'
import undici from 'undici'
import { FetchAgent } from '../index.mjs'
import { dispatched } from './support/dispatching.mjs'
import { rawServer } from './support/servers.mjs'

const limits = { timeout: 20_000 }

/** A server that answers each request's head, and body if it says how long that is, with `script(socket, text)`. */
const answering = (script) => rawServer((socket) => {
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
    const end = text.indexOf('\r\n\r\n')
    if (end === -1) return
    const length = /content-length: (\d+)/i.exec(text.slice(0, end))?.[1]
    const isWhole = /transfer-encoding: chunked/i.test(text.slice(0, end))
      ? text.endsWith('0\r\n\r\n')
      : text.length >= end + 4 + Number(length ?? 0)
    if (!isWhole) return
    const request = text
    text = ''
    script(socket, request)
  })
})

const write = (...parts) => (socket) => {
  const next = () => {
    const part = parts.shift()
    if (part === undefined) return
    if (part === 'FIN') return socket.end()
    if (part === 'RST') return socket.resetAndDestroy()
    socket.write(part, 'latin1', () => setImmediate(next))
  }
  parts = [...parts]
  next()
}
const always = (...parts) => (socket) => write(...parts)(socket)

const OK = 'HTTP/1.1 200 OK\r\n'
const BODY = `${OK}Content-Length: 5\r\n\r\nhello`

const ANSWERS = {
  plain: always(BODY),
  headers_in_their_case_and_order: always(`${OK}Server: x\r\nSet-Cookie: a\r\nX-B: 1\r\nset-cookie: b\r\nx-b: \xe9\r\nContent-Length: 0\r\n\r\n`),
  reason_of_its_own: always('HTTP/1.1 299 Rather Fine\r\nContent-Length: 0\r\n\r\n'),
  no_content: always('HTTP/1.1 204 No Content\r\n\r\n'),
  not_modified: always('HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n'),
  chunked: always(`${OK}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n`),
  in_pieces: always(OK.slice(0, 9), OK.slice(9), 'Content-Le', 'ngth: 5\r\n\r', '\nhe', 'llo'),
  until_the_end: always(`${OK}Connection: close\r\n\r\nhello`, 'FIN'),
  version_1_0: always('HTTP/1.0 200 OK\r\n\r\nhello', 'FIN'),
  informational: always('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n', BODY),
  no_end: always('FIN'),
  cut_within_the_head: always('HTTP/1.1 200 OK\r\nConte', 'FIN'),
  cut_within_the_body: always(`${OK}Content-Length: 9\r\n\r\nhello`, 'FIN'),
  cut_within_the_last_body: always(`${OK}Connection: close\r\nContent-Length: 9\r\n\r\nhello`, 'FIN'),
  cut_within_the_last_body_of_two_words: always(`${OK}Connection: close\r\nConnection: x\r\nContent-Length: 9\r\n\r\nhello`, 'FIN'),
  cut_within_a_chunk: always(`${OK}Transfer-Encoding: chunked\r\n\r\n9\r\nhello`, 'FIN'),
  switched_unasked: always('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n')
}

/** Where the words are those of another parser, undici's error class and that nothing follows is what holds. */
const FAULTS = {
  garbage: always('garbage garbage\r\n\r\n'),
  status_without_a_number: always('HTTP/1.1 abc OK\r\n\r\n'),
  header_without_a_name: always(`${OK}: x\r\n\r\n`),
  chunk_of_2_to_the_64: always(`${OK}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\nhello`),
  last_answer_cut_within_a_chunk: always(`${OK}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello`, 'FIN'),
  chunk_without_a_size: always(`${OK}Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello`),
  two_lengths: always(`${OK}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`),
  length_beside_chunks: always(`${OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`),
  length_below_zero: always(`${OK}Content-Length: -5\r\n\r\nhello`)
}

const both = async (script, run, options) => {
  const outcomes = []
  for (const Agent of [undici.Agent, FetchAgent]) {
    const server = await answering(script)
    const agent = new Agent(options)
    try {
      outcomes.push(await run(agent, `http://127.0.0.1:${server.port}`))
    } finally {
      await agent.destroy()
      await server.stop()
    }
  }
  return outcomes
}

for (const modern of [false, true]) {
  const generation = modern ? 'newer' : 'older'
  describe(`${generation} handlers`, () => {
    for (const [name, script] of Object.entries(ANSWERS)) {
      test(`${generation}_hears_${name}`, limits, async () => {
        const [theirs, ours] = await both(script, (agent, origin) => dispatched(agent, { origin }, { modern }))
        assert.deepEqual({ ...ours, cause: 0 }, { ...theirs, cause: 0 })
      })
    }

    for (const [name, script] of Object.entries(FAULTS)) {
      test(`${generation}_hears_of_${name}`, limits, async () => {
        const [theirs, ours] = await both(script, (agent, origin) => dispatched(agent, { origin }, { modern }))
        const faults = ['HTTPParserError', 'ResponseContentLengthMismatchError']
        assert.ok(faults.includes(theirs.cause.name), theirs.error)
        assert.ok(faults.includes(ours.cause.name), ours.error)
        if (ours.cause.name === 'HTTPParserError') assert.ok(ours.cause instanceof undici.errors.HTTPParserError)
        assert.match(ours.cause.code, /^(HPE_|UND_ERR_RES_CONTENT_LENGTH_MISMATCH)/)
        assert.equal(ours.events.filter(([kind]) => ['error', 'complete', 'TWICE'].includes(kind)).length, 1)
      })
    }

    const REQUESTS = {
      head: { method: 'HEAD' },
      text: { method: 'POST', body: 'hello' },
      bytes: { method: 'PUT', body: Buffer.from('hello') },
      buffer: { method: 'PUT', body: new Uint8Array([1, 2]).buffer },
      nothing: { method: 'POST' },
      stream: () => ({ method: 'POST', body: Readable.from(['he', 'llo']) }),
      iterable: () => ({ method: 'POST', body: (async function * () { yield 'he'; yield Buffer.from('llo') })() }),
      iterable_with_length: () => ({ method: 'POST', headers: { 'Content-Length': '5' }, body: (async function * () { yield 'hello' })() }),
      blob: { method: 'POST', body: new Blob(['hello']) },
      blob_with_a_type: { method: 'POST', body: new Blob(['hello'], { type: 'text/x' }) },
      blob_with_another_type: { method: 'POST', headers: ['Content-Type', 'text/y'], body: new Blob(['hello'], { type: 'text/x' }) },
      empty_stream: () => ({ method: 'PUT', body: Readable.from([]) }),
      empty_stream_of_a_get: () => ({ method: 'GET', body: Readable.from([]) }),
      empty_iterable_of_a_delete: () => ({ method: 'DELETE', body: (async function * () {})() }),
      stream_that_has_ended: () => ({ method: 'PUT', body: new Readable({ read () { this.push(null) } }).resume() }),
      empty_blob: { method: 'GET', body: new Blob([]) },
      forwarded_length_of_a_get: { headers: { 'content-length': '10' } },
      forwarded_length_of_a_put: { method: 'PUT', headers: { 'content-length': '10' } },
      get_with_a_body: { method: 'GET', body: 'hello' },
      headers_as_a_list: { headers: ['X-A', '1', 'x-b', '2'] },
      headers_as_pairs: { headers: new Map([['X-A', '1'], ['x-b', ['2', '3']]]) },
      own_host: { headers: { Host: 'other.example' } },
      closing: { headers: { connection: 'close' } },
      path_as_it_is: { path: '/a<b>{c}#d\xe9' },
      query: { query: { a: 1, b: ['x', 'y z'] } },
      reset: { reset: true }
    }
    for (const [name, given] of Object.entries(REQUESTS)) {
      test(`${generation}_sends_${name}`, limits, async () => {
        const echo = (socket, request) => {
          const body = request.replace(/(host: 127.0.0.1):\d+/, '$1')
          socket.write(`${OK}Content-Length: ${name === 'head' ? 0 : body.length}\r\n\r\n${name === 'head' ? '' : body}`, 'latin1')
        }
        const [theirs, ours] = await both(echo, (agent, origin) => {
          return dispatched(agent, { origin, ...typeof given === 'function' ? given() : given }, { modern })
        })
        const sent = ({ body }) => {
          const [head, rest] = body.split('\r\n\r\n')
          const [line, ...lines] = head.split('\r\n')
          // Where undici frames the pieces of a body differs from piece to piece, and so may ours.
          return { line, lines: lines.sort(), rest: rest?.replace(/[0-9a-f]+\r\n(.*?)\r\n/g, '$1') }
        }
        assert.deepEqual(sent(ours), sent(theirs))
      })
    }

    const ends = { abort: ({ abort }) => abort(new Error('enough')), throw: () => { throw new Error('handler') } }
    for (const [way, end] of Object.entries(ends)) {
      for (const stage of ['start', 'head', 'data']) {
        test(`${generation}_ends_by_${way}_at_${stage}`, limits, async () => {
          const controls = (given) => modern ? { abort: (reason) => given.abort(reason) } : given
          const script = always(`${OK}Content-Length: 10\r\n\r\nhello`)
          const [theirs, ours] = await both(script, (agent, origin) => dispatched(agent, { origin }, {
            modern, act: { [stage]: (given) => { end(controls(given)) } }
          }))
          assert.deepEqual({ ...ours, cause: 0 }, { ...theirs, cause: 0 })
        })
      }
    }
  })
}

const INVALID = {
  path_without_slash: { path: 'x' },
  path_with_a_space: { path: '/a b' },
  path_of_another_type: { path: 1 },
  method_with_a_space: { method: 'G T' },
  method_of_another_type: { method: 1 },
  header_with_a_newline: { headers: { a: 'b\nc' } },
  blob_type_with_a_newline: { method: 'POST', body: Object.defineProperty(new Blob(['a']), 'type', { value: 'text/x\r\nx-evil: 1' }) },
  header_name: { headers: { 'a b': 'c' } },
  header_object: { headers: { a: {} } },
  headers_odd: { headers: ['a'] },
  headers_of_another_type: { headers: 'a' },
  transfer_encoding: { headers: { 'transfer-encoding': 'chunked' } },
  keep_alive: { headers: { 'keep-alive': '1' } },
  upgrade_header: { headers: { upgrade: 'x' } },
  expect: { headers: { expect: '100-continue' } },
  two_hosts: { headers: ['host', 'a', 'Host', 'b'] },
  two_lengths: { headers: ['content-length', '1', 'content-length', '1'] },
  length_no_number: { method: 'POST', headers: { 'content-length': 'x' } },
  length_of_another_body: { method: 'POST', headers: { 'content-length': '2' }, body: 'hello' },
  body_number: { method: 'POST', body: 1 },
  headers_timeout: { headersTimeout: -1 },
  body_timeout: { bodyTimeout: 'x' },
  reset: { reset: 1 },
  upgrade_number: { upgrade: 1 },
  redirections: { maxRedirections: 3 },
  throw_on_error: { throwOnError: true }
}

describe('bad input', () => {
  for (const [name, given] of Object.entries(INVALID)) {
    test(`refuses_${name}`, limits, async () => {
      const [theirs, ours] = await both(always(BODY), (agent, origin) => dispatched(agent, { origin, ...given }))
      assert.deepEqual(ours.error, theirs.error)
      assert.deepEqual(ours.events.map(([kind]) => kind).filter((kind) => kind !== 'start'), ['error'])
    })
  }

  test('refuses_a_chunk_that_is_a_number', limits, async () => {
    const [theirs, ours] = await both(always(BODY), (agent, origin) => {
      return dispatched(agent, { origin, method: 'POST', body: (async function * () { yield 1 })() })
    })
    assert.deepEqual([ours.cause.name, ours.cause.code], [theirs.cause.name, theirs.cause.code])
  })

  const HANDLERS = {
    nothing: undefined, number: 1, empty: {}, no_error: { onConnect () {} }, no_headers: { onConnect () {}, onError (error) { throw error } }
  }
  for (const [name, handler] of Object.entries(HANDLERS)) {
    test(`refuses_handler_${name}`, limits, async () => {
      const said = await both(always(BODY), (agent, origin) => {
        try {
          return agent.dispatch({ origin, path: '/', method: 'GET' }, handler)
        } catch (error) {
          return `${error.name} ${error.code} ${error.message}`
        }
      })
      assert.equal(said[1], said[0])
    })
  }

  for (const origin of [undefined, '', 1, 'x', 'ftp://x']) {
    test(`refuses_origin_${origin}`, limits, async () => {
      const outcome = await dispatched(new FetchAgent(), { origin })
      assert.match(outcome.error, /^InvalidArgumentError UND_ERR_INVALID_ARG /)
    })
  }
})

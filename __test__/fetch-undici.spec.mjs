// undici's own callers and wrappers over a FetchAgent, in three generations.
import assert from 'node:assert/strict'
import { Buffer, File } from 'node:buffer'
import process from 'node:process'
import { PassThrough, Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { FetchAgent } from '../index.mjs'
import { httpServer } from './support/servers.mjs'
import { assertStats } from './support/outcome.mjs'
import { collect, until } from './support/wait.mjs'

const limits = { timeout: 20_000 }
const [major, minor] = process.versions.node.split('.').map(Number)
const canRun8 = major > 22 || (major === 22 && minor >= 19)
const GENERATIONS = { 6: 'undici-6', 7: 'undici', 8: 'undici-8' }

const start = async () => {
  let flaky = 0
  const server = await httpServer(async (req, res) => {
    if (req.url === '/redirect') return res.writeHead(302, { Location: '/' }).end()
    if (req.url === '/flaky' && flaky++ < 2) return res.writeHead(503).end('busy')
    if (req.url === '/gzip') return res.setHeader('Content-Encoding', 'gzip').end(gzipSync('unpacked'))
    const body = await collect(req)
    if (req.url === '/form') res.setHeader('X-Length', req.headers['content-length'] ?? 'none').setHeader('X-Type', req.headers['content-type'])
    res.setHeader('X-Seen', `${req.method} ${req.url} ${req.headers['x-added'] ?? 'none'}`)
    if (req.url === '/trailers') res.setHeader('Trailer', 'X-End').addTrailers({ 'X-End': 'yes' })
    res.end(body)
  })
  server.on('upgrade', (req, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: upgrade\r\n\r\nfirst ')
    socket.pipe(socket)
  })
  server.on('connect', (req, socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n')
    socket.end(`tunnel to ${req.url}`)
  })
  return server
}

for (const [generation, name] of Object.entries(GENERATIONS)) {
  const skip = generation === '8' && !canRun8 ? 'undici 8 needs Node 22.19' : false
  const undici = skip ? undefined : (await import(name)).default
  const within = (claim, body, lacks = false) => test(`undici_${generation}_${claim}`, { ...limits, skip: skip || lacks }, async () => {
    const server = await start()
    const dispatcher = new FetchAgent()
    try {
      await body({ server, dispatcher, origin: `http://127.0.0.1:${server.port}` })
    } finally {
      await dispatcher.destroy()
      await server.stop()
    }
  })

  describe(`undici ${generation}`, () => {
    within('requests', async ({ dispatcher, origin }) => {
      for (const body of ['text', Buffer.from('bytes'), Readable.from(['st', 'ream']), undefined]) {
        const res = await undici.request(`${origin}/a?b`, { dispatcher, method: 'POST', body, headers: { 'X-Added': 'x' } })
        assert.equal(res.statusCode, 200)
        assert.equal(res.headers['x-seen'], 'POST /a?b x')
        assert.equal(await res.body.text(), body instanceof Readable ? 'stream' : `${body ?? ''}`)
      }
      assertStats(dispatcher.stats(), { opened: 1, reused: 3 })
    })

    within('reads_trailers', async ({ dispatcher, origin }) => {
      const res = await undici.request(`${origin}/trailers`, { dispatcher, method: 'POST', body: 'x' })
      assert.equal(await res.body.text(), 'x')
      assert.deepEqual({ ...res.trailers }, { 'x-end': 'yes' })
    })

    within('streams', async ({ dispatcher, origin }) => {
      const chunks = []
      await undici.stream(origin, { dispatcher, method: 'POST', body: 'x'.repeat(1e6) }, () => new Writable({
        highWaterMark: 1,
        write (chunk, encoding, done) { chunks.push(chunk); setImmediate(done) }
      }))
      assert.equal(Buffer.concat(chunks).length, 1e6)
    })

    within('pipelines', async ({ dispatcher, origin }) => {
      const out = new PassThrough()
      const text = collect(out)
      await pipeline(Readable.from(['a', 'b']), undici.pipeline(origin, { dispatcher, method: 'POST' }, ({ body }) => body), out)
      assert.equal(`${await text}`, 'ab')
    })

    within('fetches', async ({ dispatcher, origin }) => {
      const res = await undici.fetch(`${origin}/redirect`, { dispatcher })
      assert.equal(res.headers.get('x-seen'), 'GET / none')
    })

    within('upgrades', async ({ dispatcher, origin }) => {
      const { socket } = await undici.upgrade(origin, { dispatcher, protocol: 'echo' })
      socket.write('second')
      let text = ''
      for await (const chunk of socket) {
        text += chunk
        if (text === 'first second') break
      }
      await until(() => dispatcher.stats().closed.detached === 1)
    })

    within('connects', async ({ dispatcher, origin }) => {
      const { socket, statusCode } = await undici.connect(origin, { dispatcher, path: '/a.example:1' })
      assert.equal(statusCode, 200)
      assert.equal(`${await collect(socket)}`, 'tunnel to /a.example:1')
    })

    within('aborts', async ({ dispatcher, origin }) => {
      const controller = new AbortController()
      const pending = undici.request(origin, { dispatcher, signal: controller.signal, method: 'POST', body: new PassThrough() })
      controller.abort()
      await assert.rejects(pending, { name: 'AbortError' })
    })

    within('retries_by_its_own_agent', async ({ dispatcher, origin }) => {
      const agent = new undici.RetryAgent(dispatcher, { minTimeout: 1, maxTimeout: 5 })
      const res = await undici.request(`${origin}/flaky`, { dispatcher: agent })
      assert.equal(res.statusCode, 200)
      await res.body.dump()
      assert.equal(dispatcher.stats().requests, 3)
    })

    within('composes_its_interceptors', async ({ dispatcher, origin }) => {
      const adding = (dispatch) => (opts, handler) => dispatch({ ...opts, headers: { ...opts.headers, 'X-Added': 'me' } }, handler)
      const { retry, redirect } = undici.interceptors
      const composed = dispatcher.compose(adding, retry({ minTimeout: 1, maxTimeout: 5 }), redirect({ maxRedirections: 3 }))
      for (const [path, seen] of [['/flaky', 'GET /flaky me'], ['/redirect', 'GET / me']]) {
        const res = await undici.request(`${origin}${path}`, { dispatcher: composed })
        assert.equal(res.headers['x-seen'], seen)
        await res.body.dump()
      }
      const res = await undici.fetch(origin, { dispatcher: composed })
      assert.equal(res.headers.get('x-seen'), 'GET / me')
      assert.equal(composed.closed, false)
    })

    within('unpacks_by_its_interceptor', async ({ dispatcher, origin }) => {
      const composed = dispatcher.compose(undici.interceptors.decompress())
      const res = await undici.request(`${origin}/gzip`, { dispatcher: composed })
      assert.equal(await res.body.text(), 'unpacked')
      assert.equal(res.headers['content-encoding'], undefined)
    }, !skip && !undici.interceptors.decompress && 'this undici has none')

    within('sends_a_form_with_its_length', async ({ dispatcher, origin }) => {
      const form = new undici.FormData()
      form.set('a"\n', 'b\nc')
      form.append('file', new File(['hello'], 'n"é.txt', { type: 'text/x' }))
      form.append('file', new Blob(['x']))
      const res = await undici.request(`${origin}/form`, { dispatcher, method: 'POST', body: form })
      const body = Buffer.from(await res.body.arrayBuffer())
      assert.equal(res.headers['x-length'], `${body.length}`)
      const came = await new Response(body, { headers: { 'content-type': res.headers['x-type'] } }).formData()
      assert.equal(came.get('a"\r\n'), 'b\r\nc')
      const files = came.getAll('file')
      assert.deepEqual(files.map(({ name, type }) => [name, type]), [['n"é.txt', 'text/x'], ['blob', 'application/octet-stream']])
      assert.deepEqual(await Promise.all(files.map((file) => file.text())), ['hello', 'x'])
    })

    within('takes_it_as_the_global_dispatcher', async ({ dispatcher, origin }) => {
      const before = undici.getGlobalDispatcher()
      undici.setGlobalDispatcher(dispatcher)
      try {
        assert.equal(await (await undici.request(origin, { method: 'POST', body: 'x' })).body.text(), 'x')
        assert.equal(await (await fetch(origin)).text(), '')
      } finally {
        undici.setGlobalDispatcher(before)
      }
      assert.ok(dispatcher.stats().requests >= 1)
    })

    within('knows_its_errors', async ({ dispatcher, origin }) => {
      await dispatcher.destroy()
      const error = await undici.request(origin, { dispatcher }).catch((error) => error)
      assert.ok(error instanceof undici.errors.ClientDestroyedError || error.code === 'UND_ERR_DESTROYED')
    })
  })
}

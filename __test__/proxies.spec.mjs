// Proxies: which requests go through one, how, and what is said when it refuses.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { inspect, promisify } from 'node:util'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { HttpAgent, HttpsAgent } from '../index.mjs'
import { microsocks, ownProxy, tinyproxy } from './support/proxies.mjs'
import { httpServer, rawServer, refusedPort } from './support/servers.mjs'
import { Authority } from './support/tls/authority.mjs'
import { breakingOff, secureServer } from './support/tls/servers.mjs'
import { collect } from './support/wait.mjs'

const root = new Authority('holdfast test root')
const identity = root.issue({ names: ['DNS:localhost', 'DNS:server.test', 'IP:127.0.0.1'] })
const ca = root.cert
const limits = { timeout: 20_000 }
const credentials = { user: 'user', password: 'p4ss w:rd' }
const withCredentials = (scheme, port) =>
  `${scheme}://${credentials.user}:${encodeURIComponent(credentials.password)}@127.0.0.1:${port}`

let plain, secure
before(async () => {
  const handler = (req, res) => {
    res.setHeader('X-Url', req.url)
    req.pipe(res)
  }
  plain = await httpServer(handler)
  secure = await secureServer(identity, handler)
})
after(() => Promise.all([plain, secure].map((server) => server.stop())))

/** One request through an agent with these options: `{ status, text, headers, error }`. */
const sent = async (agentOptions, { isSecure = false, body = 'echo', agent = undefined, ...options } = {}) => {
  const Agent = isSecure ? HttpsAgent : HttpAgent
  const own = agent ?? new Agent({ ...isSecure && { ca, servername: 'localhost' }, ...agentOptions })
  const server = isSecure ? secure : plain
  try {
    return await new Promise((resolve) => {
      const req = (isSecure ? https : http).request({ host: '127.0.0.1', port: server.port, method: 'POST', agent: own, ...options })
      req.on('error', (error) => resolve({ error }))
      req.on('response', async (res) => {
        resolve({ status: res.statusCode, text: String(await collect(res)), headers: res.headers, socket: req.socket })
      })
      req.end(body)
    })
  } finally {
    if (!agent) own.destroy()
  }
}

describe('tinyproxy', () => {
  let proxy, guarded
  before(async () => {
    proxy = await tinyproxy()
    guarded = await tinyproxy({ user: 'user', password: 'pass' })
  })
  after(() => Promise.all([proxy, guarded].map((one) => one.stop())))

  for (const isSecure of [false, true]) {
    const kind = isSecure ? 'https' : 'http'
    test(`${kind}_goes_through_it_and_its_connection_is_used_again`, limits, async () => {
      const Agent = isSecure ? HttpsAgent : HttpAgent
      const agent = new Agent({ ca, servername: 'localhost', proxy: `http://127.0.0.1:${proxy.port}` })
      try {
        for (let n = 0; n < 3; n++) {
          const { status, text } = await sent({}, { isSecure, agent, body: `body ${n}` })
          assert.deepEqual({ status, text }, { status: 200, text: `body ${n}` })
        }
      } finally {
        agent.destroy()
      }
    })

    test(`${kind}_with_credentials_is_let_through`, limits, async () => {
      const { status, text } = await sent({ proxy: `http://user:pass@127.0.0.1:${guarded.port}` }, { isSecure })
      assert.deepEqual({ status, text }, { status: 200, text: 'echo' })
    })
  }

  test('tunnel_refused_for_its_credentials_says_so_without_them', limits, async () => {
    const { error } = await sent({ proxy: `http://user:s3cr3t@127.0.0.1:${guarded.port}` }, { isSecure: true })
    assert.equal(error.code, 'ERR_PROXY_TUNNEL')
    assert.ok([401, 407].includes(error.statusCode), `status ${error.statusCode}`)
    assert.match(error.message, new RegExp(`127.0.0.1:${secure.port} via http://127.0.0.1:${guarded.port}: HTTP`))
    assert.doesNotMatch(inspect(error, { depth: 9 }), /s3cr3t|czNjcjN0/)
  })

  test('request_refused_for_its_credentials_is_an_answer', limits, async () => {
    // Without a body: one that the proxy does not read makes its close a reset, which may overtake the answer.
    const { status } = await sent({ proxy: `http://user:s3cr3t@127.0.0.1:${guarded.port}` }, { method: 'GET', body: '' })
    assert.ok([401, 407].includes(status), `status ${status}`)
  })
})

describe('microsocks', () => {
  let proxy, guarded
  before(async () => {
    proxy = await microsocks()
    guarded = await microsocks({ user: 'user', password: 'pass' })
  })
  after(() => Promise.all([proxy, guarded].map((one) => one.stop())))

  for (const scheme of ['socks5', 'socks5h']) {
    for (const isSecure of [false, true]) {
      test(`${isSecure ? 'https' : 'http'}_goes_through_${scheme}`, limits, async () => {
        for (const host of ['127.0.0.1', 'localhost']) {
          const { status, text, headers } = await sent({ proxy: `${scheme}://127.0.0.1:${proxy.port}` }, { isSecure, host, family: 4 })
          assert.deepEqual({ status, text, url: headers['x-url'] }, { status: 200, text: 'echo', url: '/' })
        }
      })
    }
    test(`credentials_of_${scheme}_are_given`, limits, async () => {
      const { status } = await sent({ proxy: `${scheme}://user:pass@127.0.0.1:${guarded.port}` }, { isSecure: true })
      assert.equal(status, 200)
    })
  }

  test('wrong_credentials_of_socks_are_an_error_without_them', limits, async () => {
    const { error } = await sent({ proxy: `socks5://user:s3cr3t@127.0.0.1:${guarded.port}` })
    assert.equal(error.code, 'ERR_PROXY_TUNNEL')
    assert.doesNotMatch(inspect(error, { depth: 9 }), /s3cr3t/)
  })

  test('name_that_is_unknown_here_is_an_error_of_the_lookup', limits, async () => {
    const { error } = await sent({ proxy: `socks5://127.0.0.1:${proxy.port}` }, { host: 'no-such-name.invalid' })
    assert.equal(error.code, 'ENOTFOUND')
  })
})

/** Runs `body(proxy)` with a proxy of this process. */
const withProxy = (claim, body, ...how) => test(claim, limits, async () => {
  const proxy = await ownProxy(...how)
  try {
    await body(proxy)
  } finally {
    await proxy.stop()
  }
})

withProxy('plain_request_names_its_server_in_full', async (proxy) => {
  const { text, headers } = await sent({ proxy: withCredentials('http', proxy.port) }, { path: '/a?b', headers: { X: '1' } })
  const asked = JSON.parse(headers['x-headers'])
  assert.equal(text, 'from the proxy')
  assert.equal(headers['x-asked'], `POST http://127.0.0.1:${plain.port}/a?b`)
  assert.equal(asked.host, `127.0.0.1:${plain.port}`)
  assert.equal(asked['proxy-authorization'], `Basic ${Buffer.from('user:p4ss w:rd').toString('base64')}`)
  assert.equal(asked['proxy-connection'], 'keep-alive')
})

withProxy('plain_request_with_its_headers_in_a_list_names_its_server_too', async (proxy) => {
  const { headers } = await sent({ proxy: withCredentials('http', proxy.port) }, { path: '/list', headers: ['Host', 'a.test', 'X', '1'] })
  assert.equal(headers['x-asked'], `POST http://127.0.0.1:${plain.port}/list`)
  assert.ok(JSON.parse(headers['x-headers'])['proxy-authorization'])
})

withProxy('tunnel_has_credentials_and_the_request_behind_it_has_none', async (proxy) => {
  let seen
  secure.once('request', (req) => { seen = req.headers })
  const { status } = await sent({ proxy: withCredentials('http', proxy.port) }, { isSecure: true })
  assert.equal(status, 200)
  assert.deepEqual(proxy.asked.map(({ target }) => target), [`127.0.0.1:${secure.port}`])
  assert.ok(proxy.asked[0].headers['proxy-authorization'])
  assert.deepEqual(Object.keys(seen).filter((name) => name.startsWith('proxy')), [])
})

for (const [what, answer, status, words] of [
  ['a_refusal', 'HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n', 503, /HTTP\/1.1 503 Busy/],
  ['an_end', '', undefined, /closed the connection before it had answered/],
  ['no_http', 'SSH-2.0-OpenSSH\r\n\r\n', undefined, /not HTTP/],
  ['no_end', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(20_000)}`, undefined, /does not end/]
]) {
  withProxy(`tunnel_answered_by_${what}_is_an_error`, async (proxy) => {
    const { error } = await sent({ proxy: `http://127.0.0.1:${proxy.port}` }, { isSecure: true })
    assert.equal(error.code, 'ERR_PROXY_TUNNEL')
    assert.equal(error.statusCode, status)
    assert.match(error.message, words)
  }, undefined, { answer })
}

withProxy('proxy_that_refuses_is_not_asked_again', async (proxy) => {
  const retry = { attempts: 3, backoff: { base: 1 } }
  const { error } = await sent({ proxy: withCredentials('http', proxy.port), retry }, { isSecure: true })
  assert.deepEqual([error.code, error.statusCode, error.attempts, proxy.asked.length], ['ERR_PROXY_TUNNEL', 407, 1, 1])
}, undefined, { answer: 'HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n' })

test('proxy_that_is_not_there_is_an_error_of_connecting', limits, async () => {
  const port = await refusedPort()
  for (const isSecure of [false, true]) {
    const { error } = await sent({ proxy: `http://127.0.0.1:${port}` }, { isSecure })
    assert.deepEqual([error.code, error.port], ['ECONNREFUSED', port])
  }
})

test('proxy_that_ends_its_handshake_is_an_end_of_the_connection', limits, async () => {
  const proxy = await breakingOff((socket) => socket.end())
  for (const isSecure of [false, true]) {
    const { error } = await sent({ proxy: `https://127.0.0.1:${proxy.port}` }, { isSecure })
    assert.equal(error.code, 'ECONNRESET')
    assert.match(error.message, /before secure TLS connection was established/)
  }
  await proxy.stop()
})

test('proxy_that_says_nothing_ends_at_the_connect_timeout', limits, async () => {
  const proxy = await rawServer(() => {})
  const { error } = await sent({ proxy: `http://127.0.0.1:${proxy.port}`, connectTimeout: 50 }, { isSecure: true })
  assert.equal(error.code, 'ETIMEDOUT')
  await proxy.stop()
})

withProxy('credentials_do_not_go_to_a_server_that_is_reached_without_the_proxy', async (proxy) => {
  const agent = new HttpAgent({ proxy: withCredentials('http', proxy.port) })
  let seen
  plain.once('request', (req) => { seen = req })
  const createConnection = () => net.connect(plain.port, '127.0.0.1')
  await sent({}, { agent, createConnection })
  assert.deepEqual([seen.url, seen.headers['proxy-authorization']], ['/', undefined])
  // Nor does a later request get that socket.
  assert.equal((await sent({}, { agent })).text, 'from the proxy')
  agent.destroy()
})

withProxy('host_that_is_no_name_is_refused_before_anything_is_sent', async (proxy) => {
  const host = 'x HTTP/1.1\r\nX-Evil: 1\r\nz: '
  for (const isSecure of [false, true]) {
    await assert.rejects(async () => sent({ proxy: `http://127.0.0.1:${proxy.port}` }, { isSecure, host, headers: { Host: 'a.test' } }),
      { code: 'ERR_INVALID_ARG_VALUE' })
  }
  assert.equal(proxy.asked.length, 0)
})

withProxy('dead_connection_is_replaced_through_the_proxy', async (proxy) => {
  const agent = new HttpsAgent({ ca, servername: 'localhost', proxy: `http://127.0.0.1:${proxy.port}` })
  await sent({}, { isSecure: true, agent })
  for (const socket of proxy.open) socket.resetAndDestroy()
  const { status } = await sent({}, { isSecure: true, agent })
  assert.equal(status, 200)
  assert.equal(proxy.asked.length, 2)
  agent.destroy()
})

// A proxy that speaks TLS is trusted as Node trusts anyone by default.
describe('https proxy', () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-roots-'))
  before(() => {
    writeFileSync(join(folder, 'roots.pem'), ca)
    process.env.NODE_EXTRA_CA_CERTS = join(folder, 'roots.pem')
  })
  after(() => {
    delete process.env.NODE_EXTRA_CA_CERTS
    rmSync(folder, { recursive: true })
  })

  // Node reads the roots when it starts.
  const elsewhere = async (port, target, isSecure) => {
    const script = `
      import { HttpAgent, HttpsAgent } from ${JSON.stringify(new URL('../index.mjs', import.meta.url).href)}
      import http from 'node:http'
      import https from 'node:https'
      const isSecure = ${isSecure}
      const agent = new (isSecure ? HttpsAgent : HttpAgent)({ proxy: 'https://user:pass@localhost:${port}' })
      const req = (isSecure ? https : http).get({ host: 'localhost', port: ${target}, agent }, (res) => {
        res.setEncoding('utf8').on('data', (text) => process.stdout.write(text)).on('end', () => agent.destroy())
      })
      req.on('error', (error) => console.log(error.code))`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
    return stdout.trim()
  }

  withProxy('carries_tunnels', async (proxy) => {
    secure.once('request', (req, res) => res.end('through'))
    assert.equal(await elsewhere(proxy.port, secure.port, true), 'through')
    assert.equal(proxy.asked[0].target, `localhost:${secure.port}`)
  }, identity)

  withProxy('carries_large_answers_whole', async (proxy) => {
    const answer = 'x'.repeat(1_000_000)
    secure.once('request', (req, res) => res.end(answer))
    assert.equal((await elsewhere(proxy.port, secure.port, true)).length, answer.length)
  }, identity)

  withProxy('carries_plain_requests', async (proxy) => {
    assert.equal(await elsewhere(proxy.port, plain.port, false), 'from the proxy')
  }, identity)

  withProxy('of_another_name_gets_no_credentials', async (proxy) => {
    assert.equal(await elsewhere(proxy.port, secure.port, true), 'ERR_TLS_CERT_ALTNAME_INVALID')
    assert.equal(proxy.asked.length, 0)
  }, root.issue({ names: ['DNS:other.test'] }))
})

// Which requests go through one.
withProxy('environment_given_as_an_option_is_read_as_node_reads_it', async (proxy) => {
  const url = `http://127.0.0.1:${proxy.port}`
  const through = async (proxyEnv, options) => (await sent({ proxyEnv }, options)).text === 'from the proxy'
  assert.equal(await through({ http_proxy: url }), true)
  assert.equal(await through({ HTTP_PROXY: url }), true)
  assert.equal(await through({ http_proxy: url, HTTP_PROXY: 'http://127.0.0.1:1' }), true)
  assert.equal(await through({ https_proxy: url }), false)
  assert.equal(await through({ http_proxy: url, no_proxy: '127.0.0.1' }), false)
  assert.equal(await through({ http_proxy: url, NO_PROXY: `a.test, 127.0.0.1:${plain.port}` }), false)
  assert.equal(await through({ http_proxy: url, no_proxy: '127.0.0.1:1' }), true)
  assert.equal(await through({ http_proxy: url, no_proxy: '*' }), false)
  assert.equal(await through({ http_proxy: url, no_proxy: '127.0.0.0-127.0.0.9' }), false)
  assert.equal(await through({ http_proxy: url, no_proxy: '127.0.0.2-127.0.0.9' }), true)
  assert.equal(await through({ http_proxy: 'socks5://127.0.0.1:1' }), false)
  for (const [entry, isDirect] of [['.example.test', true], ['*.example.test', true], ['example.test', false], ['.other.test', false]]) {
    const seen = []
    const lookup = (name, options, done) => {
      seen.push(name)
      done(null, options.all ? [{ address: '127.0.0.1', family: 4 }] : '127.0.0.1', 4)
    }
    assert.equal(await through({ http_proxy: url, no_proxy: entry }, { host: 'a.example.test', lookup }), !isDirect, entry)
    assert.deepEqual(seen, isDirect ? ['a.example.test'] : [])
  }
})

withProxy('environment_of_the_process_is_read_if_it_is_asked_for', async (proxy) => {
  process.env.http_proxy = `http://127.0.0.1:${proxy.port}`
  try {
    assert.equal((await sent({})).text, 'echo')
    process.env.NODE_USE_ENV_PROXY = '1'
    assert.equal((await sent({})).text, 'from the proxy')
    assert.equal((await sent({ proxy: false })).text, 'echo')
    assert.equal((await sent({ proxyEnv: {} })).text, 'echo')
  } finally {
    delete process.env.NODE_USE_ENV_PROXY
    delete process.env.http_proxy
  }
})

test('proxy_is_nowhere_to_be_seen_on_the_agent', limits, () => {
  const agent = new HttpsAgent({ proxy: 'http://user:s3cr3t@proxy.test:1', proxyEnv: { https_proxy: 'http://x:s3cr3t@y.test' } })
  assert.doesNotMatch(inspect(agent, { depth: 9, showHidden: true }), /s3cr3t|proxy\.test/)
  assert.doesNotMatch(JSON.stringify(agent.stats()), /s3cr3t/)
})

for (const proxy of ['nonsense', 'ftp://a.test', 'http://', 'http://%zz:s3cr3t@a.test', 5, { href: 's3cr3t' }]) {
  test(`bad_proxy_${inspect(proxy)}_is_refused_without_being_shown`, limits, () => {
    assert.throws(() => new HttpAgent({ proxy }), (error) => {
      assert.match(error.code, /^ERR_INVALID_ARG_(VALUE|TYPE)$/)
      assert.match(error.message, /options\.proxy/)
      assert.doesNotMatch(error.message, /s3cr3t|nonsense/)
      return true
    })
  })
}

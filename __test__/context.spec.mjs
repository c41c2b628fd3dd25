// Async context: every listener of a request runs in that request's store. And the order of what one turn delivers.
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { execFile } from 'node:child_process'
import http from 'node:http'
import net from 'node:net'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { subject } from './support/agents.mjs'
import { parity } from './support/parity.mjs'
import { refusedPort } from './support/servers.mjs'
import { once, turns, until } from './support/wait.mjs'

const storage = new AsyncLocalStorage()
const to = (server, agent, more) => ({ host: '127.0.0.1', port: server.port, agent, ...more })

const REQUEST_EVENTS = ['socket', 'finish', 'response', 'information', 'continue', 'timeout', 'abort', 'error', 'close']
const RESPONSE_EVENTS = ['data', 'end', 'aborted', 'error', 'close']

/** Starts a request within the store `name`, noting the store that each listener sees. */
const start = (run, name, options, { handover = [], body, listen } = {}) => storage.run(name, () => {
  const noted = new Set()
  const note = (what) => () => {
    if (noted.has(what) && what === 'res data') return
    noted.add(what)
    run.note(name, what, `in ${storage.getStore()}`)
  }
  const req = http.request(options)
  for (const event of [...REQUEST_EVENTS, ...handover]) req.on(event, note(`req ${event}`))
  req.on('error', (error) => run.note(name, 'req code', error.code))
  req.on('response', (res) => {
    for (const event of RESPONSE_EVENTS) res.on(event, note(`res ${event}`))
  })
  listen?.(req)
  return req.end(body)
})

const closed = async (...requests) => {
  for (const req of requests) if (!req.closed) await new Promise((resolve) => req.once('close', resolve))
  await turns(3)
}

parity('listeners_see_their_request_s_store_on_first_use_and_reuse', async (run) => {
  const server = await run.http((req, res) => req.pipe(res))
  const agent = run.agent()
  for (const name of ['first', 'second', 'third']) {
    const req = start(run, name, to(server, agent, { method: 'POST' }), { body: 'x'.repeat(1000) })
    await closed(req)
  }
  run.note('accepted', server.accepted.length)
}, { order: 'entity' })

parity('listeners_of_queued_requests_see_their_own_store', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent({ maxSockets: 1 })
  const requests = ['first', 'second', 'third'].map((name) => start(run, name, to(server, agent)))
  await closed(...requests)
  run.note('accepted', server.accepted.length)
}, { order: 'entity' })

parity('listeners_see_their_store_on_informational_responses', async (run) => {
  const server = await run.http((req, res) => {
    res.writeProcessing()
    res.end('x')
  })
  server.on('checkContinue', (req, res) => {
    res.writeContinue()
    res.end('x')
  })
  const agent = run.agent()
  for (const name of ['first', 'second']) {
    await closed(start(run, name, to(server, agent)))
    const headers = { Expect: '100-continue' }
    await closed(start(run, `${name}-expecting`, to(server, agent, { method: 'POST', headers })))
  }
})

const deaths = {
  reset_before_the_response: (req, res) => req.socket.resetAndDestroy(),
  fin_before_the_response: (req, res) => req.socket.end(),
  reset_in_the_response: (req, res) => {
    res.writeHead(200, { 'Content-Length': 100 })
    res.write('half', () => setImmediate(() => req.socket.resetAndDestroy()))
  },
  fin_in_the_response: (req, res) => {
    res.writeHead(200, { 'Content-Length': 100 })
    res.write('half', () => setImmediate(() => req.socket.end()))
  },
  garbage: (req) => req.socket.write('garbage\r\n\r\n'),
}

for (const [death, kill] of Object.entries(deaths)) {
  parity(`listeners_see_their_store_on_${death}`, async (run) => {
    const server = await run.http((req, res) => req.url === '/kill' ? kill(req, res) : res.end('x'))
    const agent = run.agent()
    await closed(start(run, 'fresh', to(server, agent, { path: '/kill' })))
    if (!death.endsWith('before_the_response')) {
      await closed(start(run, 'warm', to(server, agent)))
      await closed(start(run, 'reused', to(server, agent, { path: '/kill' })))
    }
    run.note('accepted', server.accepted.length)
  }, { order: 'entity' })
}

parity('listeners_see_their_store_on_refused_connections', async (run) => {
  const port = await refusedPort()
  const agent = run.agent()
  await closed(start(run, 'refused', { host: '127.0.0.1', port, agent }))
})

parity('listeners_see_their_store_on_failed_lookups', async (run) => {
  const agent = run.agent()
  const lookup = (host, options, found) => setImmediate(found, Object.assign(new Error('no'), { code: 'ENOTFOUND' }))
  await closed(start(run, 'lost', { host: 'some.test', port: 80, agent, lookup }))
})

parity('lookup_callback_runs_in_the_store_of_its_request', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  const lookup = (host, options, found) => {
    run.note('lookup in', storage.getStore())
    setImmediate(() => options.all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4))
  }
  await closed(start(run, 'named', to(server, agent, { host: 'some.test', lookup })))
})

for (const [how, end] of Object.entries({
  destroy: (req) => req.destroy(),
  destroy_with_error: (req) => req.destroy(new Error('own')),
  socket_destroy: (req) => req.socket.destroy(),
})) {
  parity(`listeners_see_their_store_on_${how}_from_elsewhere`, async (run) => {
    const server = await run.http((req, res) => req.url === '/' && res.end('x'))
    const agent = run.agent()
    for (const name of ['fresh', 'reused']) {
      if (name === 'reused') await closed(start(run, 'warm', to(server, agent)))
      const req = start(run, name, to(server, agent, { path: '/wait' }))
      await once(server, 'request')
      storage.run('elsewhere', () => end(req))
      await closed(req)
    }
  }, { order: 'entity' })
}

parity('listeners_see_their_store_on_timeouts', async (run) => {
  const server = await run.http((req, res) => req.url === '/' && res.end('x'))
  const agent = run.agent()
  const listen = (req) => req.on('timeout', () => req.destroy())
  await closed(start(run, 'fresh', to(server, agent, { path: '/wait', timeout: 40 }), { listen }))
  await closed(start(run, 'warm', to(server, agent)))
  await closed(start(run, 'reused', to(server, agent, { path: '/wait', timeout: 40 }), { listen }))
  run.note('accepted', server.accepted.length)
}, { order: 'entity' })

parity('listeners_see_their_store_on_a_socket_that_a_subclass_made', async (run) => {
  const server = await run.http((req, res) => req.url === '/cut' ? req.socket.resetAndDestroy() : res.end('x'))
  class Own extends run.Agent {
    createConnection ({ host, port }) { return net.connect({ host, port }) }
  }
  const agent = run.agent({}, Own)
  for (const name of ['fresh', 'reused']) await closed(start(run, name, to(server, agent)))
  await closed(start(run, 'cut', to(server, agent, { path: '/cut' })))
  run.note('accepted', server.accepted.length)
}, { order: 'entity', plain: 'the socket is one of TCP' })

for (const event of ['upgrade', 'connect']) {
  parity(`listeners_see_their_store_on_${event}_and_after`, async (run) => {
    const server = await run.http((req, res) => res.end('x'))
    server.on(event, (req, socket) => {
      socket.write(event === 'upgrade'
        ? 'HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\n'
        : 'HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(socket)
    })
    const agent = run.agent()
    const headers = event === 'upgrade' ? { Connection: 'Upgrade', Upgrade: 'odd' } : {}
    const [method, path] = event === 'upgrade' ? ['GET', '/'] : ['CONNECT', 'some.test:80']
    for (const name of ['fresh', 'reused']) {
      if (name === 'reused') await closed(start(run, 'warm', to(server, agent)))
      let handed
      const listen = (req) => req.on(event, (res, socket) => {
        handed = socket
        for (const word of ['data', 'end', 'close']) {
          socket.once(word, () => run.note(name, `socket ${word}`, `in ${storage.getStore()}`))
        }
        socket.end('echo')
      })
      start(run, name, to(server, agent, { method, path, headers }), { handover: [event], listen })
      await until(() => handed?.closed)
      await turns(3)
    }
  }, { order: 'entity' })
}

parity('promises_of_a_listener_stay_in_its_store', async (run) => {
  const server = await run.http((req, res) => res.end('x'.repeat(100)))
  const agent = run.agent()
  for (const name of ['first', 'second']) {
    const req = start(run, name, to(server, agent), {
      listen: (req) => req.on('response', async (res) => {
        for await (const chunk of res) run.note(name, 'read', chunk.length, `in ${storage.getStore()}`)
        await turns(1)
        run.note(name, `after in ${storage.getStore()}`)
      })
    })
    await closed(req)
    await turns(3)
  }
}, { order: 'entity' })

const program = fileURLToPath(new URL('fixtures/turn-order.mjs', import.meta.url))
const execute = promisify(execFile)

for (const [scenario, claim] of Object.entries({
  plain: 'data_ticks_microtasks_and_immediates_of_one_turn_come_in_node_s_order',
  'throw-one': 'exception_of_one_listener_leaves_the_other_sockets_of_its_turn_in_order',
  'throw-all': 'exceptions_of_all_listeners_of_one_turn_come_in_order',
  'throw-tick': 'exceptions_of_ticks_come_in_order',
  reject: 'unhandled_rejections_come_in_order',
  write: 'writes_made_in_data_listeners_come_in_order',
  destroy: 'socket_destroyed_by_the_listener_of_another_delivers_no_more',
})) {
  test(claim, { timeout: 30_000 }, async () => {
    const see = async (kind) => {
      const { stdout } = await execute(process.execPath, [program, kind, scenario], {
        timeout: 12_000, env: { ...process.env, HOLDFAST_TLS: '' }
      })
      return stdout.trim().split('\n')
    }
    const expected = await see('node')
    assert.ok(expected.length > 10, expected.join('\n'))
    assert.deepEqual(await see(subject), expected)
  })
}

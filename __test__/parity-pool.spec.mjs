// Pool: limits, queues, order, names, events of the agent, destroy, and methods that a subclass brings.
import assert from 'node:assert/strict'
import http from 'node:http'
import net from 'node:net'
import { test } from 'node:test'
import { AgentUnderTest, isHoldfast, NodeAgent } from './support/agents.mjs'
import { parity } from './support/parity.mjs'
import { httpServer } from './support/servers.mjs'
import { past } from './support/holding.mjs'
import { once, turns, until } from './support/wait.mjs'

const to = (server, agent, more) => ({ host: '127.0.0.1', port: server.port, agent, ...more })

parity('max_sockets_1_queues_the_second_request', async (run) => {
  const server = await run.http((req, res) => res.end(req.url))
  const agent = run.agent({ maxSockets: 1 })
  for (const name of ['a', 'b', 'c']) run.get(name, to(server, agent, { path: `/${name}` }))
  run.pool(agent, 'requested')
  await run.done()
  await turns(3)
  run.pool(agent, 'done')
  run.note('accepted', server.accepted.length)
})

// One answer at a time, so that the order in which sockets become free is the script's and not the kernel's.
parity('max_sockets_2_serves_six_requests_in_order', async (run) => {
  const answers = new Map()
  const server = await run.http((req, res) => { run.wire.push(req.url); answers.set(req.url, res) })
  const agent = run.agent({ maxSockets: 2 })
  const urls = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => {
    run.get(name, to(server, agent, { path: `/${name}` }))
    return `/${name}`
  })
  run.pool(agent, 'requested')
  for (const [at, url] of urls.entries()) {
    await until(() => urls.slice(at, at + 2).every((due) => answers.has(due)))
    answers.get(url).end(url)
  }
  await run.done()
  run.note('accepted', server.accepted.length)
  run.wire.sort()
}, { order: 'entity' })

parity('max_sockets_raised_after_construction_counts_at_the_next_request', async (run) => {
  const waiting = []
  const server = await run.http((req, res) => waiting.push(res))
  const agent = run.agent({ maxSockets: 1 })
  // Which of the two that wait gets the new socket differs: see the next test.
  const requests = ['a', 'b'].map((name) => http.get(to(server, agent, { path: `/${name}` })))
  agent.maxSockets = 2
  requests.push(http.get(to(server, agent, { path: '/c' })))
  run.pool(agent, 'requested')
  await until(() => waiting.length === 2)
  for (const res of waiting.splice(0)) res.end('x')
  await until(() => waiting.length === 1)
  waiting.pop().end('x')
  await until(() => requests.every((req) => req.closed))
  run.note('accepted', server.accepted.length)
})

const ours = isHoldfast ? { timeout: 20_000 } : { skip: 'Node\'s agent lets the newest request overtake here' }

test('request_that_waits_is_never_overtaken_when_max_sockets_is_raised', ours, async () => {
  const waiting = []
  const server = await httpServer((req, res) => waiting.push({ url: req.url, res }))
  const agent = new AgentUnderTest({ maxSockets: 1 })
  const requests = ['/a', '/b'].map((path) => http.get(to(server, agent, { path })))
  agent.maxSockets = 2
  requests.push(http.get(to(server, agent, { path: '/c' })))
  await until(() => waiting.length === 2)
  assert.deepEqual(waiting.map(({ url }) => url).sort(), ['/a', '/b'])
  for (const { res } of waiting.splice(0)) res.end()
  await until(() => waiting.length === 1)
  waiting.pop().res.end()
  await until(() => requests.every((req) => req.closed))
  agent.destroy()
  await server.stop()
})

parity('max_total_sockets_spans_origins', async (run) => {
  const one = await run.http((req, res) => res.end('1'))
  const two = await run.http((req, res) => res.end('2'))
  const agent = run.agent({ maxTotalSockets: 1 })
  run.get('a', to(one, agent))
  run.get('b', to(one, agent))
  run.pool(agent, 'requested')
  await run.done()
  await turns(3)
  run.pool(agent, 'done')
  run.note('accepted', one.accepted.length, two.accepted.length)
})

parity('max_total_sockets_queue_of_another_origin_is_served_when_a_socket_closes', async (run) => {
  const one = await run.http((req, res) => res.setHeader('Connection', 'close').end('1'))
  const two = await run.http((req, res) => res.end('2'))
  const agent = run.agent({ maxTotalSockets: 1 })
  run.get('a', to(one, agent))
  run.get('b', to(two, agent))
  run.pool(agent, 'requested')
  await run.done()
  await turns(3)
  run.pool(agent, 'done')
  run.note('accepted', one.accepted.length, two.accepted.length)
})

parity('max_free_sockets_1_keeps_one_of_three', async (run) => {
  const waiting = []
  const server = await run.http((req, res) => waiting.push(res))
  const agent = run.agent({ maxFreeSockets: 1 })
  for (const name of ['a', 'b', 'c']) run.get(name, to(server, agent))
  await until(() => waiting.length === 3)
  for (const res of waiting) res.end('x')
  await run.done()
  await until(() => server.open.size === 1)
  run.pool(agent, 'done')
}, { order: 'entity' })

for (const scheduling of ['lifo', 'fifo']) {
  parity(`scheduling_${scheduling}_picks_the_same_free_socket`, async (run) => {
    const waiting = []
    const server = await run.http((req, res) => waiting.push(res))
    const agent = run.agent({ scheduling })
    const answer = async (req) => {
      await until(() => waiting.length > 0)
      waiting.shift().end('x')
      await run.done(req)
      await run.released(req.socket)
    }
    const first = run.get('a', to(server, agent))
    await until(() => waiting.length === 1)
    const second = run.get('b', to(server, agent))
    await until(() => waiting.length === 2)
    await answer(first)
    await answer(second)
    run.pool(agent, 'two free')
    await answer(run.get('c', to(server, agent)))
    await answer(run.get('d', to(server, agent)))
  }, { order: 'entity' })
}

parity('queued_request_aborted_leaves_the_queue_alike', async (run) => {
  const waiting = []
  const server = await run.http((req, res) => waiting.push(res))
  const agent = run.agent({ maxSockets: 1 })
  run.get('a', to(server, agent))
  const queued = run.get('b', to(server, agent))
  run.get('c', to(server, agent))
  await until(() => waiting.length === 1)
  queued.destroy()
  await turns(3)
  waiting.pop().end('x')
  await until(() => waiting.length === 1)
  waiting.pop().end('x')
  await run.done()
  run.note('accepted', server.accepted.length)
}, { order: 'entity' })

parity('queued_request_gets_a_new_socket_when_the_active_one_fails', async (run) => {
  const server = await run.scripted((socket, head, { connection }) => {
    if (connection === 1) socket.resetAndDestroy()
    else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx')
  })
  const agent = run.agent({ maxSockets: 1 })
  run.get('a', to(server, agent))
  run.get('b', to(server, agent))
  await run.done()
  run.note('accepted', server.accepted.length)
}, { order: 'entity' })

parity('free_event_of_the_agent_comes_with_socket_and_options', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  agent.on('free', (socket, options) => {
    run.note('agent free', run.nameOf(socket), options.host, options.port, agent.getName(options),
      `readable=${socket.readable} writable=${socket.writable} httpMessage=${socket._httpMessage === null}`)
  })
  for (const name of ['a', 'b']) {
    const req = run.get(name, to(server, agent))
    await run.done(req)
    await run.released(req.socket)
  }
})

parity('destroy_with_idle_sockets_closes_them_alike', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await run.done()
  await run.released(req.socket)
  agent.destroy()
  run.pool(agent, 'destroyed')
  await until(() => req.socket.closed)
  run.pool(agent, 'closed')
})

parity('destroy_with_active_connecting_and_queued_requests_fails_them_alike', async (run) => {
  const server = await run.http(() => {})
  const agent = run.agent({ maxSockets: 1 })
  run.get('a', to(server, agent))
  await once(server, 'request')
  const other = await run.http(() => {})
  run.get('b', to(other, agent))
  agent.destroy()
  run.pool(agent, 'destroyed')
  await run.done()
}, { order: 'entity' })

parity('request_after_destroy_works_alike', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  agent.destroy()
  const req = run.get('a', to(server, agent))
  await run.done()
  await run.released(req.socket)
  run.pool(agent, 'released')
})

parity('socket_destroyed_by_its_user_while_idle_leaves_the_pool', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await run.done()
  await run.released(req.socket)
  req.socket.destroy()
  run.pool(agent, 'destroyed')
  await until(() => req.socket.closed)
  run.pool(agent, 'closed')
})

parity('agent_remove_takes_the_socket_out_of_the_pool', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  const req = run.get('a', to(server, agent), { respond: (res) => {
    req.socket.emit('agentRemove')
    run.pool(agent, 'removed')
    res.resume()
  } })
  await run.done()
  await turns(3)
  run.pool(agent, 'done')
  req.socket.destroy()
})

parity('get_name_names_origins_alike', async (run) => {
  const agent = run.agent()
  const cases = [undefined, {}, { host: 'a' }, { host: 'a', port: 80 }, { host: 'a', port: '80', localAddress: '::1' },
    { family: 6 }, { family: 4, host: 'b' }, { family: 0 }, { socketPath: 'a.sock' },
    { host: '::1', port: 1, family: '6' }]
  for (const options of cases) run.note('name', agent.getName(options))
})

parity('keep_socket_alive_that_answers_false_closes_the_socket', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  class Refusing extends run.Agent {
    keepSocketAlive (socket) {
      run.note('keepSocketAlive', run.nameOf(socket), `free=${Object.keys(this.freeSockets).length}`)
      return false
    }
  }
  const agent = run.agent({}, Refusing)
  for (const name of ['a', 'b']) {
    const req = run.get(name, to(server, agent))
    await run.done(req)
    await run.released(req.socket)
    run.pool(agent, `${name} released`)
  }
})

parity('keep_socket_alive_and_reuse_socket_are_called_alike', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  class Watching extends run.Agent {
    keepSocketAlive (socket) {
      run.note('keepSocketAlive', run.nameOf(socket))
      return super.keepSocketAlive(socket)
    }

    reuseSocket (socket, req) {
      super.reuseSocket(socket, req)
      run.note('reuseSocket', run.nameOf(socket), req.path, `reused=${req.reusedSocket}`)
    }
  }
  const agent = run.agent({}, Watching)
  for (const name of ['a', 'b', 'c']) {
    const req = run.get(name, to(server, agent, { path: `/${name}` }))
    await run.done(req)
    await run.released(req.socket)
  }
})

parity('keep_socket_alive_may_set_an_idle_socket_s_timeout', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  class Hurrying extends run.Agent {
    keepSocketAlive (socket) {
      const isKept = super.keepSocketAlive(socket)
      socket.setTimeout(40)
      return isKept
    }
  }
  const agent = run.agent({ freeSocketTimeout: 60_000 }, Hurrying)
  const req = run.get('a', to(server, agent))
  const closed = new Promise((resolve) => req.once('socket', (socket) => socket.once('close', resolve)))
  await run.done(req)
  await run.released(req.socket)
  run.note('idle', req.socket.timeout)
  await closed
  run.pool(agent, 'closed')
})

parity('nothing_is_late_for_what_has_failed', async (run) => {
  const server = await run.http((req) => req.socket.destroy())
  const agent = run.agent({ timeout: 60, retry: false })
  await run.done(run.get('a', to(server, agent)))
  await past(150)
  run.pool(agent, 'failed')
})

// Through an agent with a time limit, which ends what nobody minds.
for (const whose of ['response', 'socket']) {
  parity(`timeout_of_a_${whose}_is_its_listener_s_to_decide`, async (run) => {
    let answer
    const server = await run.http((req, res) => {
      answer = res
      res.write('a')
    })
    const agent = run.agent({ timeout: 40 })
    // Nobody listens to the request's own.
    const req = http.get(to(server, agent))
    req.on('error', ({ code }) => run.note('error', code))
    req.once('response', (res) => {
      res.on('data', (chunk) => run.note('data', String(chunk)))
      const subject = whose === 'socket' ? res.socket : res
      subject.setTimeout(50, () => {
        run.note('silent')
        answer.end('b')
      })
    })
    await once(req, 'close')
  })
}

for (const how of ['returned', 'called back']) {
  parity(`create_connection_of_a_subclass_${how.replace(' ', '_')}_is_pooled`, async (run) => {
    const server = await run.http((req, res) => res.end('x'))
    class Own extends run.Agent {
      createConnection (options, oncreate) {
        run.note('createConnection', options.host, options.port, options.keepAlive, options.keepAliveInitialDelay)
        const socket = net.connect({ host: options.host, port: options.port })
        if (how === 'returned') return socket
        socket.once('connect', () => oncreate(null, socket))
      }
    }
    // Node's agent forgets a connection that is still to be called back, and opens more than maxSockets allows.
    const agent = run.agent({ maxSockets: how === 'returned' ? 1 : Infinity }, Own)
    for (const name of ['a', 'b', 'c']) run.get(name, to(server, agent))
    run.pool(agent, 'requested')
    await run.done()
    await turns(3)
    run.pool(agent, 'done')
    run.note('accepted', server.accepted.length)
  })
}

test('create_connection_that_calls_back_later_keeps_within_max_sockets', ours, async () => {
  const server = await httpServer((req, res) => res.end('x'))
  class Own extends AgentUnderTest {
    createConnection (options, oncreate) {
      const socket = net.connect({ host: options.host, port: options.port })
      socket.once('connect', () => oncreate(null, socket))
    }
  }
  const agent = new Own({ maxSockets: 1 })
  const requests = ['a', 'b', 'c'].map(() => http.get(to(server, agent), (res) => res.resume()))
  await until(() => requests.every((req) => req.closed))
  assert.equal(server.accepted.length, 1)
  agent.destroy()
  await server.stop()
})

parity('create_connection_of_a_subclass_that_fails_fails_the_request', async (run) => {
  class Failing extends run.Agent {
    createConnection (options, oncreate) {
      process.nextTick(oncreate, Object.assign(new Error('no way'), { code: 'E_OWN' }))
    }
  }
  const agent = run.agent({}, Failing)
  run.get('a', { host: '127.0.0.1', port: 1, agent })
  await run.done()
})

test('create_connection_s_socket_that_closes_twice_ends_no_other', { ...ours, skip: !isHoldfast && 'Node counts it twice' }, async () => {
  const server = await httpServer((req, res) => res.end('x'))
  const agent = new AgentUnderTest()
  const createConnection = ({ host, port }) => net.connect({ host, port })
  const next = async () => {
    const req = http.get(to(server, agent, { createConnection }), (res) => res.resume())
    await until(() => req.closed)
    await turns(2)
    return req.socket
  }
  const first = await next()
  first.destroy()
  await once(first, 'close')
  const second = await next() // has its number
  first.emit('close')
  assert.equal(agent.totalSocketCount, 1)
  assert.equal(await next(), second)
  agent.destroy()
  await until(() => agent.totalSocketCount === 0)
  await server.stop()
})

// Node's agent ignores it.
test('create_connection_of_the_request_is_used_and_its_socket_pooled', ours, async () => {
  const server = await httpServer((req, res) => res.end('x'))
  const agent = new AgentUnderTest({ maxSockets: 1 })
  const made = []
  const createConnection = ({ host, port }) => {
    made.push(net.connect({ host, port }))
    return made.at(-1)
  }
  const sockets = []
  for (let n = 0; n < 3; n++) {
    const req = http.get(to(server, agent, { createConnection }), (res) => res.resume())
    await until(() => req.closed)
    await turns(2)
    sockets.push(req.socket)
  }
  assert.deepEqual(sockets, [made[0], made[0], made[0]])
  assert.equal(Object.values(agent.freeSockets).flat()[0], made[0])
  agent.destroy()
  await until(() => agent.totalSocketCount === 0)
  await server.stop()
})

test('create_connection_s_socket_expires_like_any_other', ours, async () => {
  const server = await httpServer((req, res) => res.end('x'))
  const agent = new AgentUnderTest({ freeSocketTimeout: 30 })
  const createConnection = ({ host, port }) => net.connect({ host, port })
  const req = http.get(to(server, agent, { createConnection }), (res) => res.resume())
  await until(() => req.closed)
  await until(() => agent.totalSocketCount === 0)
  assert.equal(Object.values(agent.stats().origins)[0].closed.expired, 1)
  await server.stop()
})

test('agent_is_an_http_agent_with_node_s_fields_and_maps', () => {
  const [expected, actual] = [new NodeAgent(), new AgentUnderTest()]
  assert.ok(actual instanceof NodeAgent.__proto__) // eslint-disable-line no-proto
  for (const field of ['defaultPort', 'protocol', 'keepAlive', 'keepAliveMsecs', 'maxSockets', 'maxFreeSockets',
    'maxTotalSockets', 'scheduling', 'totalSocketCount', 'sockets', 'freeSockets', 'requests']) {
    assert.deepEqual(actual[field], expected[field], field)
    assert.ok(Object.keys(actual).includes(field) || !Object.keys(expected).includes(field), `${field} is enumerable`)
  }
  assert.equal(actual.options.path, null)
  assert.equal(actual.options.noDelay, true)
})

parity('request_that_is_no_client_request_gets_a_socket', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  const socket = await new Promise((resolve) => {
    agent.addRequest({ getHeader () {}, onSocket: resolve }, { host: '127.0.0.1', port: server.port })
  })
  if (socket.connecting) await once(socket, 'connect')
  run.note('port', socket.remotePort === server.port)
  agent.destroy()
  await until(() => socket.closed)
})

parity('host_header_that_is_no_string_is_refused_alike', async (run) => {
  const agent = run.agent()
  for (const host of [[], ['a', 'b'], 5]) {
    try {
      http.request({ host: '127.0.0.1', port: 1, agent, headers: { host } })
      run.note('taken')
    } catch (error) {
      run.note(error.code, error.message)
    }
  }
  run.pool(agent, 'refused')
})

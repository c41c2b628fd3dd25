// Ends that the client brings about: signals, destroy, timeouts.
import { parity } from './support/parity.mjs'
import { once, turns, until } from './support/wait.mjs'

const to = (server, agent, more) => ({ host: '127.0.0.1', port: server.port, agent, ...more })

const finished = async (run, agent, req, isPooled = true) => {
  await run.done()
  if (req.socket) await run.released(req.socket)
  if (isPooled) run.pool(agent, 'done')
}

// From Node 24 on its agent keeps the socket that is still connecting; holdfast closes it.
const UNPOOLED = false

/** A server that answers nothing, or half a response when asked to. */
const silent = (run) => run.http((req, res) => {
  if (req.url !== '/half') return
  res.writeHead(200, { 'Content-Length': 100 })
  res.write('half')
})

const ENDINGS = {
  signal: (req, controller) => controller.abort(),
  signal_with_reason: (req, controller) => controller.abort(new Error('because')),
  destroy: (req) => req.destroy(),
  destroy_with_error: (req) => req.destroy(Object.assign(new Error('own'), { code: 'E_OWN' })),
  abort: (req) => req.abort(),
}

for (const [ending, end] of Object.entries(ENDINGS)) {
  const start = (run, server, agent, more, how) => {
    const controller = new AbortController()
    const signal = ending.startsWith('signal') ? controller.signal : undefined
    const req = run.request('a', to(server, agent, { signal, ...more }), how)
    return { req, controller }
  }

  parity(`${ending}_at_once_ends_the_request_alike`, async (run) => {
    const server = await silent(run)
    const agent = run.agent()
    const { req, controller } = start(run, server, agent)
    end(req, controller)
    req.end()
    await finished(run, agent, req, UNPOOLED)
  })

  parity(`${ending}_while_connecting_ends_the_request_alike`, async (run) => {
    const server = await silent(run)
    const agent = run.agent()
    const { req, controller } = start(run, server, agent)
    req.end()
    await once(req, 'socket')
    end(req, controller)
    await finished(run, agent, req)
  })

  parity(`${ending}_while_waiting_for_the_response_ends_the_request_alike`, async (run) => {
    const server = await silent(run)
    const agent = run.agent()
    const { req, controller } = start(run, server, agent)
    req.end()
    await once(server, 'request')
    end(req, controller)
    await finished(run, agent, req)
    await until(() => server.open.size === 0)
  })

  parity(`${ending}_in_the_middle_of_the_response_ends_both_alike`, async (run) => {
    const server = await silent(run)
    const agent = run.agent()
    const { req, controller } = start(run, server, agent, { path: '/half' }, {
      respond: (res) => res.once('data', () => setImmediate(end, req, controller))
    })
    req.end()
    await finished(run, agent, req)
    await until(() => server.open.size === 0)
  })

  parity(`${ending}_on_a_reused_socket_ends_the_request_alike`, async (run) => {
    const server = await run.http((req, res) => req.url === '/' && res.end('x'))
    const agent = run.agent()
    const first = run.get('first', to(server, agent))
    await run.done()
    await run.released(first.socket)
    const { req, controller } = start(run, server, agent, { path: '/silent' })
    req.end()
    await once(server, 'request')
    end(req, controller)
    await finished(run, agent, req)
  })
}

parity('signal_aborted_before_the_request_ends_it_alike', async (run) => {
  const server = await silent(run)
  const agent = run.agent()
  const req = run.get('a', to(server, agent, { signal: AbortSignal.abort() }))
  await finished(run, agent, req, UNPOOLED)
  run.note('accepted', server.accepted.length)
})

parity('destroy_of_the_response_ends_the_request_alike', async (run) => {
  const server = await silent(run)
  const agent = run.agent()
  const req = run.get('a', to(server, agent, { path: '/half' }), {
    respond: (res) => res.once('data', () => res.destroy())
  })
  await finished(run, agent, req)
})

parity('destroy_of_the_response_with_an_error_ends_the_request_alike', async (run) => {
  const server = await silent(run)
  const agent = run.agent()
  const req = run.get('a', to(server, agent, { path: '/half' }), {
    respond: (res) => res.once('data', () => res.destroy(new Error('enough')))
  })
  await finished(run, agent, req)
})

parity('destroy_after_the_response_ended_is_harmless_alike', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  const req = run.get('a', to(server, agent), { respond: (res) => res.resume().on('end', () => req.destroy()) })
  await finished(run, agent, req)
})

parity('destroy_of_the_socket_by_its_user_fails_the_request_alike', async (run) => {
  const server = await silent(run)
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await once(server, 'request')
  req.socket.destroy()
  await finished(run, agent, req)
})

parity('destroy_of_the_socket_with_an_error_fails_the_request_alike', async (run) => {
  const server = await silent(run)
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await once(server, 'request')
  req.socket.destroy(Object.assign(new Error('own'), { code: 'E_OWN' }))
  await finished(run, agent, req)
})

parity('end_of_the_socket_by_its_user_half_closes_alike', async (run) => {
  const server = await run.scripted((socket) => {
    socket.on('end', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx'))
  }, { allowHalfOpen: true })
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await once(req, 'finish')
  req.socket.end()
  await finished(run, agent, req)
}, { order: 'entity' })

parity('set_timeout_of_the_request_fires_alike', async (run) => {
  const server = await silent(run)
  const agent = run.agent()
  const req = run.request('a', to(server, agent))
  req.setTimeout(50, () => run.note('a req timeout callback', `socket=${req.socket.timeout}`))
  req.end()
  req.on('timeout', () => req.destroy())
  await finished(run, agent, req)
})

parity('timeout_option_of_the_request_fires_alike', async (run) => {
  const server = await silent(run)
  const agent = run.agent()
  const req = run.get('a', to(server, agent, { timeout: 50 }))
  req.on('timeout', () => req.destroy())
  await finished(run, agent, req)
})

parity('timeout_option_of_the_agent_fires_alike', async (run) => {
  const server = await silent(run)
  const agent = run.agent({ timeout: 50 })
  const req = run.get('a', to(server, agent))
  req.on('timeout', () => req.destroy())
  await finished(run, agent, req)
})

parity('timeout_in_the_middle_of_the_response_fires_alike', async (run) => {
  const server = await silent(run)
  const agent = run.agent()
  const req = run.get('a', to(server, agent, { path: '/half', timeout: 50 }))
  req.on('timeout', () => req.destroy())
  await finished(run, agent, req)
})

parity('timeout_that_is_only_watched_lets_the_response_come', async (run) => {
  let answer
  const server = await run.http((req, res) => { answer = () => res.end('late') })
  const agent = run.agent()
  const req = run.get('a', to(server, agent, { timeout: 30 }))
  req.on('timeout', () => answer())
  await finished(run, agent, req)
})

parity('timeout_of_a_lookup_that_never_answers_fires_alike', async (run) => {
  const agent = run.agent()
  const req = run.get('a', { host: 'some.test', port: 80, agent, timeout: 50, lookup: () => {} })
  req.on('timeout', () => req.destroy())
  await finished(run, agent, req)
})

parity('timeout_of_one_request_does_not_reach_the_next_on_its_socket', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  for (const [name, timeout] of [['a', 10_000], ['b', undefined], ['c', 20_000], ['d', 0]]) {
    const req = run.get(name, to(server, agent, { timeout }), {
      respond: (res) => {
        run.note(name, 'socket timeout', req.socket.timeout, 'listeners', req.socket.listenerCount('timeout'))
        res.resume()
      }
    })
    await run.done(req)
    await run.released(req.socket)
  }
})

parity('queued_request_with_a_timeout_starts_its_clock_alike', async (run) => {
  const waiting = []
  const server = await run.http((req, res) => waiting.push(res))
  const agent = run.agent({ maxSockets: 1 })
  run.get('a', to(server, agent))
  const queued = run.get('b', to(server, agent, { timeout: 50 }))
  queued.on('timeout', () => queued.destroy())
  await until(() => waiting.length === 1)
  await turns(3)
  waiting[0].end('x')
  await run.done()
}, { order: 'entity' })

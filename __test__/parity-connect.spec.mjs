// Connecting: refusals, names, lookups, paths, local addresses, families.
import http from 'node:http'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parity } from './support/parity.mjs'
import { refusedPort } from './support/servers.mjs'
import { turns, until } from './support/wait.mjs'

const plain = (req, res) => res.end('x')

const finished = async (run, agent, req) => {
  await run.done()
  if (req.socket) await run.released(req.socket)
  run.pool(agent, 'done')
}

parity('refused_port_of_127_0_0_1_fails_alike', async (run) => {
  const port = await refusedPort()
  run.mask(port, '<port>')
  const agent = run.agent()
  const req = run.get('a', { host: '127.0.0.1', port, agent })
  run.pool(agent, 'requested')
  await finished(run, agent, req)
})

parity('refused_port_fails_the_next_request_too', async (run) => {
  const port = await refusedPort()
  run.mask(port, '<port>')
  const agent = run.agent({ maxSockets: 1 })
  run.get('a', { host: '127.0.0.1', port, agent })
  run.get('b', { host: '127.0.0.1', port, agent })
  await run.done()
  run.pool(agent, 'done')
}, { order: 'entity' })

parity('refused_post_with_a_body_fails_alike', async (run) => {
  const port = await refusedPort()
  run.mask(port, '<port>')
  const agent = run.agent()
  const req = run.request('a', { host: '127.0.0.1', port, agent, method: 'POST' })
  req.write('begin')
  req.end('end', () => run.note('a req end called back'))
  await finished(run, agent, req)
})

parity('refused_port_of_localhost_fails_alike', async (run) => {
  const port = await refusedPort()
  run.mask(port, '<port>')
  const agent = run.agent()
  const req = run.get('a', { host: 'localhost', port, agent, family: 4 })
  await finished(run, agent, req)
})

parity('refused_port_of_both_families_fails_alike', async (run) => {
  const port = await refusedPort()
  run.mask(port, '<port>')
  const agent = run.agent()
  const lookup = (host, options, found) => {
    found(null, [{ address: '127.0.0.1', family: 4 }, { address: '127.0.0.2', family: 4 }])
  }
  const req = run.get('a', { host: 'two.test', port, agent, lookup, autoSelectFamily: true })
  req.on('error', (error) => {
    for (const one of error.errors ?? []) run.note('inner', run.describe(one))
  })
  await finished(run, agent, req)
})

parity('localhost_resolves_and_answers_alike', async (run) => {
  const server = await run.http(plain)
  const agent = run.agent()
  const req = run.get('a', { host: 'localhost', port: server.port, agent, family: 4 })
  await finished(run, agent, req)
})

for (const [how, answer] of [
  ['one_address', (options, found) => found(null, '127.0.0.1', 4)],
  ['one_address_later', (options, found) => setImmediate(found, null, '127.0.0.1', 4)],
  ['all_addresses', (options, found) => found(null, [{ address: '127.0.0.1', family: 4 }])],
]) {
  parity(`lookup_callback_with_${how}_connects_alike`, async (run) => {
    const server = await run.http(plain)
    const agent = run.agent()
    const all = how === 'all_addresses'
    const lookup = (host, options, found) => {
      run.note('lookup called', host, `family=${options.family} hints=${options.hints} all=${options.all}`)
      answer(options, found)
    }
    const req = run.get('a', { host: 'some.test', port: server.port, agent, lookup, autoSelectFamily: all })
    run.pool(agent, 'requested')
    await finished(run, agent, req)
  })
}

parity('lookup_callback_that_follows_options_all_connects_alike', async (run) => {
  const server = await run.http(plain)
  const agent = run.agent()
  const lookup = (host, options, found) => {
    run.note('lookup called', host, `all=${options.all}`)
    if (options.all) found(null, [{ address: '127.0.0.1', family: 4 }])
    else found(null, '127.0.0.1', 4)
  }
  const req = run.get('a', { host: 'some.test', port: server.port, agent, lookup })
  await finished(run, agent, req)
})

parity('lookup_of_the_agent_options_is_called', async (run) => {
  const server = await run.http(plain)
  const lookup = (host, options, found) => {
    run.note('lookup called', host)
    return options.all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4)
  }
  const agent = run.agent({ lookup })
  const req = run.get('a', { host: 'agent.test', port: server.port, agent })
  await finished(run, agent, req)
})

const notFound = (host) => Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), {
  code: 'ENOTFOUND', errno: -3008, syscall: 'getaddrinfo', hostname: host
})

for (const [how, answer] of [
  ['not_found', (host, found) => found(notFound(host))],
  ['not_found_later', (host, found) => setImmediate(found, notFound(host))],
  ['an_own_error', (host, found) => process.nextTick(found, new Error('lookup broke'))],
  ['an_invalid_address', (host, found) => found(null, 'not an address', 4)],
  ['an_invalid_family', (host, found) => found(null, '127.0.0.1', 100)],
  ['no_address', (host, found) => found(null, undefined)],
]) {
  parity(`lookup_callback_with_${how}_fails_alike`, async (run) => {
    const agent = run.agent()
    const lookup = (host, options, found) => answer(host, found)
    // With autoSelectFamily on, Node itself throws a TypeError at some of these.
    const autoSelectFamily = how.startsWith('not_found')
    const req = run.get('a', { host: 'some.test', port: 80, agent, lookup, autoSelectFamily })
    await finished(run, agent, req)
  })
}

parity('lookup_that_never_answers_ends_with_destroy', async (run) => {
  const agent = run.agent()
  const req = run.get('a', { host: 'some.test', port: 80, agent, lookup: () => run.note('lookup called') })
  await turns(3)
  run.pool(agent, 'waiting')
  req.destroy()
  await finished(run, agent, req)
})

parity('lookup_answer_after_destroy_is_ignored', async (run) => {
  const server = await run.http(plain)
  const agent = run.agent()
  let found
  const lookup = (host, options, callback) => { found = callback }
  const req = run.get('a', { host: 'some.test', port: server.port, agent, lookup, autoSelectFamily: false })
  await until(() => found)
  req.destroy(new Error('enough'))
  found(null, '127.0.0.1', 4)
  await run.done()
  run.note('accepted', server.accepted.length)
})

parity('name_that_cannot_exist_fails_alike', async (run) => {
  // An empty label: the resolver refuses it without asking the network.
  const agent = run.agent()
  const req = run.get('a', { host: 'no..where', port: 80, agent })
  await finished(run, agent, req)
})

parity('socket_path_connects_alike', async (run) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-'))
  const path = join(folder, 'server.sock')
  run.mask(path, '<path>')
  try {
    await run.http(plain, { listen: { path } })
    const agent = run.agent()
    for (const name of ['a', 'b']) {
      const req = run.get(name, { socketPath: path, agent })
      run.pool(agent, 'requested')
      await finished(run, agent, req)
      run.note('remote', req.socket.remoteAddress, req.socket.remotePort)
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})

parity('abstract_socket_path_connects_alike', async (run) => {
  const path = `\0holdfast-${process.pid}`
  run.mask(path, '<path>')
  await run.http(plain, { listen: { path } })
  const agent = run.agent()
  const req = run.get('a', { socketPath: path, agent })
  await finished(run, agent, req)
}, process.platform === 'linux' ? {} : { skip: 'abstract sockets exist on Linux only' })

parity('socket_path_that_does_not_exist_fails_alike', async (run) => {
  const path = join(tmpdir(), `holdfast-none-${process.pid}.sock`)
  run.mask(path, '<path>')
  const agent = run.agent()
  const req = run.get('a', { socketPath: path, agent })
  await finished(run, agent, req)
})

parity('local_address_is_bound', async (run) => {
  const server = await run.http((req, res) => res.end(req.socket.remoteAddress))
  const agent = run.agent()
  const req = run.get('a', { host: '127.0.0.1', port: server.port, agent, localAddress: '127.0.0.3' })
  run.pool(agent, 'requested')
  await run.done()
  run.note('local', req.socket.localAddress, 'seen', server.accepted[0].remoteAddress)
  await finished(run, agent, req)
})

parity('local_address_of_another_machine_fails_alike', async (run) => {
  const server = await run.http(plain)
  const agent = run.agent()
  // Node binds on the loop, so its socket is gone before the request hears of it: only the outcome is compared.
  const req = http.get({ host: '127.0.0.1', port: server.port, agent, localAddress: '192.0.2.1' })
  req.on('error', (error) => run.note('error', run.describe(error)))
  await new Promise((resolve) => req.once('close', resolve))
  await until(() => agent.totalSocketCount === 0)
  run.pool(agent, 'done')
})

parity('local_port_is_bound', async (run) => {
  const server = await run.http(plain)
  const localPort = await refusedPort()
  run.mask(localPort, '<local>')
  const agent = run.agent()
  const req = run.get('a', { host: '127.0.0.1', port: server.port, agent, localPort })
  await run.done()
  run.note('local port', server.accepted[0].remotePort, req.socket.localPort)
  await finished(run, agent, req)
})

parity('family_6_reaches_a_server_on_the_ipv6_loopback', async (run) => {
  const server = await run.http(plain, { listen: { host: '::1', port: 0 } })
  const agent = run.agent()
  const lookup = (host, options, found) => {
    run.note('lookup called', `family=${options.family}`)
    if (options.all) found(null, [{ address: '::1', family: 6 }])
    else found(null, '::1', 6)
  }
  const req = run.get('a', { host: 'six.test', port: server.port, agent, family: 6, lookup })
  run.pool(agent, 'requested')
  await finished(run, agent, req)
  run.note('family', req.socket.remoteFamily)
})

parity('ipv6_literal_connects_alike', async (run) => {
  const server = await run.http(plain, { listen: { host: '::1', port: 0 } })
  const agent = run.agent()
  const req = run.get('a', { host: '::1', port: server.port, agent })
  run.pool(agent, 'requested')
  await finished(run, agent, req)
})

parity('port_out_of_range_throws_alike', async (run) => {
  const agent = run.agent()
  for (const port of [65536, -1, 1.5, 'x']) {
    try {
      run.get('a', { host: '127.0.0.1', port, agent })
      run.note('no throw', port)
    } catch (error) {
      run.note('threw', run.describe(error))
    }
  }
})

parity('agent_of_another_protocol_is_refused_alike', async (run) => {
  const agent = run.agent()
  try {
    run.request('a', { protocol: 'https:', host: '127.0.0.1', port: 1, agent })
  } catch (error) {
    run.note('threw', run.describe(error))
  }
})

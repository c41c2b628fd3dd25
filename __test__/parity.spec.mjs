// Exchanges: what a program sees of requests and responses that go well.
import http from 'node:http'
import { ok } from './support/servers.mjs'
import { parity } from './support/parity.mjs'

const to = (server, agent, more) => ({ host: '127.0.0.1', port: server.port, agent, ...more })

parity('get_alone_has_the_same_events', async (run) => {
  const server = await run.http((req, res) => res.end('hello'))
  const agent = run.agent()
  run.pool(agent, 'before')
  const req = run.get('a', to(server, agent))
  run.pool(agent, 'requested')
  await run.done()
  run.pool(agent, 'after close')
  await run.released(req.socket)
  run.pool(agent, 'released')
})

parity('gets_in_sequence_reuse_the_socket', async (run) => {
  const server = await run.http((req, res) => res.end(req.url))
  const agent = run.agent()
  for (const name of ['a', 'b', 'c']) {
    const req = run.get(name, to(server, agent, { path: `/${name}` }))
    run.pool(agent, `${name} requested`)
    await run.done(req)
    await run.released(req.socket)
    run.pool(agent, `${name} released`)
  }
  run.note('accepted', server.accepted.length)
})

parity('head_of_any_length_arrives_whole', async (run) => {
  const server = await run.http((req, res) => res.end(`${req.url.length} ${req.url.at(-1)}`))
  const agent = run.agent()
  const lengths = [...Array.from({ length: 160 }, (_, n) => 1920 + n), 12_000]
  for (const length of lengths) {
    const req = run.get(`${length}`, to(server, agent, { path: `/${'x'.repeat(length)}z` }))
    await run.done(req)
    await run.released(req.socket)
  }
})

parity('request_made_in_the_end_listener_of_another_opens_or_reuses_alike', async (run) => {
  const server = await run.http((req, res) => res.end('x'.repeat(100)))
  const agent = run.agent()
  const second = new Promise((resolve) => {
    run.get('a', to(server, agent), {
      respond: (res) => res.resume().on('end', () => {
        run.pool(agent, 'in end')
        resolve(run.get('b', to(server, agent)))
      })
    })
  })
  const req = await second
  await run.done(req)
  await run.released(req.socket)
  run.note('accepted', server.accepted.length)
})

parity('request_made_in_the_close_listener_of_another_opens_or_reuses_alike', async (run) => {
  const server = await run.http((req, res) => res.end('x'))
  const agent = run.agent()
  const second = new Promise((resolve) => {
    run.get('a', to(server, agent)).on('close', () => {
      run.pool(agent, 'in close')
      resolve(run.get('b', to(server, agent)))
    })
  })
  const req = await second
  await run.done(req)
  await run.released(req.socket)
  run.note('accepted', server.accepted.length)
})

parity('post_with_content_length_has_the_same_events_and_wire', async (run) => {
  const server = await run.http((req, res) => {
    run.wire.push([req.method, ...req.rawHeaders].map((word) => word.replace(/:\d+$/, ':<port>')))
    req.pipe(res)
  })
  const agent = run.agent()
  const req = run.request('a', to(server, agent, { method: 'POST', headers: { 'Content-Length': 5 } }))
  req.end('12345')
  await run.done()
  await run.released(req.socket)
})

parity('post_chunked_both_ways_has_the_same_events_and_wire', async (run) => {
  const server = await run.http((req, res) => {
    run.wire.push([req.method, ...req.rawHeaders].map((word) => word.replace(/:\d+$/, ':<port>')))
    req.pipe(res)
  })
  const agent = run.agent()
  for (const name of ['a', 'b']) {
    const req = run.request(name, to(server, agent, { method: 'POST' }))
    req.write('one ')
    req.write('two ', () => run.note(name, 'req', 'second write called back'))
    req.end('three', () => run.note(name, 'req', 'end called back'))
    await run.done(req)
    await run.released(req.socket)
  }
})

parity('post_of_4_mib_echoed_has_the_same_events', async (run) => {
  const server = await run.http((req, res) => req.pipe(res))
  const agent = run.agent()
  const req = run.request('a', to(server, agent, { method: 'POST' }))
  req.end(Buffer.alloc(4 << 20, 'x'))
  await run.done()
  await run.released(req.socket)
}, { order: 'entity' })

for (const [method, status] of [['HEAD', 200], ['GET', 204], ['GET', 304], ['DELETE', 205], ['OPTIONS', 200]]) {
  parity(`${method.toLowerCase()}_answered_${status}_keeps_the_socket_alike`, async (run) => {
    const server = await run.http((req, res) => {
      run.wire.push(req.rawHeaders.map((word) => word.replace(/:\d+$/, ':<port>')))
      res.writeHead(status, status === 200 ? { 'Content-Length': 5 } : {})
      res.end(status === 200 && method !== 'HEAD' ? '12345' : undefined)
    })
    const agent = run.agent()
    for (const name of ['a', 'b']) {
      const req = run.get(name, to(server, agent, { method }))
      await run.done(req)
      await run.released(req.socket)
      run.pool(agent, `${name} released`)
    }
  })
}

parity('informational_responses_are_told_one_by_one', async (run) => {
  const server = await run.http((req, res) => {
    res.writeProcessing()
    res.writeEarlyHints({ link: '</style.css>; rel=preload' })
    res.writeEarlyHints({ link: '</script.js>; rel=preload' })
    res.end('done')
  })
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await run.done()
  await run.released(req.socket)
})

parity('storm_of_200_informational_responses_passes', async (run) => {
  const server = await run.scripted((socket) => {
    socket.write('HTTP/1.1 102 Processing\r\n\r\n'.repeat(200) + ok('end'))
  })
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await run.done()
  await run.released(req.socket)
  run.pool(agent, 'released')
})

parity('expect_100_continue_granted_sends_the_body_after_continue', async (run) => {
  const server = await run.http((req, res) => req.pipe(res))
  server.on('checkContinue', (req, res) => {
    res.writeContinue()
    req.pipe(res)
  })
  const agent = run.agent()
  const headers = { Expect: '100-continue' }
  const req = run.request('a', to(server, agent, { method: 'POST', headers }))
  req.on('continue', () => req.end('body'))
  req.flushHeaders()
  await run.done()
  await run.released(req.socket)
  run.pool(agent, 'released')
})

parity('expect_100_continue_refused_ends_alike', async (run) => {
  const server = await run.http(() => {})
  server.on('checkContinue', (req, res) => {
    res.writeHead(417, { Connection: 'close' })
    res.end('no')
  })
  const agent = run.agent()
  const headers = { Expect: '100-continue', 'Content-Length': 4 }
  const req = run.request('a', to(server, agent, { method: 'POST', headers }))
  req.flushHeaders()
  await run.done()
  await run.released(req.socket)
  run.pool(agent, 'after')
})

parity('trailers_pass_both_ways', async (run) => {
  const server = await run.http((req, res) => {
    req.resume().on('end', () => {
      run.wire.push(req.rawTrailers)
      res.writeHead(200, { Trailer: 'X-Sum' })
      res.write('part')
      res.addTrailers({ 'X-Sum': '4' })
      res.end()
    })
  })
  const agent = run.agent()
  const req = run.request('a', to(server, agent, { method: 'POST', headers: { Trailer: 'X-Up' } }))
  req.write('body')
  req.addTrailers({ 'X-Up': '1' })
  req.end()
  await run.done()
  await run.released(req.socket)
})

parity('connection_close_of_the_server_closes_the_socket_alike', async (run) => {
  const server = await run.http((req, res) => {
    res.setHeader('Connection', 'close')
    res.end('bye')
  })
  const agent = run.agent()
  for (const name of ['a', 'b']) {
    const req = run.get(name, to(server, agent))
    await run.done(req)
    await run.released(req.socket)
    run.pool(agent, `${name} released`)
  }
})

parity('connection_close_of_the_client_closes_the_socket_alike', async (run) => {
  const server = await run.http((req, res) => {
    run.wire.push(req.headers.connection)
    res.end('bye')
  })
  const agent = run.agent()
  for (const name of ['a', 'b']) {
    const req = run.get(name, to(server, agent, { headers: { Connection: 'close' } }))
    await run.done(req)
    await run.released(req.socket)
    run.pool(agent, `${name} released`)
  }
})

parity('http_1_0_body_until_close_ends_alike', async (run) => {
  const server = await run.scripted((socket) => socket.end('HTTP/1.0 200 OK\r\n\r\nuntil the end'))
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await run.done()
  await run.released(req.socket)
  run.pool(agent, 'after')
}, { order: 'entity' })

parity('http_1_0_with_keep_alive_is_kept_or_not_alike', async (run) => {
  const server = await run.scripted((socket) => {
    socket.write('HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok')
  })
  const agent = run.agent()
  for (const name of ['a', 'b']) {
    const req = run.get(name, to(server, agent))
    await run.done(req)
    await run.released(req.socket)
    run.pool(agent, `${name} released`)
  }
})

parity('agent_without_keep_alive_closes_after_each_response', async (run) => {
  const server = await run.http((req, res) => {
    run.wire.push(req.headers.connection)
    res.end('x')
  })
  const agent = run.agent({ keepAlive: false })
  for (const name of ['a', 'b']) {
    const req = run.get(name, to(server, agent))
    await run.done(req)
    await run.released(req.socket)
    run.pool(agent, `${name} released`)
  }
})

parity('agent_without_keep_alive_but_max_sockets_serves_its_queue_alike', async (run) => {
  const server = await run.http((req, res) => {
    run.wire.push(req.headers.connection)
    res.end('x')
  })
  const agent = run.agent({ keepAlive: false, maxSockets: 1 })
  for (const name of ['a', 'b', 'c']) run.get(name, to(server, agent, { path: `/${name}` }))
  run.pool(agent, 'requested')
  await run.done()
  run.note('accepted', server.accepted.length)
})

parity('response_left_unread_holds_its_socket', async (run) => {
  const server = await run.http((req, res) => res.end('x'.repeat(1000)))
  const agent = run.agent()
  let unread
  const responded = new Promise((resolve) => {
    run.get('a', to(server, agent), { respond: (res) => { unread = res; resolve() } })
  })
  await responded
  run.pool(agent, 'unread')
  const other = run.get('b', to(server, agent))
  await run.done(other)
  unread.resume()
  await run.done()
  await run.released(other.socket)
  run.note('accepted', server.accepted.length)
}, { order: 'entity' })

parity('response_without_a_listener_is_dumped_and_its_socket_kept', async (run) => {
  const server = await run.http((req, res) => res.end('x'.repeat(100_000)))
  const agent = run.agent()
  const req = http.get(to(server, agent))
  await new Promise((resolve) => req.once('close', resolve))
  await run.released(req.socket)
  run.pool(agent, 'released')
})

// Servers that misbehave on a fresh connection. (What a reused connection's death brings is holdfast's own: replay.)
import http from 'node:http'
import { isSecure } from './support/agents.mjs'
import { once, turns, until } from './support/wait.mjs'
import { ok } from './support/servers.mjs'
import { parity } from './support/parity.mjs'

const to = (server, agent, more) => ({ host: '127.0.0.1', port: server.port, agent, ...more })

const finished = async (run, agent, req) => {
  await run.done()
  if (req.socket) await run.released(req.socket)
  run.pool(agent, 'done')
}

const END_COMES_WITH_BYTES = 'over TLS the end comes in the same bytes as the answer, and is told a turn later'
const HALF_HEAD = 'HTTP/1.1 200 OK\r\nContent-Le'
const HALF_BODY = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'
const HALF_CHUNK = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n10\r\nno'
const UNTIL_CLOSE = 'HTTP/1.1 200 OK\r\n\r\nuntil the end'

for (const [way, end] of [
  ['reset', (socket) => socket.resetAndDestroy()],
  ['fin', (socket) => socket.end()],
]) {
  parity(`${way}_instead_of_a_response_fails_alike`, async (run) => {
    const server = await run.scripted((socket) => end(socket))
    const agent = run.agent()
    const req = run.get('a', to(server, agent))
    await finished(run, agent, req)
  })

  parity(`${way}_instead_of_a_response_to_a_post_fails_alike`, async (run) => {
    const server = await run.scripted((socket) => socket.once('data', () => end(socket)))
    const agent = run.agent()
    const req = run.request('a', to(server, agent, { method: 'POST' }))
    req.flushHeaders()
    await once(req.socket ?? (await once(req, 'socket'))[0], 'connect')
    await turns(3)
    req.end('body')
    await finished(run, agent, req)
  }, { order: 'entity' })

  for (const [moment, text] of Object.entries({ HALF_HEAD, HALF_BODY, HALF_CHUNK, UNTIL_CLOSE })) {
    const name = moment.toLowerCase()
    parity(`${way}_after_${name}_ends_alike`, async (run) => {
      const server = await run.scripted((socket) => socket.write(text))
      const agent = run.agent()
      const req = run.get('a', to(server, agent))
      await until(() => req.socket?.bytesRead === text.length)
      await turns(2)
      end(server.accepted[0])
      await finished(run, agent, req)
    })

    parity(`${way}_together_with_${name}_ends_alike`, async (run) => {
      const server = await run.scripted((socket) => {
        socket.write(text)
        end(socket)
      })
      const agent = run.agent()
      const req = run.get('a', to(server, agent))
      await finished(run, agent, req)
    }, { order: 'entity', plain: way === 'reset' && 'over TLS a reset behind bytes is told as a reset on every Node' })
  }

  parity(`${way}_of_an_idle_socket_takes_it_out_of_the_pool_alike`, async (run) => {
    const server = await run.http((req, res) => res.end('x'))
    const agent = run.agent()
    const req = run.get('a', to(server, agent))
    await run.done()
    await run.released(req.socket)
    end(server.accepted[0])
    await until(() => req.socket.closed)
    run.pool(agent, 'closed')
    const next = run.get('b', to(server, agent))
    await finished(run, agent, next)
  })
}

parity('fin_on_accept_fails_alike', async (run) => {
  const server = await run.raw((socket) => socket.end())
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await finished(run, agent, req)
}, { order: 'entity' })

parity('reset_on_accept_fails_with_econnreset', async (run) => {
  // Whether connect, read or write meets the reset is the kernel's race, so `syscall` and message are not compared.
  const server = await run.raw((socket) => socket.resetAndDestroy())
  const agent = run.agent()
  const req = http.get(to(server, agent))
  const [error] = await once(req, 'error')
  run.note('code', error.code)
  await once(req, 'close')
  await turns(3)
  run.pool(agent, 'done')
}, { plain: 'over TLS the reset comes after the handshake' })

for (const [what, text] of Object.entries({
  garbage: 'this is no HTTP\r\n\r\n',
  binary: '\x16\x03\x01\x02\x00\x01\x00',
  a_bad_status: 'HTTP/1.1 2x0 OK\r\n\r\n',
  a_bad_version: 'HTTP/9.9 200 OK\r\n\r\n',
  a_bad_header: 'HTTP/1.1 200 OK\r\nBad Header\x01: x\r\n\r\n',
  a_bad_length: 'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n',
  two_lengths: 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx',
  length_and_chunked: 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  a_bad_chunk_size: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  a_bare_line_feed: 'HTTP/1.1 200 OK\nContent-Length: 1\n\nx',
  an_http_2_preface: '\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64',
})) {
  parity(`response_of_${what}_fails_alike`, async (run) => {
    const server = await run.scripted((socket) => socket.write(Buffer.from(text, 'latin1')))
    const agent = run.agent()
    const req = run.get('a', to(server, agent))
    await finished(run, agent, req)
  })
}

parity('response_header_of_1_mib_fails_alike', async (run) => {
  const server = await run.scripted((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nX-Big: ${'x'.repeat(1 << 20)}\r\nContent-Length: 1\r\n\r\nx`)
  })
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  const code = once(req, 'error').then(([error]) => run.note('code', error.code))
  await finished(run, agent, req)
  await code
}, { order: 'entity' })

parity('max_header_size_of_the_request_is_honoured', async (run) => {
  const server = await run.scripted((socket) => socket.write(ok('x', `X-Big: ${'x'.repeat(100_000)}\r\n`)))
  const agent = run.agent()
  const req = run.get('a', to(server, agent, { maxHeaderSize: 1 << 20 }))
  await finished(run, agent, req)
})

parity('insecure_http_parser_is_honoured', async (run) => {
  const server = await run.scripted((socket) => socket.write(ok('x', 'X-Odd: a\x01b\r\n')))
  const agent = run.agent()
  for (const insecureHTTPParser of [true, false]) {
    const req = run.get(`insecure=${insecureHTTPParser}`, to(server, agent, { insecureHTTPParser }))
    await run.done(req)
    await run.released(req.socket)
  }
})

parity('fin_right_after_a_whole_response_is_no_failure', async (run) => {
  const server = await run.scripted((socket) => socket.end(ok('whole')))
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await finished(run, agent, req)
}, { order: 'entity', plain: END_COMES_WITH_BYTES })

parity('response_in_single_bytes_is_joined_alike', async (run) => {
  const server = await run.scripted(async (socket) => {
    for (const byte of ok('whole')) await new Promise((resolve) => socket.write(byte, () => setImmediate(resolve)))
  })
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await finished(run, agent, req)
})

parity('response_before_the_request_body_is_sent_ends_alike', async (run) => {
  const server = await run.scripted((socket) => socket.write(ok('early')))
  const agent = run.agent()
  const req = run.request('a', to(server, agent, { method: 'POST' }))
  req.write('part')
  await once(req, 'response')
  await turns(3)
  run.pool(agent, 'answered')
  req.end('rest')
  await finished(run, agent, req)
})

parity('response_and_fin_before_the_request_body_is_sent_ends_alike', async (run) => {
  const server = await run.scripted((socket) => socket.end(ok('early', 'Connection: close\r\n')))
  const agent = run.agent()
  const req = run.request('a', to(server, agent, { method: 'POST' }))
  req.write('part')
  await finished(run, agent, req)
}, { order: 'entity', plain: END_COMES_WITH_BYTES })

parity('two_responses_to_one_request_end_alike', async (run) => {
  const server = await run.scripted((socket) => socket.write(ok('one') + ok('two')))
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await run.done()
  await until(() => req.socket.closed)
  run.pool(agent, 'done')
}, { order: 'entity' })

parity('extra_bytes_after_the_body_end_alike', async (run) => {
  const server = await run.scripted((socket) => socket.write(ok('one') + 'more'))
  const agent = run.agent()
  const req = run.get('a', to(server, agent))
  await run.done()
  await until(() => req.socket.closed)
  run.pool(agent, 'done')
}, { order: 'entity' })

parity('unasked_upgrade_without_a_listener_destroys_the_socket_alike', async (run) => {
  const server = await run.scripted((socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\nhead')
  })
  const agent = run.agent()
  const headers = { Connection: 'Upgrade', Upgrade: 'odd' }
  const req = run.get('a', to(server, agent, { headers }))
  await finished(run, agent, req)
})

for (const [method, status, event] of [
  ['GET', '101 Switching Protocols', 'upgrade'],
  ['CONNECT', '200 OK', 'connect'],
]) {
  parity(`${event}_hands_the_socket_over_alike`, async (run) => {
    const server = await run.scripted((socket) => {
      const upgrade = event === 'upgrade' ? 'Connection: Upgrade\r\nUpgrade: odd\r\n' : ''
      socket.write(`HTTP/1.1 ${status}\r\n${upgrade}\r\nhead`)
      socket.removeAllListeners('data').on('data', (chunk) => socket.write(chunk))
    })
    const agent = run.agent()
    const headers = event === 'upgrade' ? { Connection: 'Upgrade', Upgrade: 'odd' } : {}
    const path = event === 'upgrade' ? '/' : 'elsewhere:80'
    const req = run.get('a', to(server, agent, { method, path, headers }), { handover: true })
    const [, socket] = await once(req, event)
    run.pool(agent, 'handed over')
    // A TLSSocket of Node's own listens to its own end.
    const events = ['data', 'end', 'error', ...isSecure ? [] : ['close'], 'drain', 'timeout']
    run.note('listeners', events.map((name) =>
      `${name}=${socket.listenerCount(name)}`))
    socket.write('ping')
    const [chunk] = await once(socket, 'data')
    run.note('echo', chunk)
    socket.end()
    await finished(run, agent, req)
    await until(() => socket.closed)
    run.pool(agent, 'closed')
  }, { order: 'entity' })

  parity(`${event}_refused_is_an_ordinary_response_alike`, async (run) => {
    const server = await run.scripted((socket) => socket.write('HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno'))
    const agent = run.agent()
    const headers = event === 'upgrade' ? { Connection: 'Upgrade', Upgrade: 'odd' } : {}
    const path = event === 'upgrade' ? '/' : 'elsewhere:80'
    const req = run.get('a', to(server, agent, { method, path, headers }), { handover: true })
    await run.done(req)
    await turns(5)
    run.pool(agent, 'done')
    req.socket?.destroy()
  })
}

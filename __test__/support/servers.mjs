// Loopback servers on free ports. Each knows the sockets it accepted, so that a test can count and destroy them.
import http from 'node:http'
import net from 'node:net'

const HEAD_END = '\r\n\r\n'

export const track = (server) => {
  server.accepted = []
  server.open = new Set()
  server.on('connection', (socket) => {
    server.accepted.push(socket)
    server.open.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => server.open.delete(socket))
  })
  server.stop = () => new Promise((resolve) => {
    server.close(() => resolve())
    for (const socket of server.open) socket.destroy()
  })
}

export const listen = (server, where) => new Promise((resolve, reject) => {
  server.once('error', reject)
  server.listen(where, () => {
    const address = server.address()
    if (typeof address === 'object') Object.assign(server, { host: address.address, port: address.port })
    resolve(server)
  })
})

/** An `http.Server`; `options` are its own plus `listen`. */
export const httpServer = async (handler, { listen: where = { port: 0, host: '127.0.0.1' }, ...options } = {}) => {
  const server = http.createServer(options, handler)
  track(server)
  return listen(server, where)
}

/** A `net.Server`; `handler(socket, n)` with n counting from 1. */
export const rawServer = async (handler, { listen: where = { port: 0, host: '127.0.0.1' }, ...options } = {}) => {
  const server = net.createServer({ noDelay: true, ...options })
  track(server)
  server.on('connection', (socket) => handler(socket, server.accepted.length))
  return listen(server, where)
}

/** Answers each request head on every connection with `answer(socket, head, n)`; heads may come in pieces. */
export const scripted = (answer, options) => rawServer((socket, connection) => {
  let text = ''
  let count = 0
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
    for (let end = text.indexOf(HEAD_END); end !== -1; end = text.indexOf(HEAD_END)) {
      const head = text.slice(0, end)
      text = text.slice(end + HEAD_END.length)
      answer(socket, head, { connection, request: ++count })
    }
  })
}, options)

/** A port of 127.0.0.1 on which nothing listens. */
export const refusedPort = async () => {
  const server = await rawServer(() => {})
  await server.stop()
  return server.port
}

/** A server for `within` whose every answer has these header lines. */
export const hinting = (headers) => () => scripted((socket) => socket.write(ok('x', headers)))

/** The head and body of a plain 200 answer. */
export const ok = (body = 'ok', headers = '') =>
  `HTTP/1.1 200 OK\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

// The memory case's server, a process of its own: it answers nobody until all have asked, so that no connection can be
// used twice, and then keeps every connection open.
import net from 'node:net'
import tls from 'node:tls'

const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const { connections: expected, key, cert } = JSON.parse(process.argv[2])
const waiting = []

const hold = (socket) => {
  let text = ''
  socket.setEncoding('latin1')
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    text += chunk
    if (!text.endsWith('\r\n\r\n')) return
    text = ''
    waiting.push(socket)
    if (waiting.length === expected) for (const one of waiting.splice(0)) one.write(ANSWER)
  })
}

const server = cert ? tls.createServer({ key, cert }, hold) : net.createServer(hold)
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => process.send({ port: server.address().port }))
process.on('message', () => server.getConnections((_, open) => process.send({ open })))
process.on('disconnect', () => process.exit())

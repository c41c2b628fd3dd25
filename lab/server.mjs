// A server of fixtures/catalogue.json in a process of its own. It tells its port, then does what it is asked:
// `{ ask: 'executed' | 'ports' | 'restart' | 'down' }`. Its arguments: the server's name and, for TLS, `{ key, cert }` as JSON.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import { Player, reset } from './player.mjs'

const catalogue = JSON.parse(readFileSync(new URL('../fixtures/catalogue.json', import.meta.url), 'utf8'))
const { connections, then } = catalogue.servers[process.argv[2]]

const identity = JSON.parse(process.argv[3] ?? 'null')

process.once('disconnect', () => process.exit())

/** How often each request that must not be executed twice was read to its end, by its id. */
const executed = new Map()
const open = new Set()
let accepted = 0

const options = { allowHalfOpen: true, noDelay: true }
const serving = identity ? tls.createServer.bind(tls, { ...options, ...identity }) : net.createServer.bind(net, options)
const server = serving((socket) => {
  const steps = connections[then === 'repeat' ? Math.min(accepted, connections.length - 1) : accepted]
  accepted++
  open.add(socket)
  socket.on('error', () => {}) // the client may do what it likes
  socket.on('close', () => open.delete(socket))
  if (!steps) return reset(socket)
  new Player(socket, steps, (id) => executed.set(id, (executed.get(id) ?? 0) + 1)).play()
})

server.on('tlsClientError', () => {})

const listen = async (port) => {
  server.listen({ port, host: '127.0.0.1', backlog: 1024 })
  await once(server, 'listening')
  return server.address().port
}

const close = async () => {
  const closed = once(server, 'close')
  server.close()
  for (const socket of open) socket.destroy()
  await closed
}

const port = await listen(0)
const answers = {
  executed: () => [...executed.values()],
  ports: () => [...open].map((socket) => socket.remotePort),
  down: close,
  async restart () {
    await close()
    await listen(port)
  }
}
process.on('message', async ({ ask }) => process.send({ answer: await answers[ask]() ?? null }))
process.send({ port })

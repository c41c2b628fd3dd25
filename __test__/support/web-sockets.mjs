// WebSockets that echo.
import assert from 'node:assert/strict'
import { WebSocketServer } from 'ws'
import { once } from './wait.mjs'

const MIB = 1 << 20

/** Has an HTTP server echo WebSocket messages. */
export const webSockets = (server) => {
  const sockets = new WebSocketServer({ server, maxPayload: 8 * MIB })
  sockets.on('connection', (socket) => {
    socket.on('message', (data, binary) => socket.send(data, { binary }))
  })
  return server
}

/** What comes back for a message. */
export const talk = async (client, message) => {
  client.send(message)
  const [data, binary] = await once(client, 'message')
  return binary ? data : data.toString()
}

/** Closes, and sees the other side close alike. */
export const hangUp = async (client) => {
  const closed = once(client, 'close')
  client.close(1000, 'done')
  const [code, reason] = await closed
  assert.deepEqual([code, reason.toString()], [1000, 'done'])
}

// Servers that break connections off in the middle.
import { httpServer } from './servers.mjs'
import { collect } from './wait.mjs'

export const fin = (socket) => socket.destroy()
export const reset = (socket) => socket.resetAndDestroy()

/**
 * A server for `within` that echoes bodies. `breaks(socket, request)` may cut the connection of a whole request instead
 * and return true; `request` has its method, its number on the connection and the number of the connection.
 * `server.executed` has a line for each that came whole.
 */
export const breaking = (breaks) => async () => {
  const counts = new Map()
  const server = await httpServer(async (req, res) => {
    const number = (counts.get(req.socket) ?? 0) + 1
    counts.set(req.socket, number)
    const connection = counts.size
    const body = await collect(req).catch(() => undefined)
    if (body === undefined) return
    server.executed.push(`${req.method} ${body.length} on ${connection}`)
    if (!breaks(req.socket, { method: req.method, number, connection })) res.end(body)
  }, { keepAliveTimeout: 0 })
  server.executed = []
  return server
}

/** Each connection serves one request, and is cut by the second. */
export const breaksSecond = (way = reset) => breaking((socket, { number }) => {
  if (number === 2) way(socket)
  return number === 2
})

export const plain = breaking(() => false)

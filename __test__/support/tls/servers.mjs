// Servers that speak TLS, or that break off.
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import { listen, track } from '../servers.mjs'

const LOOPBACK = { port: 0, host: '127.0.0.1' }

/** An `https.Server`; `options` are its own. */
export const secureServer = (options, handler = (req, res) => res.end('ok')) => {
  const server = https.createServer(options, handler)
  track(server)
  server.on('tlsClientError', () => {})
  return listen(server, LOOPBACK)
}

/** A `tls.Server`; `handler(socket, n)` with n counting from 1. */
export const secureRawServer = (options, handler) => {
  const server = tls.createServer(options)
  track(server)
  let count = 0
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {})
    handler(socket, ++count)
  })
  server.on('tlsClientError', () => {})
  return listen(server, LOOPBACK)
}

/** Does `what(socket)` instead of answering a client's first bytes. */
export const breakingOff = (what) => {
  const server = net.createServer((socket) => socket.once('data', () => what(socket)))
  track(server)
  return listen(server, LOOPBACK)
}

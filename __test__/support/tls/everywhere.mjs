// With HOLDFAST_TLS set, suites that were written for plain HTTP run over TLS: their servers speak it, and so do requests.
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import { selfSigned } from './authority.mjs'

const identity = selfSigned()

/** What makes any agent talk to these servers, by whatever name they are reached. */
export const trust = { rejectUnauthorized: false }

http.request = https.request
http.get = https.get

http.createServer = (options, handler) => typeof options === 'function'
  ? https.createServer(identity, options)
  : https.createServer({ ...identity, ...options }, handler)

const { createServer } = net
net.createServer = (options, handler) => {
  if (typeof options === 'function') return createServer(options)
  const server = tls.createServer({ ...identity, ...options })
  // What the suites call a connection is the secured one.
  const on = server.on
  server.on = (event, listener) => on.call(server, event === 'connection' ? 'secureConnection' : event, listener)
  if (handler) server.on('connection', handler)
  return server
}

// A TLSSocket's own refuses; that of the connection below does not.
const { resetAndDestroy } = net.Socket.prototype
tls.TLSSocket.prototype.resetAndDestroy = function () {
  return resetAndDestroy.call(this._parent ?? this)
}

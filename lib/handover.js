'use strict'
// From the engine to libuv: the descriptor goes into a handle of Node's own, and the socket gets its methods back.
const net = require('node:net')

const ownerSymbol = (handle) => Object.getOwnPropertySymbols(handle).find(({ description }) => description === 'owner_symbol')

/** A handle over `fd`, taken from a socket that nobody else sees. */
const handleOf = (fd, socket) => {
  const donor = new net.Socket({ fd, manualStart: true })
  const handle = donor._handle
  donor._handle = null
  handle[ownerSymbol(handle)] = socket
  return handle
}

/** Counts on from what the engine had counted. */
const countOn = (socket, name, handleName, base) => Object.defineProperty(socket, name, {
  configurable: true,
  get () { return base + (this._handle?.[handleName] ?? 0) }
})

const handOver = (socket, {
  fd = undefined, unsent = undefined, noDelay = false, read = 0, written = 0, chunks = [], afterWrite = undefined, lease = undefined
}) => {
  Object.setPrototypeOf(socket, net.Socket.prototype)
  if (fd === undefined || fd === null) return socket
  const adopt = () => {
    socket._handle = handleOf(fd, socket)
    if (noDelay) socket.setNoDelay(true)
    countOn(socket, 'bytesRead', 'bytesRead', read)
    countOn(socket, '_bytesDispatched', 'bytesWritten', written - (unsent?.length ?? 0))
    for (const chunk of chunks) socket.push(chunk)
    // As a socket that has always been Node's: it reads until its buffer is full, whoever listens.
    socket._handle.reading = true
    socket._handle.readStart()
    if (unsent?.length) socket._writeGeneric(false, unsent, 'buffer', afterWrite ?? (() => {}))
    else afterWrite?.()
  }
  if (lease) lease.runInAsyncScope(adopt)
  else adopt()
  return socket
}

module.exports = { handOver }

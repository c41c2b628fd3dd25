'use strict'
// A connection that speaks something else than HTTP from now on, as a socket.
const { Socket } = require('../socket.js')
const { TlsSocket } = require('../tls/socket.js')

/**
 * What a request for an upgrade or a tunnel is answered by: Node's own socket over the same descriptor, or one whose TLS stays
 * in the engine.
 */
const toSocket = (place, isSecure) => {
  const { native, number } = place
  const received = native.fallSilent(number)
  const Class = isSecure ? TlsSocket : Socket
  const socket = new Class(place, { ...place.options, timeout: 0, keepAlive: false })
  socket._adopt(received)
  if (socket._handOver()) place.agent._leave(place)
  else place.isRemoved = true // It leaves when it has closed and the loop is done with it.
  return socket
}

module.exports = { toSocket }

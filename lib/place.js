'use strict'
// A socket's place in an agent's pool: what the agent, the engine and the socket know of each other.
const { systemError } = require('./errors.js')
const { errno: { ECONNRESET } } = require('node:os').constants
const { report } = require('./diagnostics.js')

// In the order of src/engine/pool/reason.rs.
const REASONS = ['expired', 'ttl', 'hint', 'maxRequests', 'peerFin', 'peerReset', 'unsolicited', 'evicted', 'error',
  'finished', 'destroyed', 'detached']

const foreign = new WeakMap()

class Place {
  /** Leases so far. */
  requests = 0
  /** Exchanges that ended with the socket given back. */
  finished = 0
  createdAt = Date.now()
  isIdle = false
  /** Taken out of the agent's maps before it closed. */
  isRemoved = false
  /** The `Keep-Alive` header that the engine knows. */
  hint = undefined
  /** Hears of trouble before there is a socket. */
  giveUp = undefined
  /** The socket's own idle timeout that the engine knows. */
  ownIdleTimeout = undefined
  /** Why the engine ended it, once it has. */
  reason = undefined

  constructor ({ environment, agent, number, origin, options, isForeign }) {
    this.environment = environment
    this.native = environment.native
    this.agent = agent
    this.number = number
    this.origin = origin
    this.options = options
    this.isForeign = isForeign
    environment.places[number] = this
  }

  /** Joins a socket to its place. */
  seat (socket) {
    this.socket = socket
    if (this.isForeign) foreign.set(socket, this)
    else socket._place = this
  }

  /** The engine has closed the idle connection below. */
  idleEnded (reason) {
    const { socket } = this
    this.reason = REASONS[reason]
    if (this.reason === 'expired') this.agent.timeoutSocketCount++
    if (this.isForeign) socket.destroy()
    else if (this.reason === 'peerFin') socket._ended()
    else if (this.reason === 'peerReset') socket.destroy(systemError('read', ECONNRESET))
    else socket.destroy()
  }

  /** The engine sends the request again, on a fresh connection. */
  replaying (reason) {
    const req = this.socket._httpMessage
    this.socket._replaced()
    if (req) {
      req.reusedSocket = false
      req.retryCount = (req.retryCount ?? 0) + 1
    }
    report(this, 'replay', REASONS[reason])
  }

  /** It could not be opened, or not in time. */
  connectFailed () {
    if (this.isForeign) this.giveUp(this.native.trouble(this.number))
    else this.socket._connectFailed()
  }

  /** The loop is done with the connection. */
  gone () {
    if (this.isRemoved) this.agent._leave(this)
    this.socket._gone()
  }

  /** The engine forgets the connection. */
  leave () {
    if (this.environment.places[this.number] === this) this.environment.places[this.number] = undefined
  }
}

/** The place of any pooled socket. */
const placeOf = (socket) => socket._place ?? foreign.get(socket)

module.exports = { Place, placeOf }

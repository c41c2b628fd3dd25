'use strict'
// A socket's place in an agent's pool: what the agent, the engine and the socket know of each other.
const process = require('node:process')
const { systemError } = require('./errors.js')
const { errno: { ECONNRESET } } = require('node:os').constants
const { errorMonitor } = require('node:events')
const { report } = require('./diagnostics.js')

// In the order of src/engine/pool/reason.rs.
const REASONS = ['expired', 'ttl', 'hint', 'maxRequests', 'peerFin', 'peerReset', 'unsolicited', 'evicted', 'distrusted',
  'error', 'finished', 'destroyed', 'detached']

// From Node 22 on (22.23), whatever comes to an idle socket closes it without a word but 'close'.
const IDLE_ENDS_ARE_TOLD = Number(process.versions.node.split('.')[0]) < 22

const foreign = new WeakMap()

const KEEP_ALIVE = 'keep-alive'

/** As long as `Connection`, which is nearly everywhere. */
const isKeepAlive = (name) => name.length === KEEP_ALIVE.length && (name.charCodeAt(0) | 32) === KEEP_ALIVE.charCodeAt(0) &&
  name.toLowerCase() === KEEP_ALIVE

/** The header of that name, of headers in pairs. */
const keepAliveOf = (pairs) => {
  let value
  for (let at = 0; at < pairs.length; at += 2) {
    if (isKeepAlive(pairs[at])) value = value === undefined ? pairs[at + 1] : `${value}, ${pairs[at + 1]}`
  }
  return value
}

class Place {
  /** Leases so far. */
  requests = 0
  isIdle = false
  /** Taken out of the agent's maps before it closed. */
  isRemoved = false
  /** The `Keep-Alive` header that the engine knows of the connection. */
  hint = undefined
  /** Under which its TLS sessions are kept. */
  sessionKey = undefined
  /** Why the engine ended it, once it has. */
  reason = undefined

  constructor ({ environment, agent, number, origin, options }) {
    this.environment = environment
    this.agent = agent
    this.number = number
    this.origin = origin
    this.options = options
    this.socket = undefined
    environment.places[number] = this
  }

  get native () { return this.environment.native }

  get calls () { return this.environment.calls }

  get isForeign () { return false }

  /** The engine has ended it; what left the pool may go on. */
  get hasEnded () { return this.reason !== undefined && !this.isRemoved }

  /** Exchanges that ended with the socket given back. */
  get finished () { return this.isIdle ? this.requests : Math.max(0, this.requests - 1) }

  /** When it was opened, in milliseconds of the epoch. */
  get createdAt () {
    const { age } = this.native.facts(this.number) ?? {}
    return age === undefined || age === null ? undefined : Math.round(Date.now() - age)
  }

  /** Joins a socket to its place. */
  seat (socket) {
    this.socket = socket
    socket._place = this
  }

  /** Tells the engine what an answer's headers, in pairs, say of the connection's time. */
  noteHint (pairs) {
    const header = keepAliveOf(pairs)
    if (header === undefined || header === this.hint) return
    this.hint = header
    this.native.hint(this.number, header)
  }

  /** The engine has closed the idle connection below. */
  idleEnded (reason) {
    this.reason = REASONS[reason]
    if (this.reason === 'expired') this.agent.timeoutSocketCount++
    this.ended()
  }

  ended () {
    const { reason, socket } = this
    if (!IDLE_ENDS_ARE_TOLD) socket.destroy()
    else if (reason === 'peerFin') socket._ended()
    else if (reason === 'peerReset') socket.destroy(systemError('read', ECONNRESET))
    else socket.destroy()
  }

  /** The engine found the connection dead before the request had begun to leave; it leaves on a fresh one. */
  swapped () {
    const req = this.socket._httpMessage
    this.hint = undefined // the new connection's has still to come
    this.socket._replaced()
    if (req) req.reusedSocket = false
  }

  /** The connection could not be opened; the request gets one that was idle. */
  fellBack () {
    const req = this.socket._httpMessage
    this.socket._replaced()
    if (req) req.reusedSocket = true
    this.socket._connected()
  }

  /** The engine sends the request again, on a fresh connection. */
  replaying (reason) {
    const req = this.socket._httpMessage
    if (req) req.retryCount = (req.retryCount ?? 0) + 1
    report(this, 'replay', REASONS[reason])
    this.swapped()
  }

  /** What is known of an exchange that failed for good. */
  failureFacts () {
    const failure = this.native.facts(this.number)?.failure
    if (!failure) return undefined
    const { reused, idle, requests, evidence, attempts, refusal } = failure
    const facts = { reused, requestsOnSocket: requests, evidence, attempts, replayRefused: refusal }
    if (idle !== null && idle !== undefined) facts.idleMs = Math.round(idle)
    return facts
  }

  /** The exchange has failed for good: its error, whoever makes it, gets the facts. */
  explain () {
    const req = this.socket._httpMessage
    const facts = req && this.failureFacts()
    if (!facts) return
    const add = (error) => { Object.assign(error, facts) }
    req.once(errorMonitor, add)
    req.res?.once(errorMonitor, add)
  }

  /** It could not be opened, or not in time. */
  connectFailed () {
    this.explain()
    this.socket._connectFailed()
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

/** The place of a socket that somebody else made: a `createConnection` of an agent's subclass or of a request. */
class ForeignPlace extends Place {
  /** Hears of trouble before there is a socket. */
  giveUp = undefined

  get isForeign () { return true }

  seat (socket) {
    this.socket = socket
    foreign.set(socket, this)
  }

  ended () {
    this.socket.destroy()
  }

  /** Some sockets close more than once, and the number may be another's by then. */
  leave () {
    super.leave()
    foreign.delete(this.socket)
  }

  connectFailed () {
    this.giveUp?.(this.native.trouble(this.number))
  }
}

/** The place of any pooled socket. */
const placeOf = (socket) => socket._place ?? foreign.get(socket)

module.exports = { ForeignPlace, Place, placeOf }

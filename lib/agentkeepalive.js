'use strict'
// What agentkeepalive's agents have beyond Node's: counters, status, older names. A mixin.
const { placeOf } = require('./place.js')

const COUNTERS = ['createSocketCount', 'createSocketErrorCount', 'closeSocketCount', 'errorSocketCount',
  'timeoutSocketCount', 'requestCount']

const lengths = (map) => Object.fromEntries(Object.entries(map).map(([name, list]) => [name, list.length]))

const countingAgent = (Base) => class extends Base {
  constructor (options) {
    super(options)
    for (const counter of COUNTERS) this[counter] = this[`${counter}LastCheck`] = 0
  }

  get statusChanged () {
    const changed = COUNTERS.filter((counter) => this[counter] !== this[`${counter}LastCheck`])
    for (const counter of changed) this[`${counter}LastCheck`] = this[counter]
    return changed.length > 0
  }

  getCurrentStatus () {
    return {
      ...Object.fromEntries(COUNTERS.map((counter) => [counter, this[counter]])),
      freeSockets: lengths(this.freeSockets),
      sockets: lengths(this.sockets),
      requests: lengths(this.requests)
    }
  }

  /** What agentkeepalive would set: 0 or less is to close it, `undefined` is no limit. */
  calcSocketTimeout (socket) {
    const { freeSocketTimeout, socketActiveTTL } = this.options
    const own = socket.freeSocketTimeout || socket.freeSocketKeepAliveTimeout
    const left = socketActiveTTL ? socketActiveTTL - (Date.now() - placeOf(socket)?.createdAt) : Infinity
    if (left <= 0) return left
    if (!freeSocketTimeout) return undefined
    return own || Math.min(freeSocketTimeout, left)
  }

  get freeSocketKeepAliveTimeout () { return this.options.freeSocketTimeout }
  get socketActiveTTL () { return this.options.socketActiveTTL }
  get timeout () { return this.options.timeout }
  set timeout (value) { this.options.timeout = value }
}

module.exports = { countingAgent }

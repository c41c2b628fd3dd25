'use strict'
// A share of a connection (HTTP/2), in the place of one: it serves a single exchange.
const { Connection } = require('./connection.js')
const { streamError } = require('./errors.js')

class Stream extends Connection {
  constructor (place, pool) {
    super(place, pool)
    this.connecting = false
  }

  get isStream () { return true }

  /** The server has not looked at the request, or never got it: it begins again on another. */
  _replaced () { this._place.agent.again(this) }

  /** One side has given it up. */
  _reset (code) { this._broke(streamError(code)) }
}

module.exports = { Stream }

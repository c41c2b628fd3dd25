'use strict'
// How long a connection waits for its server: one timer, which is left alone between exchanges and looks whether anybody waits.
const { BodyTimeoutError, HeadersTimeoutError } = require('./errors.js')

/** Node's timers overflow beyond, and fire at once. */
const LONGEST = 2 ** 31 - 1

class Patience {
  #connection
  #timer
  #ms
  /** The error if nothing comes; `undefined`: nobody waits. */
  #Late

  /** `connection` knows whether it `awaitsBody` or `isPaused`, and is told that its server is `late`. */
  constructor (connection) {
    this.#connection = connection
  }

  /** Waits so many milliseconds for a head; `0`: for ever. */
  forHead (ms) { this.#wait(ms, HeadersTimeoutError) }

  /** The same for each piece of a body. */
  forBody (ms) { this.#wait(ms, BodyTimeoutError) }

  #wait (ms, Late) {
    this.#Late = ms > 0 ? Late : undefined
    if (!(ms > 0)) return
    ms = Math.min(ms, LONGEST)
    if (this.#ms === ms) return this.restart()
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#look(), ms).unref()
    this.#ms = ms
  }

  /** Something has happened. */
  restart () { this.#timer?.refresh() }

  /** The exchange is over. */
  rest () { this.#Late = undefined }

  /** The connection is. */
  end () { clearTimeout(this.#timer) }

  #look () {
    const { awaitsBody, isPaused } = this.#connection
    if (this.#Late === undefined) return
    // It is this side that is slow.
    if (this.#Late === HeadersTimeoutError ? awaitsBody : isPaused) this.restart()
    else this.#connection.late(new this.#Late())
  }
}

module.exports = { Patience }

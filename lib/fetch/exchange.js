'use strict'
// One request and its answer: what its handler hears, in order, and its end, once.
const channels = require('./channels.js')
const { Controller, faceOf, toBytes } = require('./handlers.js')
const { isStream } = require('./request.js')
const { ResponseExceededMaxSizeError } = require('./errors.js')

class Exchange {
  #handler
  #controller
  #received = 0
  #maxSize
  #pool
  #isSubmitted = false
  #hasHead = false
  /** The connection that has it; `undefined` while it waits. */
  connection = undefined
  /** The origin it is for. */
  origin
  /** Takes it out of the queue. */
  leaveQueue = undefined
  isOver = false

  constructor (request, handler, origin, pool) {
    this.request = request
    this.origin = origin
    this.#controller = new Controller(this)
    this.#handler = faceOf(handler, this.#controller)
    this.#maxSize = request.maxResponseSize ?? pool.limits.maxResponseSize
    this.#pool = pool
  }

  /** Whether a head of an answer has been told; nothing is retried after that. */
  get hasHead () { return this.#hasHead }

  /** `false` if the caller has no use for it any more. */
  start () {
    this.#tell(() => this.#handler.start({ history: null }))
    this.#isSubmitted = !this.isOver
    return this.#isSubmitted
  }

  flow (isFlowing) { this.connection?.flow(this, isFlowing) }

  abort (reason) { this.fail(reason) }

  head (status, pairs, statusText) {
    if (this.isOver) return
    if (status >= 200) {
      this.#hasHead = true
      this.#tell(() => this.#handler.responseStarted())
      if (this.isOver) return
    }
    if (channels.headers.hasSubscribers) this.#publishHead(status, pairs, statusText)
    this.#tell(() => this.#handler.head(status, pairs, statusText))
  }

  #publishHead (statusCode, pairs, statusText) {
    channels.headers.publish({ request: this.request, response: { statusCode, headers: toBytes(pairs), statusText } })
  }

  /** The answer says how long its body is. */
  announce (length) {
    if (this.#maxSize > -1 && length > this.#maxSize) this.fail(new ResponseExceededMaxSizeError())
  }

  data (chunk) {
    if (this.isOver) return
    this.#received += chunk.length
    if (this.#maxSize > -1 && this.#received > this.#maxSize) return this.fail(new ResponseExceededMaxSizeError())
    if (channels.bodyChunkReceived.hasSubscribers) channels.bodyChunkReceived.publish({ request: this.request, chunk })
    this.#tell(() => this.#handler.data(chunk))
  }

  complete (trailers) {
    if (this.isOver) return
    this.#end()
    this.request.completed = true
    if (channels.trailers.hasSubscribers) channels.trailers.publish({ request: this.request, trailers: toBytes(trailers) })
    try {
      this.#handler.complete(trailers)
    } catch (error) {
      this.#handler.error(error)
    }
  }

  upgrade (status, pairs, statusText, socket) {
    if (this.isOver) return
    this.#end()
    if (channels.headers.hasSubscribers) this.#publishHead(status, pairs, statusText)
    try {
      this.#handler.upgrade(status, pairs, socket)
      this.request.completed = true
      if (channels.trailers.hasSubscribers) channels.trailers.publish({ request: this.request, trailers: [] })
    } catch (error) {
      socket.destroy(error)
      this.#handler.error(error)
    }
  }

  bodySent (chunk) {
    if (channels.bodyChunkSent.hasSubscribers) channels.bodyChunkSent.publish({ request: this.request, chunk })
    this.#tell(() => this.#handler.bodySent(chunk))
  }

  requestSent () {
    if (channels.bodySent.hasSubscribers) channels.bodySent.publish({ request: this.request })
    this.#tell(() => this.#handler.requestSent())
  }

  fail (error) {
    if (this.isOver) return
    const { connection, request } = this
    this.#end()
    request.aborted = true
    this.leaveQueue?.()
    connection?.drop(this, error)
    const { body } = request
    if (body !== null && isStream(body)) body.destroy?.(error)
    if (channels.error.hasSubscribers) channels.error.publish({ request, error })
    this.#handler.error(error)
  }

  #end () {
    this.isOver = true
    if (this.#isSubmitted) this.#pool.settled()
  }

  /** A handler that throws aborts its request. */
  #tell (work) {
    try {
      work()
    } catch (error) {
      this.fail(error)
    }
  }
}

module.exports = { Exchange }

'use strict'
// One request and its answer: what its handler hears, in order, and its end, once.
const { Buffer } = require('node:buffer')
const { waitFor } = require('./again.js')
const { discard, watchStream } = require('./body.js')
const channels = require('./channels.js')
const { Controller, faceOf, toBytes } = require('./handlers.js')
const { isStream } = require('./request.js')
const { ResponseExceededMaxSizeError, throwLater } = require('./errors.js')

/** A body that nobody will hear of is read for its connection's sake: so many bytes of it, and so many milliseconds. */
const MOST_SKIPPED = 64 * 1024
const LONGEST_SKIPPED = 100

class Exchange {
  #handler
  #controller
  #received = 0
  #sent = 0
  #maxSize
  #isDoomed = false
  #isSent = false
  #pool
  #attempts = 1
  /** When another attempt is due, by `performance.now()`: what comes until then is skipped. */
  #due
  /** What was sent of a body that can be read once; `undefined` if that is not kept, or is too large. */
  #kept
  #isPaused = false
  #hasHead = false
  /** Its whole answer has come, though perhaps not been told. */
  #isAnswered = false
  /** What came though its handler wanted no more for now: chunks, then perhaps a function that tells of the end. */
  #held
  #isTellingHeld = false
  /** The connection that has it; `undefined` while it waits. */
  connection = undefined
  /** The origin it is for; the pool says, at each attempt. */
  origin = undefined
  /** Takes it out of the queue. */
  leaveQueue = undefined
  isOver = false
  /** A part of its body was sent, ever. */
  hasSentBody = false
  /** In the pool's set of those that run. */
  transientIndex = -1
  /** Where it was, and what of its body was sent there, if it begins again. */
  interrupted = undefined
  /** The policy of its request, and whether that may be sent twice. */
  retry
  isIdempotent

  constructor (request, handler, pool) {
    this.request = request
    this.#controller = new Controller(this)
    this.#handler = faceOf(handler, this.#controller)
    this.#maxSize = pool.limits.maxResponseSize
    this.#pool = pool
    this.retry = pool.policyOf(request)
    if (this.retry.retryOn.size > 0 && request.body !== null && !Buffer.isBuffer(request.body)) this.#kept = []
    this.isIdempotent = request.idempotent ?? (this.retry.methods.has(request.method) || request.hasIdempotencyKey)
  }

  /** `false` if the caller has no use for it any more. */
  start () {
    this.#pool.began(this)
    const { body } = this.request
    if (body !== null && isStream(body)) watchStream(body, (error) => { if (!this.#isAnswered) this.fail(error) })
    this.#tell(() => this.#handler.start({ history: null }))
    return !this.isOver
  }

  /** Its handler wants more of the answer, or no more for now. The head is told whatever it wants. */
  flow (isFlowing) {
    this.#isPaused = !isFlowing
    if (isFlowing) this.#tellHeld()
    else if (this.#hasHead) this.connection?.flow(this, false)
  }

  #hold (part) {
    this.#held ??= []
    this.#held.push(part)
  }

  #tellHeld () {
    // The handler may pause and resume within what it is told here.
    if (this.#isTellingHeld) return
    this.#isTellingHeld = true
    while (this.#held !== undefined && !this.#isPaused) {
      const part = this.#held.shift()
      if (this.#held.length === 0) this.#held = undefined
      if (typeof part === 'function') part()
      else this.data(part)
    }
    this.#isTellingHeld = false
    if (!this.#isPaused) this.connection?.flow(this, true)
  }

  abort (reason) { this.fail(reason) }

  head (status, pairs, statusText) {
    if (this.isOver) return
    if (status >= 200) {
      if (this.#goesAgain(status, pairs)) return
      this.#tell(() => this.#handler.responseStarted())
      if (this.isOver) return
    }
    if (channels.headers.hasSubscribers) this.#publishHead(status, pairs, statusText)
    this.#tell(() => this.#handler.head(status, pairs, statusText))
    if (status < 200) return
    this.#hasHead = true
    if (this.#isPaused) this.connection?.flow(this, false)
  }

  #publishHead (statusCode, pairs, statusText) {
    channels.headers.publish({ request: this.request, response: { statusCode, headers: toBytes(pairs), statusText } })
  }

  /** Its answer is too large. Whoever has just heard of its head must have had the time to look at it. */
  #doom () {
    this.#isDoomed = true
    setImmediate(() => this.fail(new ResponseExceededMaxSizeError()))
  }

  data (chunk) {
    if (this.isOver || this.#isDoomed) return
    if (this.#due !== undefined) return this.#skip(chunk)
    if (this.#isPaused) return this.#hold(chunk)
    this.#received += chunk.length
    if (this.#maxSize > -1 && this.#received > this.#maxSize) return this.#doom()
    if (channels.bodyChunkReceived.hasSubscribers) channels.bodyChunkReceived.publish({ request: this.request, chunk })
    this.#tell(() => this.#handler.data(chunk))
  }

  complete (trailers) {
    if (this.isOver || this.#isDoomed) return
    if (this.#due !== undefined) return this.#skipped()
    this.#isAnswered = true
    if (this.#isPaused) return this.#hold(() => this.complete(trailers))
    this.#end()
    this.request.completed = true
    if (channels.trailers.hasSubscribers) channels.trailers.publish({ request: this.request, trailers: toBytes(trailers) })
    try {
      this.#handler.complete(trailers)
    } catch (error) {
      this.#tellError(error)
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
      this.#tellError(error)
    }
  }

  // Another attempt.

  /** It leaves a stream, of which `sent` had been sent, to begin again on another. */
  interrupt (place, pump, sent) {
    this.connection = undefined
    const { request } = this
    pump?.hold()
    if (pump === undefined && request.body !== null && !Buffer.isBuffer(request.body)) request.body = sent
    this.interrupted = { place, pump, sent }
  }

  /** Whether this answer is one to ask again after, and everything allows it. */
  #goesAgain (status, pairs) {
    const { retry, isIdempotent, request } = this
    if (retry.retryOn.size === 0) return false
    const wait = waitFor({ status, pairs, attempts: this.#attempts, isIdempotent, retry })
    const isWhole = request.body === null || Buffer.isBuffer(request.body) || (this.#kept !== undefined && !this.connection?.isSending)
    if (wait === undefined || !isWhole || !this.#pool.affords(this)) return false
    this.#due = performance.now() + wait
    this.#goAgainIn(Math.max(wait, LONGEST_SKIPPED))
    return true
  }

  #skip (chunk) {
    this.#received += chunk.length
    if (this.#received > MOST_SKIPPED) this.#skipped()
  }

  /** Nothing more of the answer is wanted, or to be had. */
  #skipped (error) {
    this.connection?.drop(this, error)
    this.#goAgainIn(Math.max(0, this.#due - performance.now()))
  }

  #goAgainIn (wait) {
    this.leaveQueue?.()
    const timer = setTimeout(() => this.#goAgain(), wait)
    this.leaveQueue = () => clearTimeout(timer)
  }

  #goAgain () {
    this.connection?.drop(this)
    const { request } = this
    if (this.#kept !== undefined) request.body = Buffer.concat(this.#kept)
    this.#kept = undefined
    this.interrupted = undefined
    this.#isSent = false
    this.leaveQueue = undefined
    this.#due = undefined
    this.#received = 0
    this.#attempts++
    this.#pool.submit(this)
  }

  #keep (chunk) {
    if (this.#kept === undefined) return
    this.#sent += chunk.byteLength
    if (this.#sent > this.retry.policy.maxBodyBytes) this.#kept = undefined
    this.#kept?.push(Buffer.from(chunk))
  }

  /** `bytes` of the body have left, which the caller made as `chunk`. */
  bodySent (bytes, chunk) {
    this.hasSentBody = true
    this.#keep(bytes)
    if (channels.bodyChunkSent.hasSubscribers) channels.bodyChunkSent.publish({ request: this.request, chunk })
    this.#tell(() => this.#handler.bodySent(chunk))
  }

  requestSent () {
    if (this.#isSent) return
    this.#isSent = true
    if (channels.bodySent.hasSubscribers) channels.bodySent.publish({ request: this.request })
    this.#tell(() => this.#handler.requestSent())
  }

  /** Its connection has broken, behind whatever came before. */
  broke (error) {
    if (this.#due !== undefined) return this.#skipped(error)
    if (this.#held === undefined) return this.fail(error)
    this.#hold(() => this.fail(error))
    this.connection.drop(this, error)
  }

  fail (error) {
    if (this.isOver) return
    const { connection, request } = this
    this.#end()
    request.aborted = true
    this.leaveQueue?.()
    const { body } = request
    if (body !== null && isStream(body)) discard(body, error)
    connection?.drop(this, error)
    this.interrupted?.pump?.stop()
    if (channels.error.hasSubscribers) channels.error.publish({ request, error })
    this.#tellError(error)
  }

  /** Nobody is left to be told what a handler throws at its end, but whoever ended it may have more to end. */
  #tellError (error) {
    try {
      this.#handler.error(error)
    } catch (thrown) {
      throwLater(thrown)
    }
  }

  #end () {
    this.isOver = true
    this.#controller._ended()
    this.#pool.settled(this)
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

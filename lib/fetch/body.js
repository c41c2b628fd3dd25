'use strict'
// The body of a request, on its way into the engine: whole, or piece by piece as there is room.
const { Buffer } = require('node:buffer')
const process = require('node:process')
const { IncomingMessage } = require('node:http')
const { invalidType } = require('../errors.js')
const { RequestAbortedError, RequestContentLengthMismatchError } = require('./errors.js')
const { encodeForm } = require('./form.js')
const { isBlob, isFormData, isStream } = require('./request.js')

/** Methods whose requests say so if their body is empty. */
const EXPECT_BODY = new Set(['PUT', 'POST', 'PATCH', 'QUERY', 'PROPFIND', 'PROPPATCH'])

/** Methods whose requests have no body as a rule. */
const BODILESS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'CONNECT'])

/** How many bytes a body has, where that can be known; of a stream that has ended, what it holds. */
const lengthOf = (body) => {
  if (body === null) return 0
  if (Buffer.isBuffer(body)) return body.length
  if (isBlob(body)) return body.size ?? null
  if (!isStream(body)) return null
  const state = body._readableState
  return state && state.objectMode === false && state.ended === true && Number.isFinite(state.length) ? state.length : null
}

/** A body that has a type tells it, unless the caller has told another. */
const unfold = (request) => {
  if (request.body === null || Buffer.isBuffer(request.body)) return
  if (isFormData(request.body)) request.body = encodeForm(request.body)
  const { type } = request.body
  if (isBlob(request.body) && type && request.contentType === null) request.addHeader('content-type', type)
}

/** What is said of a body that turns out to be empty. */
const lengthOfNothing = (method) => EXPECT_BODY.has(method) ? 0 : null

/**
 * Makes the request's body and length fit each other: sets `request.contentLength` to what is to be said, or `null`. A length
 * that was given for no body, or for one that has none by its method, was forwarded from elsewhere: it is corrected.
 */
const settleLength = (request, isStrict) => {
  unfold(request)
  const known = lengthOf(request.body)
  const given = request.contentLength
  if (known > 0 && given !== null && given !== known && !BODILESS.has(request.method)) {
    const error = new RequestContentLengthMismatchError()
    if (isStrict) throw error
    process.emitWarning(/** @type {any} */ (error))
  }
  if (known === 0) request.body = null
  const length = known ?? given
  request.contentLength = length === 0 ? lengthOfNothing(request.method) : length
}

const bytesOf = (chunk) => {
  if (chunk instanceof Uint8Array) return chunk
  if (typeof chunk === 'string') return Buffer.from(chunk)
  if (ArrayBuffer.isView(chunk)) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  throw invalidType('chunk', 'of type string or an instance of Buffer, TypedArray, or DataView', chunk)
}

/** Tells `fail` of a stream that breaks, or that closes before its end: both may happen long before its turn, or after it. */
const watchStream = (stream, fail) => {
  const onClose = () => { if (!stream.readableEnded) fail(stream.errored ?? new RequestAbortedError()) }
  stream.on('error', fail).on('close', onClose).on('end', () => { stream.off('close', onClose) })
  // Its events may be over.
  if (stream.destroyed) queueMicrotask(onClose)
}

/** Ends a stream that nobody will read. */
const discard = (stream, error) => {
  // As in undici: to destroy what a server was asked would end the connection on which the answer to that is due.
  if (Object.getPrototypeOf(stream).constructor === IncomingMessage) stream.socket = null
  stream.destroy?.(error)
}

/**
 * Pushes a body to a sink: `{ push(bytes, chunk), repeat(bytes), finish(), fail(error), isOver }`. `push` gets a piece as the
 * caller made it, too, and answers whether there is room for more. In between it can be held, and go on to another sink.
 */
class BodyPump {
  #sink
  #length
  #pushed = 0
  #isWhole = false
  /**
   * Goes on once there is room.
   * @type {(() => void) | undefined}
   */
  #continue
  /**
   * Takes it off its stream, of which nobody will read the rest.
   * @type {(() => void) | undefined}
   */
  #abandon

  /** What came while it was held. */
  #held

  constructor (length) {
    this.#length = length
  }

  /** The engine has to have room before it goes on. */
  get isHeldUp () { return this.#continue !== undefined }

  start (sink, body) {
    this.#sink = sink
    if (Buffer.isBuffer(body)) {
      this.#push(body)
      this.#end()
    } else if (isStream(body)) this.#pipe(body)
    else this.#pull(isBlob(body) ? body.stream() : body)
  }

  hold () { this.#held = [] }

  /** To another sink, which has to have what was `sent` first. */
  goOn (sink, sent) {
    const held = this.#held
    this.#held = undefined
    this.#sink = sink
    let hasRoom = sent.length === 0 || sink.repeat(sent)
    for (const bytes of held) hasRoom = sink.push(bytes, bytes)
    if (this.#isWhole) this.#end()
    else if (hasRoom) this.relieve()
  }

  get #isOver () { return this.#held === undefined && this.#sink.isOver }

  /** The engine has room again. */
  relieve () {
    const continue_ = this.#continue
    this.#continue = undefined
    continue_?.()
  }

  /** The rest is of no use. An iterator hears of that as soon as it has made its next piece. */
  stop () {
    this.#held = undefined
    this.#abandon?.()
    this.relieve()
  }

  #push (chunk) {
    const bytes = bytesOf(chunk)
    this.#pushed += bytes.byteLength
    if (this.#length !== null && this.#pushed > this.#length) throw new RequestContentLengthMismatchError()
    if (bytes.byteLength === 0) return true
    if (this.#held === undefined) return this.#sink.push(bytes, chunk)
    this.#held.push(bytes)
    return false
  }

  #end () {
    this.#isWhole = true
    if (this.#held !== undefined || this.#isOver) return
    if (this.#length !== null && this.#pushed !== this.#length) {
      return this.#sink.fail(new RequestContentLengthMismatchError())
    }
    this.#sink.finish()
  }

  #pipe (stream) {
    const onData = (chunk) => {
      try {
        if (this.#push(chunk)) return
      } catch (error) {
        return this.#sink.fail(error)
      }
      stream.pause?.()
      this.#continue = () => { stream.resume?.() }
    }
    const onEnd = () => { detach(); this.#end() }
    const detach = () => { stream.off('data', onData).off('end', onEnd) }
    this.#abandon = () => {
      detach()
      this.#continue = undefined
      discard(stream)
    }
    stream.on('data', onData).on('end', onEnd)
    if (stream.readableEnded) onEnd()
    else stream.resume?.()
  }

  async #pull (chunks) {
    try {
      for await (const chunk of chunks) {
        if (this.#isOver) return
        if (!this.#push(chunk)) await new Promise((resolve) => { this.#continue = () => resolve(true) })
        if (this.#isOver) return
      }
      this.#end()
    } catch (error) {
      this.#sink.fail(error)
    }
  }
}

module.exports = { BodyPump, discard, EXPECT_BODY, lengthOfNothing, settleLength, watchStream }

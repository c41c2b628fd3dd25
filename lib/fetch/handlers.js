'use strict'
// undici's two generations of handlers behind one face. The newer one has `onRequestStart` and gets a controller.
const { Buffer } = require('node:buffer')
const { remembering } = require('../maps.js')
const { InvalidArgumentError, RequestAbortedError } = require('./errors.js')

const isFunction = (value) => typeof value === 'function'
const isModern = (handler) => isFunction(handler.onRequestStart)

const MODERN = ['onResponseError', 'onResponseData', 'onResponseEnd', 'onResponseStart']
const OLD = ['onConnect', 'onError', 'onHeaders', 'onData', 'onComplete']

/** Throws what undici throws of a handler that cannot hear how its request ends. */
const validateHandler = (handler, { method, upgrade }) => {
  if (!handler || typeof handler !== 'object') throw new InvalidArgumentError('handler must be an object')
  const isUpgrade = upgrade || method === 'CONNECT'
  const modern = isModern(handler)
  const needed = modern
    ? isUpgrade ? ['onResponseError', 'onRequestUpgrade'] : MODERN
    : isUpgrade ? ['onConnect', 'onError', 'onUpgrade'] : OLD
  for (const name of needed) {
    if (!isFunction(handler[name])) throw new InvalidArgumentError(`invalid ${name} method`)
  }
  if (!modern && handler.onBodySent !== undefined && !isFunction(handler.onBodySent)) {
    throw new InvalidArgumentError('invalid onBodySent method')
  }
}

// Names come again with each answer.
const MOST_NAMES = 512
const nameBytes = remembering(MOST_NAMES, (name) => Buffer.from(name, 'latin1'))

/** Pairs of text as a flat array of bytes, as undici's parser has them. */
const toBytes = (pairs) => {
  const bytes = new Array(pairs.length)
  for (let at = 0; at < pairs.length; at += 2) {
    bytes[at] = nameBytes(pairs[at])
    bytes[at + 1] = Buffer.from(pairs[at + 1], 'latin1')
  }
  return bytes
}

const lowerCased = remembering(MOST_NAMES, (name) => name.toLowerCase())

/** The same by name, in lower case; what comes more than once is an array. */
const toObject = (pairs) => {
  const object = {}
  for (let at = 0; at < pairs.length; at += 2) {
    const name = lowerCased(pairs[at])
    const value = pairs[at + 1]
    if (!Object.hasOwn(object, name)) {
      // Not by assignment: of `__proto__` that would make something else.
      if (name === '__proto__') Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
      else object[name] = value
    } else if (Array.isArray(object[name])) object[name].push(value)
    else object[name] = [object[name], value]
  }
  return object
}

const NONE = []

/**
 * What a newer handler controls its exchange by; an older one gets `abort` and `resume` of it. The platform's fetch holds on to
 * those where only a full collection reaches, so nothing hangs on them once the exchange is over.
 */
class Controller {
  #exchange
  #paused = false
  reason = null
  #head = NONE
  #trailers = NONE
  #rawHeaders
  #rawTrailers

  constructor (exchange) {
    this.#exchange = exchange
  }

  get paused () { return this.#paused }
  get aborted () { return this.reason !== null }
  /** As the server wrote them; made when they are asked for. Interceptors change them. */
  get rawHeaders () { return (this.#rawHeaders ??= toBytes(this.#head)) }
  set rawHeaders (raw) { this.#rawHeaders = raw }
  /** The same, but for their names, which are in lower case. */
  get rawTrailers () { return (this.#rawTrailers ??= toBytes(this.#trailers)) }
  set rawTrailers (raw) { this.#rawTrailers = raw }

  pause () {
    if (this.#paused) return
    this.#paused = true
    this.#exchange?.flow(false)
  }

  resume () {
    if (!this.#paused) return
    this.#paused = false
    this.#exchange?.flow(true)
  }

  abort (reason) {
    if (this.reason !== null || this.#exchange === undefined) return
    this.reason = reason ?? new RequestAbortedError()
    this.#exchange.abort(this.reason)
  }

  _ended () { this.#exchange = undefined }

  _heard (head) {
    this.#head = head
    this.#rawHeaders = undefined
  }

  _trailed (trailers) { this.#trailers = trailers }
}

class ModernHandler {
  #handler
  #controller

  constructor (handler, controller) {
    this.#handler = handler
    this.#controller = controller
  }

  start (context) { this.#handler.onRequestStart(this.#controller, context) }
  responseStarted () { this.#handler.onResponseStarted?.() }

  head (status, pairs, statusText) {
    this.#controller._heard(pairs)
    this.#handler.onResponseStart(this.#controller, status, toObject(pairs), statusText)
  }

  data (chunk) { this.#handler.onResponseData(this.#controller, chunk) }

  complete (trailers) {
    this.#controller._trailed(trailers)
    this.#handler.onResponseEnd(this.#controller, toObject(trailers))
  }

  upgrade (status, pairs, socket) {
    this.#controller._heard(pairs)
    this.#handler.onRequestUpgrade(this.#controller, status, toObject(pairs), socket)
  }

  error (error) { this.#handler.onResponseError(this.#controller, error) }
  bodySent (chunk) { this.#handler.onBodySent?.(chunk) }
  requestSent () { this.#handler.onRequestSent?.() }
}

class OldHandler {
  #handler
  #controller
  #resume

  constructor (handler, controller) {
    this.#handler = handler
    this.#controller = controller
    this.#resume = () => controller.resume()
  }

  start (context) { this.#handler.onConnect((reason) => this.#controller.abort(reason), context) }
  responseStarted () { this.#handler.onResponseStarted?.() }

  head (status, pairs, statusText) {
    if (this.#handler.onHeaders(status, toBytes(pairs), this.#resume, statusText) === false) this.#controller.pause()
  }

  data (chunk) { if (this.#handler.onData(chunk) === false) this.#controller.pause() }
  complete (trailers) { this.#handler.onComplete(toBytes(trailers)) }
  upgrade (status, pairs, socket) { this.#handler.onUpgrade(status, toBytes(pairs), socket) }
  error (error) { this.#handler.onError(error) }
  // Of the last generation of old handlers: (chunkSize, totalBytes) and (chunk) differ, and nobody of note looks.
  bodySent (chunk) { this.#handler.onBodySent?.(chunk) }
  requestSent () { this.#handler.onRequestSent?.() }
}

/** One that takes headers as they come, in pairs: `onHead(status, pairs, statusText)`. */
class PlainHandler extends ModernHandler {
  #handler

  constructor (handler, controller) {
    super(handler, controller)
    this.#handler = handler
  }

  head (status, pairs, statusText) { this.#handler.onHead(status, pairs, statusText) }
}

/** One face for all. */
const faceOf = (handler, controller) => {
  if (isFunction(handler.onHead)) return new PlainHandler(handler, controller)
  return isModern(handler) ? new ModernHandler(handler, controller) : new OldHandler(handler, controller)
}

/** The reverse of `toObject`; what an interceptor has set to nothing is none. */
const toPairs = (object = {}) => Object.entries(object).flatMap(([name, value]) => [value ?? []].flat().flatMap((one) => [name, one]))

/** An old handler that interceptors of both generations can wrap: theirs call the methods they know. */
const forInterceptors = (handler) => {
  if (!handler || typeof handler !== 'object' || isModern(handler)) return handler
  // What an interceptor passes on counts, not what the server sent: undici does the same.
  const raw = (object) => toPairs(object).map((part) => Buffer.from(`${part}`, 'latin1'))
  const added = {
    onRequestStart: (controller, context) => handler.onConnect((reason) => controller.abort(reason), context),
    onRequestUpgrade: (controller, status, headers, socket) => {
      handler.onUpgrade(status, raw(headers), socket)
    },
    onResponseStart: (controller, status, headers, statusText) => {
      const goesOn = handler.onHeaders(status, raw(headers), () => controller.resume(), statusText)
      if (goesOn === false) controller.pause()
    },
    onResponseData: (controller, chunk) => { if (handler.onData(chunk) === false) controller.pause() },
    onResponseEnd: (controller, trailers) => { handler.onComplete(raw(trailers)) },
    onResponseError: (controller, error) => {
      if (!isFunction(handler.onError)) throw new InvalidArgumentError('invalid onError method')
      handler.onError(error)
    }
  }
  return new Proxy(handler, {
    get (target, name) {
      if (Object.hasOwn(added, name)) return added[name]
      const value = Reflect.get(target, name, target)
      return isFunction(value) ? value.bind(target) : value
    }
  })
}

module.exports = { Controller, faceOf, forInterceptors, isModern, toBytes, toPairs, validateHandler }

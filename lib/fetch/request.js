'use strict'
// One request as undici takes it: checked by undici's rules, in undici's words. Tracing sees this object.
const { Buffer } = require('node:buffer')
const { stringify } = require('node:querystring')
const { remembering } = require('../maps.js')
const channels = require('./channels.js')
const { InvalidArgumentError, NotSupportedError } = require('./errors.js')

const TOKEN = /^[\^_`a-zA-Z\-0-9!#$%&'*+.|~]+$/
const INVALID_PATH = /[^\u0021-\u00ff]/
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'QUERY', 'TRACE', 'CONNECT'])
const LENGTH = /^\d+$/
const INVALID_VALUE = /[^\t\x20-\x7e\x80-\xff]/

/** A header's name in lower case; throws if it is none. */
const lowerCased = remembering(512, (name) => {
  const lower = typeof name === 'string' ? name.toLowerCase() : ''
  if (!TOKEN.test(lower)) throw new InvalidArgumentError('invalid header key')
  return lower
})

const isStream = (body) => typeof body === 'object' && typeof body.pipe === 'function' && typeof body.on === 'function'
const isIterable = (body) => typeof body[Symbol.asyncIterator] === 'function' || typeof body[Symbol.iterator] === 'function'
const isBlob = (body) => body instanceof Blob ||
  ((typeof body.stream === 'function' || typeof body.arrayBuffer === 'function') && /^(?:Blob|File)$/.test(body[Symbol.toStringTag]))
const isFormData = (body) => body[Symbol.toStringTag] === 'FormData' && typeof body.append === 'function'

const isMilliseconds = (value) => value === undefined || value === null || (Number.isFinite(value) && value >= 0)
const isFlag = (value) => value === undefined || value === null || typeof value === 'boolean'

const refuse = (is, words) => { if (is) throw new InvalidArgumentError(words) }

/** A body as one of: `null`, a Buffer, something that is read piece by piece. */
const readBody = (body) => {
  if (body === undefined || body === null) return null
  if (isStream(body)) return body
  if (ArrayBuffer.isView(body)) {
    return body.byteLength ? Buffer.from(body.buffer, body.byteOffset, body.byteLength) : null
  }
  if (body instanceof ArrayBuffer) return body.byteLength ? Buffer.from(body) : null
  if (typeof body === 'string') return body.length ? Buffer.from(body) : null
  if (typeof body === 'object' && (isFormData(body) || isIterable(body) || isBlob(body))) return body
  throw new InvalidArgumentError('body must be a string, a Buffer, a Readable stream, an iterable, or an async iterable')
}

const text = (name, value) => {
  if (value === null) return ''
  if (typeof value === 'object' || typeof value === 'symbol' || typeof value === 'function') {
    throw new InvalidArgumentError(`invalid ${name} header`)
  }
  const words = `${value}`
  refuse(INVALID_VALUE.test(words), `invalid ${name} header`)
  return words
}

const serializeQuery = (path, query) => {
  refuse(path.includes('?') || path.includes('#'), 'Query params cannot be passed when url already contains "?" or "#".')
  const words = stringify(query)
  return words ? `${path}?${words}` : path
}

const validate = (options) => {
  const { path, method, upgrade, headersTimeout, bodyTimeout, reset, expectContinue, throwOnError, maxRedirections } = options
  refuse(typeof path !== 'string', 'path must be a string')
  refuse(path[0] !== '/' && !/^https?:\/\//.test(path) && method !== 'CONNECT', 'path must be an absolute URL or start with a slash')
  refuse(INVALID_PATH.test(path), 'invalid request path')
  refuse(typeof method !== 'string', 'method must be a string')
  refuse(!METHODS.has(method) && !TOKEN.test(method), 'invalid request method')
  refuse(upgrade && typeof upgrade !== 'string', 'upgrade must be a string')
  refuse(upgrade && INVALID_VALUE.test(upgrade), 'invalid upgrade header')
  refuse(!isMilliseconds(headersTimeout), 'invalid headersTimeout')
  refuse(!isMilliseconds(bodyTimeout), 'invalid bodyTimeout')
  refuse(!isFlag(reset), 'invalid reset')
  refuse(!isFlag(expectContinue), 'invalid expectContinue')
  refuse(throwOnError !== undefined && throwOnError !== null, 'invalid throwOnError')
  refuse(maxRedirections, 'maxRedirections is not supported, use the redirect interceptor')
}

/** What a dispatcher is asked, by name. */
const ASKED = {
  path: undefined,
  origin: undefined,
  method: undefined,
  body: undefined,
  headers: undefined,
  query: undefined,
  upgrade: undefined,
  reset: undefined,
  idempotent: undefined,
  retry: undefined,
  allowH2: undefined,
  servername: undefined,
  headersTimeout: undefined,
  bodyTimeout: undefined,
  expectContinue: undefined,
  throwOnError: undefined,
  maxRedirections: undefined
}

/** A literal, as fetch's handler is, whose options are likely to be one too; or a handler of holdfast's own. */
const isWrittenOut = (handler) => handler.onHead !== undefined || Object.getPrototypeOf(handler) === Object.prototype

/**
 * The same options in an object of one shape. undici spreads each request's options into an object that Node 20's V8 gives
 * a shape of its own, and to mention those by name thirty times is a tenth of a request. Those that are written out next to
 * their handler have one shape anyway.
 */
const asked = (options, handler) => {
  if (isWrittenOut(handler)) return options
  const prototype = Object.getPrototypeOf(options)
  if (prototype !== Object.prototype && prototype !== null) return options // may have getters, which no loop finds
  const same = { ...ASKED }
  for (const name in options) if (name in same) same[name] = options[name]
  return same
}

class Request {
  /** In pairs, as the caller wrote them; without `host`, `connection` and `content-length`, which have fields. */
  headers = []
  host = null
  contentLength = null
  contentType = null
  hasIdempotencyKey = false
  aborted = false
  completed = false

  constructor (options, origin) {
    validate(options)
    const { path, method, body, headers, query, upgrade, reset, idempotent, retry } = options
    this.method = method
    this.path = query ? serializeQuery(path, query) : path
    this.origin = origin
    this.body = readBody(body)
    this.upgrade = upgrade || null
    /** Whether it can be one of many on a connection (HTTP/2). */
    this.mayShare = !upgrade && method !== 'CONNECT' && options.allowH2 !== false
    this.reset = reset ?? null
    this.idempotent = idempotent ?? undefined
    this.retry = retry
    this.headersTimeout = options.headersTimeout ?? undefined
    this.bodyTimeout = options.bodyTimeout ?? undefined
    this.servername = options.servername || null
    this.#readHeaders(headers)
    if (channels.create.hasSubscribers) channels.create.publish({ request: this })
  }

  #readHeaders (headers) {
    if (headers === undefined || headers === null) return
    if (Array.isArray(headers)) {
      refuse(headers.length % 2 !== 0, 'headers array must be even')
      for (let at = 0; at < headers.length; at += 2) this.addHeader(headers[at], headers[at + 1])
      return
    }
    refuse(typeof headers !== 'object', 'headers must be an object or an array')
    if (typeof headers[Symbol.iterator] !== 'function') {
      for (const name of Object.keys(headers)) this.addHeader(name, headers[name])
      return
    }
    for (const pair of headers) {
      refuse(!Array.isArray(pair) || pair.length !== 2, 'headers must be in key-value pair format')
      this.addHeader(pair[0], pair[1])
    }
  }

  addHeader (name, value) {
    if (value === undefined) return this
    const lower = lowerCased(name)
    const given = Array.isArray(value) ? value.map((one) => text(name, one)) : text(name, value)
    switch (lower) {
      case 'host':
        refuse(this.host !== null, 'duplicate host header')
        refuse(typeof given !== 'string', 'invalid host header')
        this.host = given
        break
      case 'content-length':
        refuse(this.contentLength !== null, 'duplicate content-length header')
        refuse(typeof given !== 'string' || !LENGTH.test(given), 'invalid content-length header')
        this.contentLength = Number(given)
        break
      case 'connection':
        refuse(typeof given !== 'string', 'invalid connection header')
        for (const word of String(given).toLowerCase().split(',')) {
          refuse(!TOKEN.test(word.trim()), 'invalid connection header')
          if (word.trim() === 'close') this.reset = true
        }
        break
      case 'transfer-encoding':
      case 'keep-alive':
      case 'upgrade':
        throw new InvalidArgumentError(`invalid ${lower} header`)
      case 'expect':
        throw new NotSupportedError('expect header not supported')
      default:
        if (lower === 'content-type') this.contentType ??= given
        else if (lower === 'idempotency-key' || lower === 'x-idempotency-key') this.hasIdempotencyKey = true
        this.headers.push(name, given)
    }
    return this
  }
}

module.exports = { asked, isBlob, isFormData, isStream, Request, TOKEN }

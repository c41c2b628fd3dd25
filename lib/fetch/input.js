'use strict'
// What `fetch` was asked for, as one plain description of the first request.
const { Buffer } = require('node:buffer')
const { invalidType } = require('../errors.js')
const { encodeForm } = require('./form.js')
const { ACCEPTED } = require('./decoding.js')
const { TOKEN } = require('./request.js')
const { isDisturbed } = require('./response.js')

const NORMALIZED = /^(?:delete|get|head|options|post|put)$/i
const FORBIDDEN = /^(?:connect|trace|track)$/i
const REDIRECTS = ['follow', 'error', 'manual']

const methodOf = (method = 'GET') => {
  const name = `${method}`
  if (!TOKEN.test(name)) throw new TypeError(`'${name}' is not a valid HTTP method.`)
  if (FORBIDDEN.test(name)) throw new TypeError(`'${name}' HTTP method is unsupported.`)
  return NORMALIZED.test(name) ? name.toUpperCase() : name
}

/** `{ body, type, again }`: `again` says that it can be sent more than once. A promise as `body` resolves to what differs. */
const bodyOf = (body, duplex) => {
  if (body === undefined || body === null) return { body: null, type: undefined, again: true }
  if (typeof body === 'string') return { body, type: 'text/plain;charset=UTF-8', again: true }
  if (body instanceof URLSearchParams) {
    return { body: `${body}`, type: 'application/x-www-form-urlencoded;charset=UTF-8', again: true }
  }
  // What is changed later is not what was asked to be sent.
  if (ArrayBuffer.isView(body)) {
    return { body: new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice(), type: undefined, again: true }
  }
  if (body instanceof ArrayBuffer) return { body: body.slice(0), type: undefined, again: true }
  if (body instanceof Blob) return { body, type: body.type || undefined, again: true }
  if (body instanceof FormData) {
    const whole = encodeForm(body)
    return { body: whole, type: whole.type, again: true }
  }
  const isStream = body instanceof ReadableStream
  if (isStream || typeof body[Symbol.asyncIterator] === 'function') {
    if (duplex !== 'half') throw new TypeError('RequestInit: duplex option is required when sending a body.')
    if (isStream && (body.locked || isDisturbed(body))) {
      throw new TypeError('Response body object should not be disturbed or locked')
    }
    return { body, type: undefined, again: false }
  }
  return { body: `${body}`, type: 'text/plain;charset=UTF-8', again: true }
}

/** So much of a Request's body is read before any of it is sent. */
const MOST_GATHERED = 64 * 1024

async function * rest (chunks, reader, next) {
  try {
    yield * chunks
    for (let { done, value } = await next; !done; { done, value } = await reader.read()) yield value
  } finally {
    reader.cancel().catch(() => {})
  }
}

/**
 * What the body of a Request was made of cannot be seen from outside. One that is there within a turn is sent as a whole, so
 * with its length, and once more where a redirect wants it; any other may depend on its answer, and is sent as it comes.
 */
const gather = async (stream) => {
  const reader = stream.getReader()
  const late = new Promise((resolve) => setImmediate(resolve))
  const chunks = []
  let size = 0
  for (;;) {
    const next = reader.read()
    // A failure is for whom the rest is read by.
    const read = await Promise.race([next, late]).catch(() => {})
    if (read?.done) return { body: Buffer.concat(chunks), again: true }
    if (size > MOST_GATHERED || !(read?.value instanceof Uint8Array)) return { body: rest(chunks, reader, next), again: false }
    chunks.push(read.value)
    size += read.value.length
  }
}

const hrefOf = (input) => input instanceof Request ? input.url : `${input}`

const urlOf = (input) => {
  let url
  try {
    url = new URL(input)
  } catch (cause) {
    throw new TypeError(`Failed to parse URL from ${input}`, { cause })
  }
  if (url.username || url.password) {
    throw new TypeError('Request cannot be constructed from a URL that includes credentials: [hidden]')
  }
  return url
}

const headersOf = (given, type) => {
  const headers = {}
  if (given !== undefined && given !== null) {
    for (const [name, value] of given instanceof Headers ? given : new Headers(given)) headers[name] = value
  }
  if (type !== undefined) headers['content-type'] ??= type
  headers.accept ??= '*/*'
  headers['accept-language'] ??= '*'
  headers['sec-fetch-mode'] ??= 'cors'
  headers['user-agent'] ??= 'holdfast'
  // A part of what is packed cannot be unpacked.
  headers['accept-encoding'] ??= headers.range === undefined ? ACCEPTED : 'identity'
  return headers
}

const MEMBERS = ['method', 'headers', 'body', 'duplex', 'redirect', 'signal', 'integrity', 'retry']

/** `init` has the last word, as everywhere. */
const merged = (request, init) => {
  const given = {}
  for (const name of MEMBERS) given[name] = init[name] === undefined ? request?.[name] : init[name]
  return given
}

/**
 * `{ url, method, headers, body, again, redirect, signal, retry }`; throws the platform's TypeErrors.
 * @param {any} input @param {any} init
 */
const readInput = (input, init = {}) => {
  if (init !== null && typeof init !== 'object') throw invalidType('init', 'of type object', init)
  const request = input instanceof Request ? input : undefined
  if (request?.bodyUsed) throw new TypeError('Cannot construct a Request with a Request object that has already been used.')
  const given = merged(request, init)
  const { redirect = 'follow', signal = null, integrity, retry } = given
  if (integrity) throw new TypeError('integrity is not supported: check the body\'s digest yourself')
  if (!REDIRECTS.includes(redirect)) throw new TypeError(`'${redirect}' is not one of ${REDIRECTS.join(', ')}`)
  if (signal !== null && !(signal instanceof AbortSignal)) throw new TypeError('init.signal must be an AbortSignal')
  const method = methodOf(given.method)
  const { body, type, again } = bodyOf(given.body, given.duplex)
  if (body !== null && (method === 'GET' || method === 'HEAD')) throw new TypeError('Request with GET/HEAD method cannot have body.')
  const url = urlOf(hrefOf(input))
  const headers = headersOf(given.headers, type)
  const isGathered = body !== null && body === request?.body
  return { url, method, headers, body: isGathered ? gather(body) : body, again, redirect, signal, retry }
}

module.exports = { hrefOf, readInput }

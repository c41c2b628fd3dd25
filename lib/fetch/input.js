'use strict'
// What `fetch` was asked for, as one plain description of the first request.
const { invalidType } = require('../errors.js')
const { ACCEPTED } = require('./decoding.js')
const { isDisturbed } = require('./response.js')

const NORMALIZED = /^(?:delete|get|head|options|post|put)$/i
const FORBIDDEN = /^(?:connect|trace|track)$/i
const TOKEN = /^[\^_`a-zA-Z\-0-9!#$%&'*+.|~]+$/
const REDIRECTS = ['follow', 'error', 'manual']

const methodOf = (method = 'GET') => {
  const name = `${method}`
  if (!TOKEN.test(name)) throw new TypeError(`'${name}' is not a valid HTTP method.`)
  if (FORBIDDEN.test(name)) throw new TypeError(`'${name}' HTTP method is unsupported.`)
  return NORMALIZED.test(name) ? name.toUpperCase() : name
}

/** `{ body, type, again }`: `again` says that it can be sent more than once. */
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
    const whole = new Response(body)
    return { body: whole.blob(), type: whole.headers.get('content-type'), again: true }
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
  headers['accept-encoding'] ??= ACCEPTED
  return headers
}

/** Of a platform's Request, what this one takes; `init` has the last word, as everywhere. */
const fromRequest = (request) => ({
  method: request.method,
  headers: request.headers,
  body: request.body,
  duplex: 'half',
  redirect: request.redirect,
  signal: request.signal
})

/** `{ url, method, headers, body, again, redirect, signal, retry }`; throws the platform's TypeErrors. */
/** @param {any} input @param {any} init */
const readInput = (input, init = {}) => {
  if (init !== null && typeof init !== 'object') throw invalidType('init', 'of type object', init)
  const isRequest = input instanceof Request
  if (isRequest && input.bodyUsed) throw new TypeError('Cannot construct a Request with a Request object that has already been used.')
  const given = { ...isRequest && fromRequest(input), ...init }
  const { redirect = 'follow', signal = null, integrity, retry } = given
  if (integrity) throw new TypeError('integrity is not supported: check the body\'s digest yourself')
  if (!REDIRECTS.includes(redirect)) throw new TypeError(`'${redirect}' is not one of ${REDIRECTS.join(', ')}`)
  if (signal !== null && !(signal instanceof AbortSignal)) throw new TypeError('init.signal must be an AbortSignal')
  const method = methodOf(given.method)
  const { body, type, again } = bodyOf(given.body, given.duplex)
  if (body !== null && (method === 'GET' || method === 'HEAD')) throw new TypeError('Request with GET/HEAD method cannot have body.')
  return {
    url: urlOf(isRequest ? input.url : input), method, headers: headersOf(given.headers, type), body, again, redirect, signal, retry
  }
}

module.exports = { readInput }

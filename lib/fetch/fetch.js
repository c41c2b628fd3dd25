'use strict'
// A `fetch` that does without the platform's: its arguments, its answers, its errors, over a dispatcher.
const { Buffer } = require('node:buffer')
const events = require('node:events')
const { FetchAgent } = require('./agent.js')
const { invalidType, invalidValue, unsupportedOption } = require('../errors.js')
const { AbortError } = require('./errors.js')
const { decode, encodingsOf } = require('./decoding.js')
const { toPairs } = require('./handlers.js')
const { Incoming } = require('./incoming.js')
const { hrefOf, readInput } = require('./input.js')
const platform = require('./platform.js')
const { isBlocked } = require('./ports.js')
const { FetchResponse } = require('./response.js')

const MOST_REDIRECTS = 20
const NULL_BODY = new Set([204, 205, 304])
const REDIRECTS = new Set([301, 302, 303, 307, 308])
const OF_THE_BODY = ['content-encoding', 'content-language', 'content-location', 'content-type', 'content-length']
const OF_THE_ORIGIN = ['authorization', 'proxy-authorization', 'cookie', 'host']

const failed = (cause) => new TypeError('fetch failed', { cause })

const headerOf = (pairs, name) => {
  for (let at = 0; at < pairs.length; at += 2) {
    if (pairs[at].length === name.length && pairs[at].toLowerCase() === name) return pairs[at + 1]
  }
  return undefined
}

/** Bytes of a header come one a character; a location may be written in UTF-8. */
const textOf = (location) => /[\x80-\xff]/.test(location) ? Buffer.from(location, 'latin1').toString() : location

/** What a redirect turns a request into; throws why it may not. */
const redirected = (request, status, location) => {
  const url = new URL(textOf(location), request.url)
  if (!/^https?:$/.test(url.protocol)) throw new Error('URL scheme must be a HTTP(S) scheme')
  if (url.username || url.password) throw new Error('cross origin not allowed for request mode "cors"')
  if (!url.hash) url.hash = request.url.hash
  const next = { ...request, url, headers: { ...request.headers }, redirects: request.redirects + 1 }
  if (next.redirects > MOST_REDIRECTS) throw new Error('redirect count exceeded')
  if (status !== 303 && !request.again) throw new Error('the body was a stream, and cannot be sent again')
  const isRewritten = (status === 301 || status === 302) && request.method === 'POST'
  if (isRewritten || (status === 303 && request.method !== 'GET' && request.method !== 'HEAD')) {
    Object.assign(next, { method: 'GET', body: null, again: true })
    for (const name of OF_THE_BODY) delete next.headers[name]
  }
  if (url.origin !== request.url.origin) for (const name of OF_THE_ORIGIN) delete next.headers[name]
  return next
}

/** What the dispatcher tells of one request, up to its answer or the next redirect. */
class Handler {
  #request
  /** `undefined` once it was called: its functions know the response, which must be free to go. */
  #settle
  #controller
  /** Where the body goes, if it is of use. */
  #sink
  #onAbort

  /** `settle`: `{ answer(response), follow(request), fail(error) }`. */
  constructor (request, settle) {
    this.#request = request
    this.#settle = settle
    const { signal } = request
    if (signal === null) return
    this.#onAbort = () => this.#abort(signal.reason)
    allowListeners(signal)
    signal.addEventListener('abort', this.#onAbort)
  }

  onRequestStart (controller) {
    this.#controller = controller
    const { signal } = this.#request
    if (signal?.aborted) controller.abort(signal.reason)
  }

  // Where an interceptor stands between: what it says of the headers counts, not what came.
  onResponseStart (controller, status, headers, statusText) {
    this.onHead(status, toPairs(headers), statusText ?? '')
  }

  /** The head of the answer, with its headers in pairs. */
  onHead (status, pairs, statusText) {
    if (status < 200 || this.#settle === undefined) return
    const { method, url, redirect, redirects } = this.#request
    const location = REDIRECTS.has(status) ? headerOf(pairs, 'location') : undefined
    if (location !== undefined && redirect !== 'manual') return this.#redirect(status, location)
    const facts = { status, statusText, pairs, url: url.href.split('#', 1)[0], redirected: redirects > 0 }
    if (method === 'HEAD' || NULL_BODY.has(status)) return this.#take().answer(new FetchResponse(facts, {}))
    const incoming = new Incoming(() => this.#leave())
    this.#sink = decode(encodingsOf(pairs), incoming)
    this.#sink.source = this
    this.#take().answer(new FetchResponse(facts, { incoming }))
  }

  #redirect (status, location) {
    if (this.#request.redirect === 'error') throw new Error('unexpected redirect')
    const next = redirected(this.#request, status, location)
    this.#take().follow(next)
  }

  onResponseData (controller, chunk) { this.#sink?.push(chunk) }

  onResponseEnd () {
    if (this.#sink) this.#sink.end()
    else this.#leave()
  }

  onResponseError (controller, error) {
    const { signal } = this.#request
    if (signal?.aborted) this.#fail(signal.reason)
    else this.#fail(this.#settle ? failed(error) : new TypeError('terminated', { cause: error }))
  }

  // The body's source.

  flow (isFlowing) {
    if (isFlowing) this.#controller.resume()
    else this.#controller.pause()
  }

  cancel (reason) {
    this.#leave()
    this.#controller.abort(reason ?? new AbortError())
  }

  /** Also of what has come and was not read yet, of which the dispatcher knows no more. */
  #abort (reason) {
    this.#controller?.abort(reason)
    this.#fail(reason)
  }

  #fail (reason) {
    this.#leave()
    this.#take()?.fail(reason)
    this.#sink?.fail(reason)
  }

  #take () {
    const settle = this.#settle
    this.#settle = undefined
    return settle
  }

  #leave () {
    if (this.#onAbort) this.#request.signal.removeEventListener('abort', this.#onAbort)
  }
}

/** Many requests may share a signal. From Node 22 on it has no limit by itself. */
const allowListeners = (signal) => {
  try {
    if (events.getMaxListeners(signal) === events.defaultMaxListeners) events.setMaxListeners(Infinity, signal)
  } catch {
    // So Node 20 answers of one that has no limit.
  }
}

const isDispatcher = (value) => typeof value?.dispatch === 'function'

const checked = (name, dispatcher) => {
  if (!isDispatcher(dispatcher)) throw invalidType(name, 'a dispatcher, as a FetchAgent is', dispatcher)
  return dispatcher
}

/** One that is there already, or a new one; what would be of no effect is refused. */
const dispatcherOf = (options) => {
  if (isDispatcher(options)) throw invalidValue('options', 'must be options: pass { dispatcher }', options)
  const { dispatcher, ...others } = options ?? {}
  if (dispatcher === undefined || dispatcher === null) return new FetchAgent(options)
  checked('options.dispatcher', dispatcher)
  const [other] = Object.entries(others).find(([, value]) => value !== undefined) ?? []
  if (other !== undefined) throw unsupportedOption(other, 'it is the dispatcher\'s to have')
  return dispatcher
}

/**
 * `options` are a FetchAgent's, or `{ dispatcher }`: one that is there already.
 * @param {any} [options]
 */
const createFetch = (options) => {
  const usual = dispatcherOf(options)
  const send = (request, resolve, reject) => {
    const { url, method, headers, body, retry, dispatcher } = request
    if (isBlocked(url.port)) return reject(failed(new Error('bad port')))
    const handler = new Handler(request, { answer: resolve, follow: (next) => send(next, resolve, reject), fail: reject })
    try {
      dispatcher.dispatch({ origin: url.origin, path: url.pathname + url.search, method, headers, body, retry }, handler)
    } catch (error) {
      handler.onResponseError(null, error)
    }
  }
  const fetch = async (input, init) => {
    // Of other schemes the platform's own has the answers: data:, blob:.
    if (/^(?!https?:)[a-z][a-z\d+.-]*:/i.test(hrefOf(input))) return platform(input, init)
    const request = readInput(input, init ?? {})
    request.redirects = 0
    request.dispatcher = checked('init.dispatcher', init?.dispatcher ?? usual)
    if (request.signal?.aborted) throw request.signal.reason
    // Forms and bodies of the platform's Requests take their time.
    if (request.body instanceof Promise) Object.assign(request, await request.body)
    return new Promise((resolve, reject) => send(request, resolve, reject))
  }
  /** What it sends by. */
  fetch.agent = usual
  return fetch
}

module.exports = { createFetch }

'use strict'
// A `fetch` that does without the platform's: its arguments, its answers, its errors, over a dispatcher.
const { Buffer } = require('node:buffer')
const { FetchAgent } = require('./agent.js')
const { AbortError } = require('./errors.js')
const { decode, encodingsOf } = require('./decoding.js')
const { Incoming } = require('./incoming.js')
const { hrefOf, readInput } = require('./input.js')
const { FetchResponse } = require('./response.js')

/** A program may make this one the platform's. */
const platform = globalThis.fetch

const MOST_REDIRECTS = 20
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
  let url
  try {
    url = new URL(textOf(location), request.url)
  } catch (cause) {
    throw failed(cause)
  }
  if (!/^https?:$/.test(url.protocol)) throw failed(new Error('URL scheme must be a HTTP(S) scheme'))
  if (url.username || url.password) throw failed(new Error('cross origin not allowed for request mode "cors"'))
  if (!url.hash) url.hash = request.url.hash
  const next = { ...request, url, headers: { ...request.headers }, redirects: request.redirects + 1 }
  if (next.redirects > MOST_REDIRECTS) throw failed(new Error('redirect count exceeded'))
  if (status !== 303 && !request.again) throw failed(new Error('the body was a stream, and cannot be sent again'))
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
  #settle
  #controller
  #sink
  #incoming
  #onAbort
  /** Whether the answer was a redirect that is followed: its body is of no use. */
  #isSkipped = false

  /** `settle`: `{ answer(response), follow(request), fail(error) }`. */
  constructor (request, settle) {
    this.#request = request
    this.#settle = settle
  }

  onRequestStart (controller) {
    this.#controller = controller
    const { signal } = this.#request
    if (signal === null) return
    if (signal.aborted) return controller.abort(signal.reason)
    this.#onAbort = () => controller.abort(signal.reason)
    signal.addEventListener('abort', this.#onAbort)
  }

  // The second generation's other arguments are of no use here: `head` is told before, with the headers as they came.
  onResponseStart () {}

  /** The head of the answer, with its headers in pairs. */
  onHead (status, pairs, statusText) {
    if (status < 200) return
    const location = REDIRECTS.has(status) ? headerOf(pairs, 'location') : undefined
    if (location !== undefined && this.#request.redirect !== 'manual') return this.#redirect(status, location)
    const flow = (isFlowing) => isFlowing ? this.#controller.resume() : this.#controller.pause()
    const encodings = this.#request.method === 'HEAD' ? [] : encodingsOf(pairs)
    let outermost
    this.#incoming = new Incoming(
      (isFlowing) => { (outermost ?? { flow }).flow(isFlowing) },
      (reason) => this.#controller.abort(reason ?? new AbortError())
    )
    this.#sink = this.#incoming
    if (encodings.length > 0) this.#sink = outermost = decode(encodings, this.#incoming, flow)
    const { url, redirects } = this.#request
    const href = url.href.split('#', 1)[0]
    this.#settle.answer(new FetchResponse({ status, statusText, pairs, url: href, redirected: redirects > 0 }, {
      incoming: this.#request.method === 'HEAD' ? undefined : this.#incoming
    }))
  }

  #redirect (status, location) {
    if (this.#request.redirect === 'error') throw failed(new Error('unexpected redirect'))
    const next = redirected(this.#request, status, location)
    this.#isSkipped = true
    this.#settle.follow(next)
  }

  onResponseData (controller, chunk) {
    if (!this.#isSkipped) this.#sink.push(chunk)
  }

  onResponseEnd () {
    this.#leave()
    if (!this.#isSkipped) this.#sink.end()
  }

  onResponseError (controller, error) {
    this.#leave()
    if (this.#isSkipped) return
    const { signal } = this.#request
    const reason = signal?.aborted && error === signal.reason ? error : error instanceof TypeError && error.message === 'fetch failed' ? error : failed(error)
    if (this.#incoming === undefined) this.#settle.fail(reason)
    else this.#sink.fail(reason === error ? error : new TypeError('terminated', { cause: error }))
  }

  #leave () {
    if (this.#onAbort) this.#request.signal.removeEventListener('abort', this.#onAbort)
  }
}

/** `options` are a FetchAgent's, or `{ dispatcher }`: one that is there already. */
/** @param {any} options */
const createFetch = ({ dispatcher: given, ...options } = {}) => {
  const dispatcher = given ?? new FetchAgent(options)
  const send = (request, resolve, reject) => {
    const { url, method, headers, body, retry } = request
    const handler = new Handler(request, { answer: resolve, follow: (next) => send(next, resolve, reject), fail: reject })
    dispatcher.dispatch({ origin: url.origin, path: url.pathname + url.search, method, headers, body, retry }, handler)
  }
  const fetch = async (input, init) => {
    // Of other schemes the platform's own has the answers: data:, blob:.
    if (/^(?!https?:)[a-z][a-z\d+.-]*:/i.test(hrefOf(input))) return platform(input, init)
    const request = readInput(input, init ?? {})
    request.redirects = 0
    if (request.signal?.aborted) throw request.signal.reason
    // Forms and bodies of the platform's Requests take their time.
    if (request.body instanceof Promise) Object.assign(request, await request.body)
    return new Promise((resolve, reject) => send(request, resolve, reject))
  }
  /** What it sends by. */
  fetch.agent = dispatcher
  return fetch
}

module.exports = { createFetch }

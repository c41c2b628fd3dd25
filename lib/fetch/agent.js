'use strict'
// A dispatcher for `fetch` and undici: their contract over the engine's pool.
const { EventEmitter } = require('node:events')
const { remembering } = require('../maps.js')
const { ClientClosedError, ClientDestroyedError, InvalidArgumentError, NotSupportedError, throwLater } = require('./errors.js')
const { settleLength } = require('./body.js')
const { Exchange } = require('./exchange.js')
const { forInterceptors, isModern, validateHandler } = require('./handlers.js')
const { parseFetchOptions } = require('./options.js')
const { Pool } = require('./pool.js')
const { asked, Request } = require('./request.js')
const { install, uninstall } = require('./global.js')

/** What errors of one request are told to, though there is no exchange yet. */
const refuse = (handler, error) => {
  if (isModern(handler) && typeof handler.onResponseError === 'function') handler.onResponseError(null, error)
  else if (typeof handler.onError === 'function') handler.onError(error)
  else throw error
}

/** By a promise, or to a callback. */
const answer = (promise, done) => {
  if (done === undefined) return promise
  if (typeof done !== 'function') throw new InvalidArgumentError('invalid callback')
  promise.then(() => done(null, null), (error) => done(error, null))
}

const parsedOrigin = remembering(1024, (href) => {
  const url = URL.canParse(href) ? new URL(href) : undefined
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    throw new InvalidArgumentError('Invalid URL protocol: the URL must start with `http:` or `https:`.')
  }
  return url.origin
})

const originOf = ({ origin }) => {
  const href = origin instanceof URL ? origin.origin : origin
  if (typeof href !== 'string' || href === '') {
    throw new InvalidArgumentError('opts.origin must be a non-empty string or URL.')
  }
  return parsedOrigin(href)
}

// Methods that are about the dispatcher they are called on, be it an agent or one composed of it.
/** @type {Set<string | symbol>} */
const OF_THE_CALLED = new Set(['compose', 'install', 'uninstall'])

class FetchAgent extends EventEmitter {
  #pool
  #limits
  #closing
  #isDestroyed = false

  constructor (options) {
    super()
    const settings = parseFetchOptions(options)
    this.#limits = settings.limits
    this.#pool = new Pool(new Owner(this), settings)
  }

  dispatch (opts, handler) {
    if (!handler || typeof handler !== 'object') throw new InvalidArgumentError('handler must be an object')
    let exchange
    try {
      if (!opts || typeof opts !== 'object') throw new InvalidArgumentError('opts must be an object.')
      if (this.#isDestroyed) throw new ClientDestroyedError()
      if (this.#closing) throw new ClientClosedError()
      const options = asked(opts, handler)
      const origin = originOf(options)
      validateHandler(handler, options)
      const request = new Request(options, origin)
      settleLength(request, this.#limits.strictContentLength)
      exchange = new Exchange(request, handler, this.#pool)
    } catch (error) {
      refuse(handler, error)
      return false
    }
    return exchange.start() ? this.#pool.submit(exchange) : true
  }

  /** This agent with interceptors before it; they get handlers that know both generations. */
  compose (...interceptors) {
    let dispatch = (opts, handler) => this.dispatch(opts, handler)
    for (const interceptor of interceptors.flat()) {
      if (interceptor === undefined || interceptor === null) continue
      if (typeof interceptor !== 'function') {
        throw new TypeError(`invalid interceptor, expected function received ${typeof interceptor}`)
      }
      const intercepted = interceptor(dispatch)
      if (typeof intercepted !== 'function' || intercepted.length !== 2) throw new TypeError('invalid interceptor')
      dispatch = (opts, handler) => intercepted(opts, forInterceptors(handler))
    }
    return new Proxy(this, {
      get (target, name) {
        if (name === 'dispatch') return dispatch
        const value = Reflect.get(target, name, target)
        return typeof value === 'function' && !OF_THE_CALLED.has(name) ? value.bind(target) : value
      }
    })
  }

  get closed () { return this.#closing !== undefined }

  get destroyed () { return this.#isDestroyed }

  // undici's WebSocket and EventSource ask for these.
  get webSocketOptions () { return this.#limits.webSocket }

  get eventSourceOptions () { return this.#limits.eventSource }

  stats () { return this.#pool.stats() }

  close (done) {
    if (this.#isDestroyed) return answer(Promise.reject(new ClientDestroyedError()), done)
    this.#closing ??= this.#pool.quiet().then(() => this.#end(null)).then(() => this.#pool.emptied())
    this.#pool.closeIdle()
    return answer(this.#closing, done)
  }

  destroy (error, done) {
    if (typeof error === 'function') [error, done] = [null, error]
    this.#end(error ?? null)
    return answer(this.#pool.emptied(), done)
  }

  #end (error) {
    if (this.#isDestroyed) return
    this.#isDestroyed = true
    this.#pool.destroy(error ?? new ClientDestroyedError())
  }

  /** Has every `fetch` of the process use this agent. */
  install () {
    install(this)
    return this
  }

  /** Gives back what `install` took. */
  uninstall () {
    uninstall(this)
    return this
  }
}

// undici's callers take a dispatcher; they are no methods of this one.
for (const name of ['connect', 'pipeline', 'request', 'stream', 'upgrade']) {
  FetchAgent.prototype[name] = () => {
    throw new NotSupportedError(`call undici.${name}(url, { dispatcher: agent }) instead of agent.${name}()`)
  }
}

/** What the pool tells of its connections, as undici's events. */
class Owner {
  #agent

  constructor (agent) {
    this.#agent = agent
  }

  get agent () { return this.#agent }

  connected (url) { this.emit('connect', url, [this.#agent]) }
  disconnected (url, error) { this.emit('disconnect', url, [this.#agent], error) }
  connectionFailed (url, error) { this.emit('connectionError', url, [this.#agent], error) }
  drained (url) { this.emit('drain', url, [this.#agent]) }
  listenerCount (kind) { return this.#agent.listenerCount(kind) }

  /** A listener that throws harms no request. */
  emit (kind, ...facts) {
    try {
      this.#agent.emit(kind, ...facts)
    } catch (error) {
      throwLater(error)
    }
  }
}

module.exports = { FetchAgent }

'use strict'
// The engine's pool as a dispatcher uses it: which connection an exchange gets, and what becomes of it.
const startEnvironment = require('../environment.js')
const { report } = require('../diagnostics.js')
const { checkoutTimeout, queueFull } = require('../errors.js')
const { toNative } = require('../options.js')
const { isStream, placeNumber, WAITERS } = require('../leases.js')
const { Place } = require('../place.js')
const { isMended, parseRetry } = require('../retry.js')
const { contextFor } = require('../tls/context.js')
const { rejectsUnauthorized } = require('../tls/verdict.js')
const { TransientMap, TransientSet } = require('../transient.js')
const { Connection } = require('./connection.js')
const { FetchOrigins } = require('./origins.js')
const { InvalidArgumentError } = require('./errors.js')
const { Stream } = require('./stream.js')

const KEPT = -1
const CLOSE = -2

const MOST_SESSIONS = 100

/** Whoever waits at it goes on once `isOpen`, which is asked at each `look`. */
const gate = (isOpen) => {
  const waiting = []
  const look = () => {
    if (waiting.length > 0 && isOpen()) for (const resolve of waiting.splice(0)) resolve()
  }
  const wait = () => new Promise((resolve) => {
    waiting.push(resolve)
    look()
  })
  return { look, wait }
}

class Pool {
  timeoutSocketCount = 0
  #environment = startEnvironment()
  #native = this.#environment.native
  #number
  #isClosing = false
  #owner
  #settings
  #origins
  #waiters = new TransientMap()
  #sessions = new Map()
  #contexts = new WeakMap()
  /** All that are open or opening. */
  #connections = new Set()
  /** Exchanges that have begun and not ended. */
  #running = new TransientSet()
  #quiet = gate(() => this.#running.size === 0)
  #empty = gate(() => this.#connections.size === 0)

  /** `owner` hears `connected`, `disconnected`, `connectionFailed`, `drained`. */
  constructor (owner, settings) {
    this.#owner = owner
    this.#settings = settings
    const { options, retry } = settings
    const { maxSockets = Infinity, maxTotalSockets = Infinity, queueLimit = Infinity, scheduling } = options
    // A shared connection is put to rest by the engine, which does not know of `keepAlive`.
    const { maxFreeSockets = 256 } = options.keepAlive ? options : { maxFreeSockets: 0 }
    const limits = { maxSockets: maxSockets || Infinity, maxTotalSockets, maxFreeSockets, queueLimit, lifo: scheduling !== 'fifo' }
    this.#number = this.#native.addAgent(toNative(options, retry, limits))
    this.#origins = new FetchOrigins(this.#native, this.#number, settings)
    this.#environment.register(this.#number, this, owner)
    /** What undici calls the thing that connects; tracers only look whether there is one. */
    this.connector = () => {}
  }

  get limits () { return this.#settings.limits }

  get keepsAlive () { return this.#settings.options.keepAlive }

  stats () { return this.#origins.stats() }

  /** Host header, path, and what a proxy is told, of a request on a connection. */
  lineOf ({ origin: { url, options } }, { method, path, host }) {
    const proxy = this.#settings.proxies[options.protocol]
    const line = { host: host ?? url.host, path, forProxy: undefined }
    if (options.protocol !== 'http:' || !proxy?.serves(options) || proxy.isSocks) return line
    line.path = proxy.targetOf(method, path, options)
    line.forProxy = proxy.headers(this.keepsAlive)
    return line
  }

  // Exchanges.

  /** What is sent again, as a request or else its agent was told. */
  policyOf ({ retry }) {
    if (retry === undefined) return this.#settings.retry
    try {
      return parseRetry(retry, this.#settings.retry, { isFetch: true })
    } catch (error) {
      throw new InvalidArgumentError(error.message, { cause: error })
    }
  }

  /** Gives an exchange a connection, at once or when there is one. `false`: it waits. */
  submit (exchange) {
    try {
      return this.#checkOut(exchange)
    } catch (error) {
      exchange.fail(error)
      return true
    }
  }

  #checkOut (exchange) {
    const origin = exchange.origin = this.#origins.of(exchange.request)
    const { isIdempotent, retry } = exchange
    const answer = this.#environment.calls.checkout(this.#number, origin.number, isIdempotent, isMended(retry, isIdempotent))
    if (answer === Infinity) {
      exchange.fail(queueFull(this.#settings.options.queueLimit))
      return true
    }
    if (answer >= WAITERS) return this.#wait(exchange, answer)
    this.#serve(exchange, answer)
    return true
  }

  /** By a lease: of an idle connection, a new one, or a share of one. */
  #serve (exchange, lease) {
    const number = placeNumber(lease)
    this.#usePolicy(exchange, number)
    this.#goOn(exchange, number)
    if (isStream(lease)) this.#share(exchange, number)
    else if (lease < 0) this.#open(exchange, number)
    else this.#reuse(exchange, this.#environment.places[number])
  }

  /** Whether the origin's budget has room for another attempt; it is spent then. */
  affords ({ origin, retry }) { return this.#native.spendRetry(this.#number, origin.number, retry.native) }

  began (exchange) { this.#running.add(exchange) }

  /** An exchange is over, however it ended. */
  settled (exchange) {
    this.#running.delete(exchange)
    if (exchange.interrupted?.place) this.#dropStream(exchange.interrupted.place)
    this.#quiet.look()
  }

  /** Resolves when nothing runs or waits. */
  quiet () { return this.#quiet.wait() }

  /** Resolves when the last connection has closed. */
  emptied () { return this.#empty.wait() }

  #forget (connection) {
    this.#connections.delete(connection)
    this.#empty.look()
  }

  #usePolicy ({ retry }, number) {
    if (retry !== this.#settings.retry) this.#native.setPolicy(number, retry.native)
  }

  #reuse (exchange, place) {
    place.isIdle = false
    place.requests++
    report(place, 'reuse')
    place.socket.begin(exchange)
  }

  #open (exchange, number) {
    const { origin } = exchange
    const place = new Place({ environment: this.#environment, agent: this, number, origin, options: origin.options })
    const connection = new Connection(place, this)
    place.requests++
    this.#connections.add(connection)
    try {
      connection.open(origin.options)
    } catch (error) {
      this.#forget(connection)
      connection.destroyed = true
      this.#native.discard(number, true)
      this._leave(place)
      return exchange.fail(error)
    }
    connection.begin(exchange)
  }

  #wait (exchange, waiter) {
    const { origin } = exchange
    origin.waiting++
    this.#waiters.set(waiter, { exchange, since: performance.now() })
    exchange.leaveQueue = () => {
      this.#native.cancel(this.#number, origin.number, waiter)
      this.#takeWaiter(waiter)
    }
    return false
  }

  #takeWaiter (waiter) {
    const waiting = this.#waiters.take(waiter)
    if (waiting === undefined) return undefined
    const { exchange } = waiting
    exchange.leaveQueue = undefined
    if (--exchange.origin.waiting === 0) this.#owner.drained(exchange.origin.url)
    return waiting
  }

  #answerWaiter (waiter, lease) {
    const { exchange, since } = this.#takeWaiter(waiter)
    this.#native.begin(placeNumber(lease), exchange.isIdempotent, performance.now() - since)
    this.#serve(exchange, lease)
  }

  _hasRoom () { this.#grantAll() }

  #grantAll () {
    for (let granted = this.#native.grant(this.#number); granted; granted = this.#native.grant(this.#number)) {
      const [waiter, lease] = granted
      this.#answerWaiter(waiter, lease)
    }
  }

  // HTTP/2.

  /** What a connection of a shared origin speaks. */
  settleSharing (origin, isShared) {
    origin.isShared = isShared
    this.#native.setShared(this.#number, origin.number, isShared)
  }

  /** A connection that has just been opened is shared; its exchange gets the first stream. */
  share (connection) {
    const number = this.#native.share(connection._place.number, this.limits)
    if (number === null) return // It is not open after all, as it is about to be told.
    const { exchange } = connection.handOver()
    if (exchange === undefined) this.#native.discard(number, false)
    else this.#share(exchange, number)
  }

  #share (exchange, number) {
    const { origin } = exchange
    const place = new Place({ environment: this.#environment, agent: this, number, origin, options: origin.options })
    place.requests++
    const stream = new Stream(place, this)
    stream.begin(exchange)
  }

  /** The exchange of a stream begins again. */
  again (stream) {
    const { exchange, pump } = stream.handOver()
    const { _place: place } = stream
    if (exchange === undefined) return
    exchange.interrupt(place, pump, this.#native.takeBody(place.number))
    this.submit(exchange)
  }

  /** An exchange that was interrupted stays the one that it was. */
  #goOn ({ interrupted }, number) {
    if (interrupted?.place === undefined) return
    this.#native.inherit(number, interrupted.place.number)
    this.#dropStream(interrupted.place)
    interrupted.place = undefined
  }

  #dropStream (place) {
    this.#native.discard(place.number, false)
    place.leave()
  }

  _gaveUp (low, high) {
    const waiting = this.#takeWaiter(WAITERS + low + high * WAITERS)
    waiting?.exchange.fail(checkoutTimeout(this.#settings.options.queueTimeout))
  }

  /** An exchange has ended well; whether its connection may have another depends on more than that. */
  release (connection, isReusable) {
    const { _place: place } = connection
    if (connection.isStream) return this.#dropStream(place)
    const isKept = isReusable && ((this.keepsAlive && !this.#isClosing) || place.origin.waiting > 0)
    const answer = this.#environment.calls.release(place.number, isKept)
    if (answer === CLOSE) return connection.destroy()
    if (answer === KEPT) {
      place.isIdle = true
      return
    }
    this.#answerWaiter(answer, place.number)
  }

  // Connections.

  contextOf (options) {
    let context = this.#contexts.get(options)
    if (context === undefined) this.#contexts.set(options, context = contextFor(options))
    return context
  }

  sessionOf (place) {
    place.sessionKey = rejectsUnauthorized(place.options) ? place.origin.name : `${place.origin.name}:unverified`
    return this.#sessions.get(place.sessionKey)
  }

  sessionCame (place, session) {
    const most = this.#settings.options.maxCachedSessions ?? MOST_SESSIONS
    if (!place.sessionKey || most === 0) return
    this.#sessions.delete(place.sessionKey)
    if (this.#sessions.size >= most) this.#sessions.delete(this.#sessions.keys().next().value)
    this.#sessions.set(place.sessionKey, session)
  }

  connected (connection) { this.#owner.connected(connection._place.origin.url) }
  disconnected (connection, error) { this.#owner.disconnected(connection._place.origin.url, error) }
  connectFailed (connection, error) {
    const { origin } = connection._place
    this.#owner.connectionFailed(origin.url, error)
    if (!origin.isShared) return
    // They waited for this one.
    for (const { exchange } of this.#waiters.values()) if (exchange.origin === origin) exchange.fail(error)
  }

  failed (connection) { this.#sessions.delete(connection._place.sessionKey) }

  /** It is somebody else's. */
  left (connection) { this.#forget(connection) }

  /** The loop is done with it. */
  gone (connection) {
    this.#forget(connection)
    if (!connection.isStream) report(connection._place, 'close')
    this._leave(connection._place)
  }

  /** The engine forgets the place, and its room goes to a waiter. */
  _leave (place) {
    this.#native.dispose(place.number)
    place.leave()
    this.#grantAll()
  }

  /** Ends all that is open, and what waits. */
  destroy (error) {
    for (const exchange of [...this.#running]) exchange.fail(error)
    for (const connection of [...this.#connections]) connection.destroy(error)
  }

  /** Ends what is idle, now and from now on. */
  closeIdle () {
    this.#isClosing = true
    this.#native.fallBackAll(this.#number)
    for (const connection of [...this.#connections]) if (connection.isIdle) connection.destroy()
  }

  _connected (place) { report(place, 'connect') }
  _failed () {}

  _routeOf (options) {
    const proxy = this.#settings.proxies[options.protocol]
    return proxy?.serves(options) ? proxy.route(options, options.protocol === 'https:', () => contextFor({})) : undefined
  }

  _proxyName ({ protocol }) { return this.#settings.proxies[protocol]?.href }

  // As diagnostics see an agent. `connect` is undici's event there, with other arguments.
  get facade () { return this.#owner.agent }
  listenerCount (kind) { return kind === 'connect' ? 0 : this.#owner.listenerCount(kind) }
  emit (kind, facts) { this.#owner.emit(kind, facts) }
}

module.exports = { Pool }

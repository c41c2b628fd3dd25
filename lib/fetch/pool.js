'use strict'
// The engine's pool as a dispatcher uses it: which connection an exchange gets, and what becomes of it.
const startEnvironment = require('../environment.js')
const { report } = require('../diagnostics.js')
const { checkoutTimeout, queueFull } = require('../errors.js')
const { toNative } = require('../options.js')
const { Place } = require('../place.js')
const { parseRetry } = require('../retry.js')
const { contextFor } = require('../tls/context.js')
const { rejectsUnauthorized } = require('../tls/verdict.js')
const { NamedOrigins } = require('../origins.js')
const { checkout, release } = require('../../native.js')
const { Connection } = require('./connection.js')
const { InvalidArgumentError } = require('./errors.js')

/** Numbers from here on are waiters' (src/node/environment.rs). */
const WAITERS = 2 ** 32
const KEPT = -1
const CLOSE = -2

const MOST_SESSIONS = 100
const MOST_KEYS = 2048

class Pool {
  timeoutSocketCount = 0
  #environment = startEnvironment()
  #native = this.#environment.native
  #number
  #owner
  #settings
  #origins
  /** The same by what requests say of them. */
  #byKey = new Map()
  #waiters = new Map()
  #sessions = new Map()
  #contexts = new WeakMap()
  /** All that are open or opening. */
  #connections = new Set()
  /** Exchanges that have begun and not ended. */
  #running = new Set()
  #whenQuiet = []

  /** `owner` hears `connected`, `disconnected`, `connectionFailed`, `drained`. */
  constructor (owner, settings) {
    this.#owner = owner
    this.#settings = settings
    const { options, retry } = settings
    const { maxSockets = Infinity, maxTotalSockets = Infinity, maxFreeSockets = 256, queueLimit = Infinity, scheduling } = options
    const limits = { maxSockets: maxSockets || Infinity, maxTotalSockets, maxFreeSockets, queueLimit, lifo: scheduling !== 'fifo' }
    this.#number = this.#native.addAgent(toNative(options, retry, limits))
    this.#origins = new NamedOrigins(this.#native, this.#number, () => this.#byKey.clear())
    this.#environment.register(this.#number, this, owner)
    /** What undici calls the thing that connects; tracers only look whether there is one. */
    this.connector = () => {}
  }

  get limits () { return this.#settings.limits }

  get keepsAlive () { return this.#settings.options.keepAlive }

  stats () { return this.#origins.stats() }

  // Origins.

  /** `{ name, number, url, options }` of a request: where to, and how. */
  #originOf ({ origin, servername, host }) {
    // To plain HTTP names are nothing: one connection serves them all.
    const given = origin.startsWith('https:') ? servername ?? (host === null ? undefined : nameOf(host)) : undefined
    const key = given === undefined ? origin : `${origin} ${given}`
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    const found = this.#findOrigin(origin, given)
    if (this.#byKey.size >= MOST_KEYS) this.#byKey.clear()
    this.#byKey.set(key, found)
    return found
  }

  #findOrigin (origin, given) {
    const url = new URL(origin)
    const isSecure = url.protocol === 'https:'
    const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname
    const servername = isSecure ? this.#settings.options.servername ?? given ?? (isIp(host) ? '' : host) : undefined
    const port = Number(url.port) || (isSecure ? 443 : 80)
    const plain = `${url.protocol}//${url.hostname}:${port}`
    const name = isSecure && servername !== host ? `${plain}:${servername}` : plain
    return this.#origins.of(name, () => ({ url, options: this.#optionsFor(url, host, port, servername), waiting: 0 }))
  }

  /** Those of `net.connect` and `tls.connect`. */
  #optionsFor ({ protocol }, host, port, servername) {
    const { socketPath, ...rest } = this.#settings.options
    const options = { ...rest, protocol, host, port, ...socketPath ? { path: socketPath, socketPath } : undefined }
    if (protocol === 'https:') Object.assign(options, { servername, ALPNProtocols: rest.ALPNProtocols ?? ['http/1.1'] })
    if (rest.keepAlive) Object.assign(options, { keepAliveInitialDelay: rest.keepAliveMsecs ?? 60_000 })
    return options
  }

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
    const origin = exchange.origin = this.#originOf(exchange.request)
    const answer = checkout(this.#environment.number, this.#number, origin.number, exchange.isIdempotent)
    if (answer === Infinity) {
      exchange.fail(queueFull(this.#settings.options.queueLimit))
      return true
    }
    if (answer >= WAITERS) return this.#wait(exchange, answer)
    const number = answer < 0 ? -1 - answer : answer
    this.#usePolicy(exchange, number)
    if (answer < 0) this.#open(exchange, number)
    else this.#reuse(exchange, this.#environment.places[number])
    return true
  }

  /** Whether the origin's budget has room for another attempt; it is spent then. */
  affords ({ origin, retry }) { return this.#native.spendRetry(this.#number, origin.number, retry.native) }

  began (exchange) { this.#running.add(exchange) }

  /** An exchange is over, however it ended. */
  settled (exchange) {
    this.#running.delete(exchange)
    this.#askQuiet()
  }

  /** Resolves when nothing runs or waits. */
  quiet () {
    return new Promise((resolve) => {
      this.#whenQuiet.push(resolve)
      this.#askQuiet()
    })
  }

  #askQuiet () {
    if (this.#running.size > 0) return
    for (const resolve of this.#whenQuiet.splice(0)) resolve()
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
      this.#connections.delete(connection)
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
    const waiting = this.#waiters.get(waiter)
    if (waiting === undefined) return undefined
    this.#waiters.delete(waiter)
    const { exchange } = waiting
    exchange.leaveQueue = undefined
    if (--exchange.origin.waiting === 0) this.#owner.drained(exchange.origin.url)
    return waiting
  }

  #answerWaiter (waiter, number, use) {
    const { exchange, since } = this.#takeWaiter(waiter)
    this.#native.begin(number, exchange.isIdempotent, performance.now() - since)
    this.#usePolicy(exchange, number)
    use(exchange)
  }

  #grantAll () {
    for (let granted = this.#native.grant(this.#number); granted; granted = this.#native.grant(this.#number)) {
      const [waiter, number] = granted
      this.#answerWaiter(waiter, number, (exchange) => this.#open(exchange, number))
    }
  }

  _gaveUp (low, high) {
    const waiting = this.#takeWaiter(WAITERS + low + high * WAITERS)
    waiting?.exchange.fail(checkoutTimeout(this.#settings.options.queueTimeout))
  }

  /** An exchange has ended well; whether its connection may have another depends on more than that. */
  release (connection, isReusable) {
    const { _place: place } = connection
    const isKept = isReusable && (this.keepsAlive || place.origin.waiting > 0)
    const answer = release(this.#environment.number, place.number, isKept)
    if (answer === CLOSE) return connection.destroy()
    if (answer === KEPT) {
      place.isIdle = true
      return
    }
    this.#answerWaiter(answer, place.number, (exchange) => this.#reuse(exchange, place))
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
  connectFailed (connection, error) { this.#owner.connectionFailed(connection._place.origin.url, error) }
  failed (connection) { this.#sessions.delete(connection._place.sessionKey) }

  /** It is somebody else's. */
  left (connection) { this.#connections.delete(connection) }

  /** The loop is done with it. */
  gone (connection) {
    this.#connections.delete(connection)
    report(connection._place, 'close')
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

  /** Ends what is idle. */
  closeIdle () {
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

const isIp = (host) => /^[\d.]+$|:/.test(host)

/** `a.example` of `a.example:443`; nothing of an address. */
const nameOf = (host) => {
  const name = host[0] === '[' ? '' : host.split(':', 1)[0]
  return isIp(name) ? '' : name
}

module.exports = { Pool }

'use strict'
// `http.Agent` with the engine's pool. A mixin, so that each of Node's agent classes can be the base.
const { AsyncResource } = require('node:async_hooks')
const http = require('node:http')
const startEnvironment = require('./environment.js')
const { agentClosed, checkoutTimeout, connectError, invalidType, queueFull, socketTimeout } = require('./errors.js')
const { parseOptions, toNative, watchOptions } = require('./options.js')
const { ForeignPlace, Place, placeOf } = require('./place.js')
const { validate } = require('./connect.js')
const { report } = require('./diagnostics.js')
const { countingAgent } = require('./agentkeepalive.js')
const { addTo, removeFrom, takeFrom } = require('./maps.js')
const { contextFor } = require('./tls/context.js')
const { numberOf } = require('./tls/fingerprint.js')
const { merge, Origins } = require('./origins.js')
const { isMended, policyOfRequest } = require('./retry.js')
const { placeNumber, WAITERS } = require('./leases.js')
const { TransientMap } = require('./transient.js')

const isIdempotent = (req, retry) => retry.methods.has(req.method) ||
  Boolean(req.hasHeader?.('idempotency-key') || req.hasHeader?.('x-idempotency-key'))

/** Whether somebody else decides what a long silence means, as with Node's agent everybody has to. */
const isMinded = (socket, req) => socket._isMinded || req.listenerCount('timeout') > 0 || req.res?.listenerCount('timeout') > 0

const KEPT = -1
const CLOSE = -2

// Listeners that every pooled socket shares; `this` is the socket.
function onFree () {
  const place = placeOf(this)
  place?.agent.emit('free', this, place.options)
}
function onClose () { placeOf(this)?.agent._closed(placeOf(this)) }
function onTimeout () { placeOf(this)?.agent._timedOut(placeOf(this)) }
// An idle socket has no owner that would hear its error; Node's own does the same.
function onIdleError () {
  this.destroy()
  this.emit('agentRemove')
}
// Of sockets that are not holdfast's own: those tell by themselves.
function onForeignError () {
  const place = placeOf(this)
  if (!place) return
  place.agent.errorSocketCount++
  if (place.isIdle) onIdleError.call(this)
}
function onAgentRemove () { placeOf(this)?.agent._removed(placeOf(this)) }

/** The events of a socket of Node's come in the context of the request that has it now; Node's agent does the same. */
const enter = ({ _handle: handle }) => handle?.asyncReset?.({ type: 'HttpAgentLease', handle })

const LISTENERS = { free: onFree, close: onClose, timeout: onTimeout, agentRemove: onAgentRemove }

/**
 * `Socket` is the class of its sockets; `fields` are options that tell its origins apart beside host and port. Node's own
 * `createConnection` is looked at now, and compared at each use: programs replace it on the prototype, or bring their own
 * in a subclass.
 */
const pooledAgent = (Base, { protocol, Socket, fields = [] }, nodeCreateConnection = Base.prototype.createConnection) => class
  extends countingAgent(Base) {
  #environment
  #native
  #number
  #retry
  #proxy
  #limits
  #origins
  #waiters = new TransientMap()
  #closing
  #onKeylog

  constructor (given) {
    const { options, retry, proxy } = parseOptions(given, protocol)
    super(options)
    // Node's own pooling, and a keylog hook that finds no sockets in arrays.
    this.removeAllListeners('free')
    this.removeAllListeners('newListener')
    this.on('free', this.#free)
    this.on('newListener', this.#hearKeylog)
    if (options.maxSockets === 0) this.maxSockets = http.Agent.defaultMaxSockets
    this.#retry = retry
    this.#proxy = proxy
    this.#environment = startEnvironment()
    this.#native = this.#environment.native
    this.#limits = this.#readLimits()
    this.#number = this.#native.addAgent(toNative(this.options, retry, this.#limits))
    watchOptions(this.options, () => {
      this.#native.setOptions(this.#number, toNative(this.options, retry, this.#readLimits()))
    })
    this.#origins = new Origins(this, this.#native, this.#number, fields)
    this.#environment.register(this.#number, this)
  }

  // What ClientRequest calls.

  addRequest (req, options, port, localAddress) {
    if (typeof options === 'string') options = { __proto__: null, host: options, port, localAddress }
    req.retryCount = 0
    if (this.#closing) return req.onSocket(null, agentClosed())
    const servername = this._serverName(req, options)
    const origin = this.#origins.of(options, servername, this.#makerOf(options))
    if (this.#proxy && protocol === 'http:' && !this.#isForeign(options)) this.#rewrite(req, this.#merged(options))
    const retry = policyOfRequest(options, this.#retry)
    this.#syncLimits()
    this.sockets[origin.name] ??= []
    const idempotent = isIdempotent(req, retry)
    const answer = this.#environment.calls.checkout(this.#number, origin.number, idempotent, isMended(retry, idempotent))
    if (retry !== this.#retry && answer < WAITERS) this.#native.setPolicy(placeNumber(answer), retry.native)
    if (answer < 0) this.#open(req, this.#merged(options, servername), -1 - answer, origin, this.#answer(req))
    else if (answer < WAITERS) this.#reuse(req, this.#environment.places[answer])
    else if (answer === Infinity) req.onSocket(null, queueFull(this.options.queueLimit))
    else this.#wait(answer, req, options, servername, origin, retry)
  }

  createSocket (req, options, done) {
    const servername = this._serverName(req, options)
    const merged = this.#merged(options, servername)
    const origin = this.#origins.of(options, servername, this.#makerOf(options))
    this.#open(req, merged, this.#native.reserve(this.#number, origin.number), origin, done)
  }

  /** Takes a socket out of the maps; the engine's room for it is free when it has closed. */
  removeSocket (socket, options) {
    const name = this.getName(options)
    takeFrom(this.sockets, name, socket)
    if (!socket.writable) removeFrom(this.freeSockets, name, socket)
  }

  /** Asked before a socket becomes idle; `false` closes it. What the engine knows of its lifetime comes on top. */
  keepSocketAlive (socket) {
    if (placeOf(socket)?.isForeign === false) return true
    socket.setKeepAlive?.(true, this.keepAliveMsecs)
    socket.unref?.()
    return true
  }

  reuseSocket (socket, req) {
    req.reusedSocket = true
    socket.ref?.()
  }

  destroy () {
    for (const set of [this.freeSockets, this.sockets]) {
      for (const name of Object.keys(set)) {
        for (const socket of [...set[name]]) socket.destroy()
      }
    }
  }

  /** No new requests; resolves when those in flight and in the queue have finished. */
  close () {
    if (!this.#closing) {
      this.#closing = {}
      this.#closing.promise = new Promise((resolve) => { this.#closing.resolve = resolve })
      this.#native.fallBackAll(this.#number)
      for (const sockets of Object.values(this.freeSockets)) for (const socket of [...sockets]) socket.destroy()
      this.#endClosing()
    }
    return this.#closing.promise
  }

  stats () {
    return this.#origins.stats()
  }

  // Leases.

  #answer (req) {
    return (error, socket) => {
      if (error) req.onSocket(socket, error)
      else this.#give(req, socket)
    }
  }

  #give (req, socket) {
    req.onSocket(socket)
    const timeout = this.options.timeout || 0
    if (req.timeout !== undefined && req.timeout !== timeout) socket.setTimeout(req.timeout)
  }

  #reuse (req, place) {
    const { socket, origin } = place
    removeFrom(this.freeSockets, origin.name, socket)
    addTo(this.sockets, origin.name, socket)
    this.#lease(place)
    this.reuseSocket(socket, req)
    report(place, 'reuse')
    this.#give(req, socket)
  }

  #lease (place, resource = new AsyncResource('HttpAgentLease')) {
    place.isIdle = false
    place.requests++
    const { socket } = place
    if (!place.isForeign) socket._leased(resource)
    else if (place.requests > 1) resource.runInAsyncScope(enter, undefined, socket)
    const timeout = this.options.timeout || 0
    if (timeout && socket.timeout !== timeout) socket.setTimeout(timeout)
  }

  #wait (waiter, req, options, servername, origin, retry) {
    addTo(this.requests, origin.name, req)
    const resource = new AsyncResource('QueuedRequest')
    this.#waiters.set(waiter, { req, options, servername, origin, retry, resource, since: performance.now() })
  }

  /** Takes a waiter out of the queue, and calls `work` in its request's context. */
  #answerWaiter (waiter, number, work) {
    const waiting = this.#waiters.take(waiter)
    removeFrom(this.requests, waiting.origin.name, waiting.req)
    if (number !== undefined) {
      const { req, retry, since } = waiting
      this.#native.begin(number, isIdempotent(req, retry), performance.now() - since)
      if (retry !== this.#retry) this.#native.setPolicy(number, retry.native)
    }
    waiting.resource.runInAsyncScope(work, this, waiting)
  }

  #grantAll () {
    for (let granted = this.#native.grant(this.#number); granted; granted = this.#native.grant(this.#number)) {
      const [waiter, lease] = granted
      const number = placeNumber(lease)
      this.#answerWaiter(waiter, number, ({ req, options, servername, origin }) => {
        try {
          this.#open(req, this.#merged(options, servername), number, origin, this.#answer(req))
        } catch (error) {
          req.onSocket(null, error)
        }
      })
    }
  }

  _gaveUp (low, high) {
    this.#answerWaiter(WAITERS + low + high * WAITERS, undefined, ({ req }) => {
      req.onSocket(null, checkoutTimeout(this.options.queueTimeout))
    })
  }

  // Connections.

  #open (req, options, number, origin, done) {
    if (options.socketPath) options.path = options.socketPath
    const isForeign = this.#isForeign(options)
    const create = this.createConnection === nodeCreateConnection ? options.createConnection : this.createConnection
    const place = new (isForeign ? ForeignPlace : Place)({
      environment: this.#environment, agent: this, number, origin, options
    })
    options._agentKey = origin.name
    options.encoding = null
    if (this.keepAlive) Object.assign(options, { keepAlive: true, keepAliveInitialDelay: this.keepAliveMsecs })
    try {
      if (isForeign) this.#openForeign(place, create, done)
      else this.#openOwn(place, done)
    } catch (error) {
      this.#abandon(place)
      throw error
    }
  }

  /** Whether sockets are made by somebody else. */
  #isForeign (options) {
    return this.createConnection !== nodeCreateConnection || typeof options.createConnection === 'function'
  }

  /** What a request's own `createConnection` made is as secure, and goes the way, that it chose: no other may have it. */
  #makerOf ({ createConnection }) {
    const isAlone = typeof createConnection === 'function' && (protocol === 'https:' || this.#proxy)
    return isAlone ? `:${numberOf(createConnection)}` : ''
  }

  #openOwn (place, done) {
    validate(place.options)
    const socket = new Socket(place, place.options)
    // First, as in Node: a lookup that answers at once is heard before the request has its socket.
    socket._open(place.options)
    this.#join(place, socket)
    this.#lease(place)
    done(null, socket)
  }

  #openForeign (place, create, done) {
    let isDone = false
    this.#native.openElsewhere(place.number)
    place.giveUp = (trouble) => created(connectError(trouble, place.options))
    const created = (error, socket) => {
      if (isDone) return socket?.destroy()
      isDone = true
      if (error) {
        this.createSocketErrorCount++
        this.#abandon(place)
        return done(error)
      }
      this.#native.adopt(place.number)
      place.seat(socket)
      this.#join(place, socket)
      this.#lease(place)
      report(place, 'connect')
      done(null, socket)
    }
    const socket = create.call(this, place.options, created)
    if (socket) created(null, socket)
  }

  #join (place, socket) {
    addTo(this.sockets, place.origin.name, socket)
    this.totalSocketCount++
    this.createSocketCount++
    for (const event of Object.keys(LISTENERS)) socket.on(event, LISTENERS[event])
    if (place.isForeign) socket.on('error', onForeignError)
    if (this.#onKeylog) socket.on('keylog', this.#onKeylog)
    this._joined(place)
  }

  // What agents of other protocols do more.

  /** None without TLS; but as Node derives it there too, it looks at the header. */
  _serverName (req, options) {
    if (options.servername === undefined) this._hostHeader(req)
    return undefined
  }

  /** A request's `Host`, which Node takes only as a string. */
  _hostHeader (req) {
    const header = req.getHeader?.('host')
    if (header && typeof header !== 'string') throw invalidType('options.headers.host', 'of type string', header)
    return header
  }

  _joined (place) {}

  /** A place whose connection could not even begin. */
  #abandon (place) {
    this.#native.discard(place.number, true)
    this._leave(place)
  }

  /** One of holdfast's own sockets ends with an error, which is told in the next tick. */
  _failed (place) {
    this.errorSocketCount++
    if (place.isIdle) place.socket.once('error', onIdleError)
  }

  _connected (place) {
    report(place, 'connect')
  }

  _closed (place) {
    const { socket } = place
    // Somebody else's word: the connection is open, and another would get its number.
    if (!place.isForeign && !socket.destroyed) return
    this.totalSocketCount--
    this.closeSocketCount++
    if (place.isForeign) place.reason ??= socket.errored ? 'error' : 'destroyed'
    this.#takeOut(place)
    if (place.isForeign) this.#native.discard(place.number, Boolean(socket.errored))
    this._leave(place)
  }

  /** Tells of a socket's end, and takes it out of the maps; by its origin too, whose name may have more in it. */
  #takeOut (place) {
    const { socket, options, origin } = place
    report(place, 'close')
    this.removeSocket(socket, options)
    takeFrom(this.sockets, origin.name, socket)
    removeFrom(this.freeSockets, origin.name, socket)
  }

  /** The socket is somebody else's from now on. */
  _removed (place) {
    const { socket } = place
    this.totalSocketCount--
    place.reason ??= 'detached'
    this.#takeOut(place)
    for (const event of Object.keys(LISTENERS)) socket.removeListener(event, LISTENERS[event])
    if (socket.destroyed) this.closeSocketCount++ // an idle one that its error ends
    if (place.isForeign ? !socket.destroyed && this.#native.detach(place.number) : socket._handOver()) {
      this._leave(place)
    } else if (place.isForeign) {
      this.#native.discard(place.number, false)
      this._leave(place)
    } else {
      place.isRemoved = true // It leaves when it has closed and the loop is done with it.
      this.#grantAll()
    }
  }

  /** The engine forgets the place, and its room goes to a waiter. */
  _leave (place) {
    this.#native.dispose(place.number)
    place.leave()
    this.#grantAll()
    this.#endClosing()
  }

  #endClosing () {
    if (this.#closing && this.totalSocketCount === 0 && this.#waiters.size === 0) this.#closing.resolve()
  }

  // Release.

  #free (socket) {
    const place = placeOf(socket)
    if (!place) return
    this.requestCount++
    if (!socket.writable) return socket.destroy()
    this.#noteHint(place)
    // Before `keepSocketAlive`, which may set another.
    if (socket.timeout !== 0) socket.setTimeout?.(0)
    const answer = this.#environment.calls.release(place.number, this.#mayLiveOn(place))
    if (answer === CLOSE) return socket.destroy()
    if (answer === KEPT) return this.#rest(place)
    this.#answerWaiter(answer, place.number, ({ req, resource }) => {
      this.#lease(place, resource)
      this.#give(req, socket)
    })
  }

  #mayLiveOn (place) {
    const { socket } = place
    if (!place.isForeign && !socket._isClean) return false
    if (this.requests[place.origin.name]?.length > 0) return true
    const req = socket._httpMessage
    return Boolean(req?.shouldKeepAlive && this.keepAlive && !this.#closing) && this.keepSocketAlive(socket)
  }

  #noteHint (place) {
    const { socket } = place
    const raw = socket._httpMessage?.res?.rawHeaders // `headers` would be made of them all
    if (raw !== undefined) place.noteHint(raw)
    const own = socket.freeSocketTimeout ?? socket.freeSocketKeepAliveTimeout
    if (own !== undefined) {
      this.#native.setIdleTimeout(place.number, Number(own) || 0)
    }
  }

  #rest (place) {
    const { socket, origin } = place
    place.isIdle = true
    socket._httpMessage = null
    if (place.isForeign) socket.unref?.()
    else socket._released()
    takeFrom(this.sockets, origin.name, socket)
    addTo(this.freeSockets, origin.name, socket)
  }

  _timedOut (place) {
    this.timeoutSocketCount++
    const { socket } = place
    if (place.isIdle) return socket.destroy()
    const req = socket._httpMessage
    if (!this.options.timeout || !req || isMinded(socket, req)) return
    this.removeSocket(socket, place.options) // as agentkeepalive does, before anybody hears of it
    socket.destroy(socketTimeout(socket.timeout))
  }

  // Proxies.

  #rewrite (req, options) {
    if (this.#proxy.serves(options)) this.#proxy.rewrite(req, options)
  }

  /** The way to a server, if it leads through a proxy. */
  _routeOf (options) {
    if (!this.#proxy?.serves(options)) return undefined
    return this.#proxy.route(options, protocol === 'https:', () => contextFor({}))
  }

  get _proxyName () { return this.#proxy?.href }

  // Names, numbers and options.

  #merged (options, servername) {
    return merge(options, this.options, servername)
  }

  #readLimits () {
    const { maxSockets, maxTotalSockets, maxFreeSockets, scheduling, options } = this
    const limits = { maxSockets, maxTotalSockets, maxFreeSockets, queueLimit: options.queueLimit ?? Infinity }
    // As Node takes them: it compares, and compares '5' too.
    for (const name of Object.keys(limits)) limits[name] = Number(limits[name])
    return { ...limits, lifo: scheduling !== 'fifo' }
  }

  /** They may be assigned after construction, as in Node. */
  #syncLimits () {
    const { maxSockets, maxTotalSockets, maxFreeSockets } = this.#limits
    if (maxSockets === this.maxSockets && maxTotalSockets === this.maxTotalSockets &&
      maxFreeSockets === this.maxFreeSockets) return
    this.#limits = this.#readLimits()
    this.#native.setLimits(this.#number, this.#limits)
    this.#grantAll()
  }

  #hearKeylog (event) {
    if (event !== 'keylog' || this.#onKeylog) return
    const agent = this
    this.#onKeylog = function (line) { agent.emit('keylog', line, this) }
    for (const sockets of Object.values(this.sockets)) for (const socket of sockets) socket.on('keylog', this.#onKeylog)
  }
}

module.exports = { pooledAgent }

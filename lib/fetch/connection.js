'use strict'
// A pooled connection whose HTTP the engine speaks, in the place where other agents have a socket.
const { connectError, familyOf, systemError } = require('../errors.js')
const { resolveTarget, validate } = require('../connect.js')
const { beginHandshake, protocolsOf } = require('../tls/handshake.js')
const { insecureError, tlsError } = require('../tls/errors.js')
const { isRefused, judge } = require('../tls/verdict.js')
const channels = require('./channels.js')
const { BodyPump, EXPECT_BODY, lengthOfNothing } = require('./body.js')
const { ConnectTimeoutError, cutError, InformationalError, InvalidArgumentError, parserError, ResponseContentLengthMismatchError, SocketError, unsolicitedError } = require('./errors.js')
const { bodyFollows, framesOf, framingOf, readHead, writeHead } = require('./head.js')
const { Patience } = require('./patience.js')
const { toSocket } = require('./upgrade.js')

const { errno: { EPROTO } } = require('node:os').constants

const MISFITS = [undefined, 'invalid request method', 'invalid request path', 'invalid header value']

/** A server that expects no body of such a request may take it for the next one. */
const isOdd = ({ hasSentBody, request: { method, reset } }) => hasSentBody && reset !== false && !EXPECT_BODY.has(method)

class Connection {
  /** Set by `Place.seat`. */
  _place = undefined
  connecting = true
  destroyed = false
  isSecured = false
  bytesRead = 0
  bytesWritten = 0
  #exchange
  #pump
  #patience = new Patience(this)
  #isPaused = false
  /** Headers of the answer that is under way, if it has a body, and how much of that has come. */
  #answer
  #came = 0
  /** The engine knows of the exchange. */
  #hasSpoken = false
  #pool
  #hasConnected = false
  /** The error that it ended with. */
  #ending
  #context

  constructor (place, pool) {
    this.#pool = pool
    place.seat(this)
  }

  // Connecting.

  /** `options` are those of `net.connect` and `tls.connect`. */
  open (options) {
    validate(options)
    const route = this._place.agent._routeOf(options)
    if (options.protocol === 'https:') this.#context = this.#pool.contextOf(options)
    if (channels.beforeConnect.hasSubscribers) channels.beforeConnect.publish(this.#connectParams())
    resolveTarget(this, route ? { ...options, ...route.place } : options, (target) => {
      if (this.#context) {
        const session = options.session ?? this.#pool.sessionOf(this._place)
        beginHandshake(this._place, target, route, this.#context, { options, protocols: protocolsOf(options), session })
      } else this._place.native.connect(this._place.number, target, undefined, undefined, route?.proxy, route?.context)
    })
    const { native, number } = this._place
    native.setNoDelay(number, options.noDelay ?? true)
    if (options.keepAlive) native.setKeepAlive(number, Math.max(0, ~~(options.keepAliveInitialDelay / 1000) * 1000))
  }

  #connectParams () {
    const { host, port, protocol, servername, localAddress } = this._place.options
    const hostname = host
    return {
      connectParams: { host: `${host}:${port}`, hostname, protocol, port: `${port}`, servername, localAddress },
      connector: this.#pool.connector
    }
  }

  // Heard by lookups in JavaScript; nobody listens here.
  emit () { return false }

  _found () {}

  // A secured one is open once it is secure.
  _connected () { if (!this.#context) this.#opened() }

  #opened (protocol) {
    if (this.destroyed || !this.connecting) return
    this.connecting = false
    this.#hasConnected = true
    if (channels.connected.hasSubscribers) channels.connected.publish({ ...this.#connectParams(), socket: this })
    this._place.agent._connected(this._place)
    this.#pool.connected(this)
    const { origin } = this._place
    if (origin.mayShare) this.#pool.settleSharing(origin, protocol === 'h2')
    if (protocol === 'h2') this.#pool.share(this)
    else if (this.#exchange) this.#send(this.#exchange)
  }

  _secured () {
    if (this.destroyed) return
    const { native, number, options } = this._place
    const facts = native.tlsFacts(number)
    if (!facts) return
    let error
    try {
      error = judge(this._place, facts, options)
    } catch (thrown) {
      return this.#openingFailed(thrown)
    }
    if (isRefused(error, options)) return this.#openingFailed(error)
    this._sessions()
    native.accept(number)
    this.#opened(facts.alpn)
  }

  _sessions () {
    for (const session of this._place.native.takeSessions(this._place.number)) this.#pool.sessionCame(this._place, session)
  }

  _connectFailed () {
    if (!this.destroyed) this.#openingFailed(this.#troubleError(this._place.native.trouble(this._place.number)))
  }

  #troubleError (trouble) {
    const { options, agent } = this._place
    const { host = 'localhost', port, socketPath } = options
    if (trouble.insecure) return insecureError(trouble.insecure, options)
    if (trouble.timedOut !== undefined) {
      return new ConnectTimeoutError(`Connect Timeout Error (attempted address: ${socketPath ?? `${host}:${port}`}, timeout: ${trouble.timedOut}ms)`)
    }
    return connectError(trouble, { host, path: socketPath, port: socketPath ? undefined : Number(port), proxy: agent._proxyName(options) })
  }

  #openingFailed (error) {
    if (channels.connectError.hasSubscribers) channels.connectError.publish({ ...this.#connectParams(), error, socket: this })
    this.#pool.connectFailed(this, error)
    this.#fail(error)
  }

  /** The connection below is another one now. */
  _replaced () {
    this.#addresses = undefined
  }

  // Exchanges.

  /** The request has not left as a whole. */
  get isSending () { return this.#pump !== undefined }

  /** The next piece of the request has still to be made. */
  get awaitsBody () { return this.#pump !== undefined && !this.#pump.isHeldUp }

  /** The caller wants no more of the answer for now. */
  get isPaused () { return this.#isPaused }

  get isIdle () { return this._place.native.facts(this._place.number)?.idle >= 0 }

  get isStream () { return false }

  /** Its events are an answer's parts. */
  get isSpoken () { return true }

  /** Gives its exchange away, and what has begun to send its body. */
  handOver () {
    const exchange = this.#exchange
    const pump = this.#pump
    this.#exchange = undefined
    this.#pump = undefined
    this.#stopWaiting()
    return { exchange, pump }
  }

  begin (exchange) {
    this.#exchange = exchange
    exchange.connection = this
    // Tracers want to know at a request's head where it goes.
    if (!this.connecting) this.#send(exchange)
  }

  #send (exchange) {
    this.#isPaused = false
    this.#hasSpoken = false
    const { request, interrupted } = exchange
    const { body, contentLength } = request
    const isLast = !this.#pool.keepsAlive || request.reset || request.method === 'CONNECT'
    const head = writeHead(request, this.#pool.lineOf(this._place, request), isLast)
    if (channels.sendHeaders.hasSubscribers) channels.sendHeaders.publish({ request, headers: head, socket: this })
    // Of HTTP/1.1 nothing leaves before a part of the body: if it turns out to be empty, the head says so.
    const isOpen = body !== null && contentLength === null && !this.isStream
    if (!isOpen && !this.#speak(exchange, head, body !== null, contentLength)) return
    this.#patience.forHead(request.headersTimeout ?? this.#pool.limits.headersTimeout)
    if (body === null) return exchange.requestSent()
    const sink = this.#sinkOf(exchange, head)
    this.#pump = interrupted?.pump ?? new BodyPump(contentLength)
    if (interrupted?.pump) this.#pump.goOn(sink, interrupted.sent)
    else this.#pump.start(sink, body)
  }

  /** Begins the exchange. `false`: it has failed. */
  #speak (exchange, head, hasBody, length) {
    const { calls, number } = this._place
    const misfit = calls.speak(number, head + framingOf(hasBody, length), hasBody, this.#pool.limits.maxHeaderSize)
    if (misfit !== 0) exchange.fail(this.#misfit(misfit))
    this.#hasSpoken = misfit === 0
    return this.#hasSpoken
  }

  #misfit (misfit) {
    return misfit < MISFITS.length ? new InvalidArgumentError(MISFITS[misfit]) : new SocketError('other side closed', this.facts)
  }

  /** Takes a body to the engine, and the `head` before it, if that has not been said. */
  #sinkOf (exchange, head) {
    const connection = this
    const { calls, number } = this._place
    const { request } = exchange
    return {
      get isOver () { return exchange.isOver || exchange.connection !== connection },
      push (bytes, chunk) {
        connection.#patience.restart()
        const hasRoom = this.repeat(bytes)
        if (!exchange.isOver) exchange.bodySent(bytes, chunk)
        return hasRoom
      },
      /** What was told of when it was pushed before. */
      repeat (bytes) {
        if (!connection.#hasSpoken && !connection.#speak(exchange, head, true, null)) return true
        connection.bytesWritten += bytes.byteLength
        return calls.pushBody(number, bytes)
      },
      finish () {
        if (connection.#hasSpoken) calls.finishBody(number)
        else if (!connection.#speak(exchange, head, false, lengthOfNothing(request.method))) return
        connection.#patience.restart()
        connection.#pump = undefined
        exchange.requestSent()
      },
      fail (error) { exchange.fail(error) }
    }
  }

  /** The caller wants more of the answer, or no more for now. */
  flow (exchange, isFlowing) {
    if (exchange !== this.#exchange || this.#isPaused !== isFlowing) return
    this.#isPaused = !isFlowing
    if (isFlowing) this.#patience.restart()
    this._place.native.setFlowing(this._place.number, isFlowing)
  }

  _head (status, isUpgrade) {
    const exchange = this.#exchange
    const { calls, number } = this._place
    if (exchange === undefined) return
    const { statusText, pairs } = readHead(calls.takeHead(number))
    if (isUpgrade) return this.#upgrade(exchange, status, pairs, statusText)
    const { method, bodyTimeout } = exchange.request
    if (status >= 200) {
      this._place.noteHint(pairs)
      this.#patience.forBody(bodyTimeout ?? this.#pool.limits.bodyTimeout)
      if (bodyFollows(method, status)) this.#answer = pairs
    }
    exchange.head(status, pairs, statusText)
  }

  _received (chunk) {
    if (!this.#hasSpoken) return this.#fail(unsolicitedError())
    this.bytesRead += chunk.length
    this.#came += chunk.length
    this.#patience.restart()
    this.#exchange?.data(chunk)
  }

  _completed (hasTrailers, isReusable) {
    const exchange = this.#exchange
    if (exchange === undefined) return
    const { calls, number } = this._place
    const trailers = hasTrailers ? calls.takeTrailers(number).split('\n') : []
    const isKept = isReusable && !exchange.request.reset && this.#pump === undefined && !isOdd(exchange)
    this.#leave(exchange)
    // First: who hears of the end may ask for the next at once.
    this.#pool.release(this, isKept)
    exchange.complete(trailers)
  }

  #upgrade (exchange, status, pairs, statusText) {
    const { request } = exchange
    const isAsked = request.method === 'CONNECT' || (request.upgrade && pairs.some((name, at) => at % 2 === 0 && name.toLowerCase() === 'upgrade'))
    if (!isAsked) return exchange.fail(new SocketError('bad upgrade', this.facts))
    this.#leave(exchange)
    this.destroyed = true // what it was is over; the socket goes on
    const socket = toSocket(this._place, this.#context !== undefined)
    this.#pool.left(this)
    exchange.upgrade(status, pairs, statusText, socket)
  }

  _broken (breakage) {
    this.#fail(parserError(breakage))
  }

  _ended () {
    this._broke(this.#cutShort() ?? new SocketError('other side closed', this.facts))
  }

  /** As undici has it: of an answer that was to be the last. */
  #cutShort () {
    if (this.#answer === undefined) return undefined
    const { isLast, isChunked, length } = framesOf(this.#answer)
    if (isLast && isChunked) return cutError()
    return isLast && this.#came < length ? new ResponseContentLengthMismatchError() : undefined
  }

  _failed (syscall, errno) {
    this._broke(this.#systemError(syscall, errno))
  }

  _writeFailed (errno) {
    this._broke(this.#systemError('write', errno))
  }

  #systemError (syscall, errno) {
    const failure = errno === EPROTO ? this._place.native.tlsFailure(this._place.number) : undefined
    return failure ? tlsError(failure, syscall === 'write' ? 'write' : undefined) : systemError(syscall, errno)
  }

  _wrote () {
    this.#patience.restart()
    this.#pump?.relieve()
  }

  _shutDown () {}

  /** The server has taken too long. */
  late (error) { this.#fail(error) }

  /** It has broken, and the error says what is known. */
  _broke (error) { this.#fail(Object.assign(error, this._place.failureFacts())) }

  /** Ends with its exchange. */
  #fail (error) {
    const exchange = this.#exchange
    if (exchange) exchange.broke(error)
    else this.destroy(error)
  }

  /** The exchange has failed, or is wanted no more: half an exchange cannot be followed by another. */
  drop (exchange, error) {
    if (exchange !== this.#exchange) return
    this.#leave(exchange)
    this.destroy(error)
  }

  #leave (exchange) {
    this.#exchange = undefined
    this.#answer = undefined
    this.#came = 0
    exchange.connection = undefined
    this.#stopWaiting()
    const pump = this.#pump
    this.#pump = undefined
    pump?.stop()
  }

  /** The timer is for the next exchange, if there can be one. */
  #stopWaiting () {
    if (this.isStream) this.#patience.end()
    else this.#patience.rest()
  }

  destroy (error) {
    if (this.destroyed) return
    this.destroyed = true
    this.connecting = false
    this.#patience.end()
    this.#exchange?.fail(error ?? new SocketError('closed', this.facts))
    if (error) this.#pool.failed(this)
    this.#closingFacts = this.facts
    this._place.native.close(this._place.number, Boolean(error), false, false)
    this.#ending = error
  }

  _gone () {
    if (this.#hasConnected) this.#pool.disconnected(this, this.#ending ?? this.#endInPeace)
    this.#pool.gone(this)
  }

  /** undici's words for an end that is no fault. */
  get #endInPeace () { return new InformationalError(this._place.reason === 'expired' ? 'socket idle timeout' : 'reset') }

  // What tracers and errors tell of a socket.

  #addresses
  #closingFacts

  #ends () {
    this.#addresses ??= this._place.native.addresses(this._place.number)
    return this.#addresses
  }

  get localAddress () { return this.#ends().localAddress }
  get localPort () { return this.#ends().localPort }
  get remoteAddress () { return this.#ends().remoteAddress }
  get remotePort () { return this.#ends().remotePort }
  get remoteFamily () { return this.remoteAddress && familyOf(this.remoteAddress) }

  get facts () {
    if (this.#closingFacts) return this.#closingFacts
    const { localAddress, localPort, remoteAddress, remotePort } = this.#ends()
    const { bytesRead = this.bytesRead, bytesWritten = this.bytesWritten } = this._place.native.facts(this._place.number) ?? {}
    return {
      localAddress, localPort, remoteAddress, remotePort, remoteFamily: remoteAddress && familyOf(remoteAddress), bytesRead, bytesWritten
    }
  }
}

module.exports = { Connection }

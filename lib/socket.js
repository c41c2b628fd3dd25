'use strict'
// A `net.Socket` whose connection lives in the engine. It has no `_handle`: whatever would look for one is here. A mixin,
// so that a secured one can have another base.
const { Buffer } = require('node:buffer')
const net = require('node:net')
const process = require('node:process')
const { connectError, familyOf, invalidHandleType, systemError } = require('./errors.js')
const { handOver } = require('./handover.js')
const { insecureError } = require('./tls/errors.js')
const { resolveTarget } = require('./connect.js')
const constants = require('./constants.js')

const TAKEN = 0

const engineSocket = (Base) => class extends Base {
  /** Where it sits in the pool; set by `Place.seat`. */
  _place = undefined
  /** `new` until connecting has begun, then `open` until it is destroyed (`closed`) or somebody else's (`detached`). */
  #state = 'new'
  /** The async context of the request that has the socket. */
  #lease
  #isFlowing = true
  #bytesRead = 0
  #bytesWritten = 0
  /** The callback of the write that the kernel has not taken, and what was unsent when its timeout was last asked. */
  #afterWrite
  #unsentBefore = 0
  #afterShutDown
  #isResetting = false
  #hadError = false
  /** A caller's callback for silence. */
  #whenSilent
  #isHeld = true
  #noDelay = false
  #keepAliveDelay = -1

  constructor (place, options) {
    super({
      allowHalfOpen: options.allowHalfOpen,
      readableHighWaterMark: options.readableHighWaterMark ?? options.highWaterMark,
      writableHighWaterMark: options.writableHighWaterMark ?? options.highWaterMark,
    })
    place.seat(this)
    this.connecting = true
    if (options.noDelay) this.setNoDelay(true)
    if (options.keepAlive) this.setKeepAlive(true, options.keepAliveInitialDelay)
    if (options.timeout) this.setTimeout(options.timeout)
  }

  /** Begins to connect; `options` were validated. */
  _open (options) {
    const route = this._place.agent._routeOf(options)
    resolveTarget(this, route ? { ...options, ...route.place } : options, (target) => {
      this._unrefTimer()
      this.#state = 'open'
      this._connect(target, route)
    })
  }

  /** Its connection has been open before there was a socket; `received` are bytes that came already. */
  _adopt (received) {
    this.connecting = false
    this.#state = 'open'
    if (received.length > 0) this._received(received)
  }

  _connect (target, route) {
    this._place.native.connect(this._place.number, target, undefined, undefined, route?.proxy, route?.context)
  }

  /** A request has the socket from now on; `lease` is an AsyncResource of its context. */
  _leased (lease) {
    this.#lease = lease
    this.#isFlowing = true
    this.#isHeld = true
  }

  _released () {
    this.#lease = undefined
    this.#isHeld = false
  }

  /** Whether the next exchange would find something of the last one. */
  get _isClean () {
    return this.readableLength === 0 && this.writableLength === 0 && this.#state === 'open' && !this.connecting
  }

  /** Runs `work` in the async context of the request that has the socket. */
  _run (work, argument) {
    return this.#lease ? this.#lease.runInAsyncScope(work, this, argument) : work.call(this, argument)
  }

  // Events of the engine, in the order in which they come.

  _found () {
    const { autoSelectFamily, localAddress, family } = this._place.options
    const addresses = this._place.native.found(this._place.number)
    const isRace = ![4, 6, 'IPv4', 'IPv6'].includes(family) && !localAddress && autoSelectFamily !== false
    const host = this._host
    this._run(() => {
      for (const address of isRace ? addresses : addresses.slice(0, 1)) {
        this.emit('lookup', null, address, net.isIP(address), host)
      }
    })
  }

  _connected () {
    if (this.destroyed || !this.connecting) return
    this.connecting = false
    this.#state = 'open' // a lookup in JavaScript may still be on its way
    this._unrefTimer()
    this._usable()
    this._run(() => {
      this.emit('connect')
      this.emit('ready')
      if (!this.isPaused()) this.read(0)
    })
  }

  /** The connection can be written to. */
  _usable () {
    this._place.agent._connected(this._place)
  }

  _connectFailed () {
    if (this.destroyed) return
    const trouble = this._place.native.trouble(this._place.number)
    const error = this._troubleError(trouble)
    this._run(() => {
      if (trouble.lookup !== undefined) this.emit('lookup', error, undefined, undefined, error.hostname)
      if (this.#afterWrite && error.syscall === 'write') this.#settleWrite(error)
      else this.destroy(error)
    })
  }

  /** The error of a connection that could not be opened. */
  _troubleError (trouble) {
    if (trouble.insecure) return insecureError(trouble.insecure, this._place.options)
    const { host = 'localhost', path, port } = this._place.options
    return connectError(trouble, { host, path, port: path ? undefined : Number(port), proxy: this._place.agent._proxyName })
  }

  _received (chunk) {
    if (this.destroyed) return
    this.#bytesRead += chunk.length
    this._unrefTimer()
    const wantsMore = this._run(this.#take, chunk)
    if (!wantsMore && this.#state === 'open') {
      this.#isFlowing = false
      this._place.native.setFlowing(this._place.number, false)
    }
  }

  // What `push` does for a flowing stream with nothing buffered, less the tick in which it asks for more: the engine
  // needs no asking. A twentieth of a small exchange's time (Node 20.20, AMD EPYC, 2026-11).
  #take (chunk) {
    const state = this._readableState
    const passes = state.flowing && state.length === 0 && !state.decoder && this.listenerCount('data') > 0
    if (!passes) return this.push(chunk)
    state.dataEmitted = true
    this.emit('data', chunk)
    return true
  }

  _ended () {
    if (this.destroyed) return
    if (this._httpMessage && !this._httpMessage.res?.complete) this._place.explain()
    this._run(() => {
      this.push(null)
      this.read(0)
    })
  }

  _failed (syscall, errno) {
    this._place.explain()
    this._run(this.destroy, this._systemError(syscall, errno))
  }

  _systemError (syscall, errno) {
    return systemError(syscall, errno)
  }

  _wrote () {
    if (this.destroyed) return
    this._unrefTimer()
    this.#settleWrite()
  }

  _writeFailed (errno) {
    if (this.destroyed) return
    const error = this._systemError('write', errno)
    this._place.explain()
    if (this.#afterWrite) this.#settleWrite(error)
    else this._run(this.destroy, error)
  }

  #settleWrite (error) {
    const done = this.#afterWrite
    this.#afterWrite = undefined
    this.#unsentBefore = 0
    if (done) this._run(done, error)
  }

  _shutDown () {
    const done = this.#afterShutDown
    this.#afterShutDown = undefined
    if (done) this._run(done)
  }

  /** The connection below is another one now. */
  _replaced () {
    this._peername = undefined
    this._sockname = undefined
  }

  _gone () {
    this._run(() => this.emit('close', this.#hadError))
  }

  // The streams' side.

  _read (size) {
    if (this.connecting) return this.once('connect', () => this._read(size))
    if (this.#isFlowing || this.#state !== 'open') return
    this.#isFlowing = true
    this._place.native.setFlowing(this._place.number, true)
  }

  _writeGeneric (isMany, data, encoding, done) {
    // Node's own code waits for 'connect', and refuses when there is nothing to write to.
    if (this.connecting || this.#state !== 'open') return super._writeGeneric(isMany, data, encoding, done)
    this._pendingData = null
    this._pendingEncoding = ''
    this._unrefTimer()
    const answer = isMany ? this.#writeMany(data) : this.#writeOne(data, encoding, false)
    if (answer === TAKEN) return done()
    if (answer < 0) {
      this._place.explain()
      return done(this._systemError('write', -answer))
    }
    this.#afterWrite = done
    this.#unsentBefore = this.#unsent
  }

  #writeMany (chunks) {
    const last = chunks.length - 1
    let answer = TAKEN
    for (let n = 0; n <= last; n++) {
      const { chunk, encoding } = chunks[n]
      answer = this.#writeOne(chunk, encoding, n < last)
      if (answer < 0) break
    }
    return answer
  }

  #writeOne (chunk, encoding, more) {
    const { calls, number } = this._place
    const isText = typeof chunk === 'string'
    if (isText && (encoding === 'latin1' || encoding === 'binary')) {
      this.#bytesWritten += chunk.length
      return calls.writeString(number, chunk, false, more)
    }
    if (isText && (encoding === 'utf8' || encoding === 'utf-8')) {
      this.#bytesWritten += Buffer.byteLength(chunk)
      return calls.writeString(number, chunk, true, more)
    }
    const bytes = isText ? Buffer.from(chunk, encoding) : chunk
    this.#bytesWritten += bytes.length
    return calls.writeBytes(number, bytes, more)
  }

  _final (done) {
    if (this.connecting) return this.once('connect', () => this._final(done))
    if (this.#state !== 'open' || this._place.hasEnded) return done()
    this.#afterShutDown = done
    this._place.native.shutDown(this._place.number)
  }

  /** Node clears the timer in its `_destroy`, where `setTimeout` does so no more, and leaves the number. */
  destroy (error, done) {
    const { timeout } = this
    if (timeout) {
      this.setTimeout(0)
      this.timeout = timeout
    }
    return super.destroy(error, done)
  }

  _destroy (error, done) {
    this.connecting = false
    this._getpeername()
    this.#state = 'closed'
    this.#hadError = Boolean(error)
    if (error && !this._place.isRemoved) this._place.agent._failed(this._place)
    this._place.native.close(this._place.number, this.#hadError, Boolean(this._httpMessage?.res?.complete), this.#isResetting)
    done(error)
  }

  // What net.Socket asks its handle.

  get pending () { return this.connecting || this.#state !== 'open' }

  get bytesRead () { return this.#bytesRead }

  get _bytesDispatched () { return this.#bytesWritten }

  get bufferSize () { return this.#state === 'closed' ? undefined : this.writableLength }

  get #unsent () { return this._place.native.facts(this._place.number)?.unsent ?? 0 }

  #addresses () {
    const { localAddress, localPort, remoteAddress, remotePort } = this._place.native.addresses(this._place.number)
    const end = (address, port) => address === undefined ? {} : { address, family: familyOf(address), port }
    this._peername = end(remoteAddress, remotePort)
    this._sockname = end(localAddress, localPort)
  }

  _getpeername () {
    if (!this._peername && this.#state === 'open' && !this.connecting) this.#addresses()
    return this._peername ?? {}
  }

  _getsockname () {
    if (this.#state !== 'open' || this.connecting) return {}
    if (!this._sockname) this.#addresses()
    return this._sockname
  }

  setNoDelay (enable = true) {
    enable = Boolean(enable)
    if (enable === this.#noDelay || this.#state === 'closed') return this
    this.#noDelay = enable
    this._place.native.setNoDelay(this._place.number, enable)
    return this
  }

  setKeepAlive (enable, initialDelay) {
    const delay = enable ? Math.max(0, ~~(initialDelay / 1000) * 1000) : -1
    if (delay === this.#keepAliveDelay || this.#state === 'closed') return this
    this.#keepAliveDelay = delay
    this._place.native.setKeepAlive(this._place.number, delay)
    return this
  }

  ref () { return this.#hold(true) }

  unref () { return this.#hold(false) }

  #hold (isHeld) {
    if (isHeld === this.#isHeld || this.#state === 'closed') return this
    this.#isHeld = isHeld
    this._place.native.setHeld(this._place.number, isHeld)
    return this
  }

  resetAndDestroy () {
    if (this.#state === 'closed') return super.resetAndDestroy()
    if (this._place.options.path) throw invalidHandleType()
    if (this.connecting) this.once('connect', () => this._reset())
    else this._reset()
    return this
  }

  _reset () {
    this.#isResetting = true
    return this.destroy()
  }

  connect (...args) {
    // A closed net.Socket may connect again, by a handle of its own.
    if (this.#state === 'closed') return handOver(this, {}).connect(...args)
    return this
  }

  setTimeout (milliseconds, callback) {
    super.setTimeout(milliseconds, callback)
    if (callback) this.#whenSilent = callback
    return this
  }

  /** Whether somebody has said what becomes of it when it has been silent for too long. */
  get _isMinded () {
    const callback = this.#whenSilent
    return callback !== undefined && this.listeners('timeout').includes(callback)
  }

  _onTimeout () {
    // A slow upload is no silence: bytes have left since the last time.
    const unsent = this.#afterWrite ? this.#unsent : 0
    if (unsent > 0 && unsent !== this.#unsentBefore) {
      this.#unsentBefore = unsent
      this._unrefTimer()
      return
    }
    this._run(() => this.emit('timeout'))
  }

  /**
   * Becomes somebody else's: an upgrade, a tunnel. From here on it is a plain net.Socket over the same descriptor, and this
   * is true. `false` if there is no open connection, or one whose TLS is the engine's: that stays there, out of the pool,
   * until it closes.
   */
  _handOver () {
    if (this.#state !== 'open' || this.connecting || this.destroyed) return false
    const { environment, native, number } = this._place
    const detached = native.detach(number)
    if (!detached) return this.#part(native.part(number))
    const chunks = environment.takeChunks(number, detached.rows)
    this._place.leave()
    this.#state = 'detached'
    const state = { noDelay: this.#noDelay, read: this.#bytesRead, written: this.#bytesWritten }
    const afterWrite = this.#afterWrite
    handOver(this, { ...detached, ...state, chunks, afterWrite, lease: this.#lease })
    return true
  }

  #part (isAway) {
    // `tls.connect({ socket })` waits for it, of a socket without a handle.
    if (isAway) this.on('newListener', (event) => { if (event === 'connect') process.nextTick(() => this.emit('connect')) })
    return false
  }

  // agentkeepalive's marks.

  get [constants.SOCKET_CREATED_TIME] () { return this._place?.createdAt }
  get [constants.SOCKET_NAME] () { return this._place && `sock[${this._place.number}#${this._place.origin.name}]` }
  get [constants.SOCKET_REQUEST_COUNT] () { return this._place?.requests }
  get [constants.SOCKET_REQUEST_FINISHED_COUNT] () { return this._place?.finished }
}

class Socket extends engineSocket(net.Socket) {}

module.exports = { engineSocket, Socket }

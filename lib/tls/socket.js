'use strict'
// A `tls.TLSSocket` whose TLS lives in the engine.
const { Buffer } = require('node:buffer')
const { X509Certificate } = require('node:crypto')
const net = require('node:net')
const process = require('node:process')
const tls = require('node:tls')
const { systemError } = require('../errors.js')
const { engineSocket } = require('../socket.js')
const { legacy } = require('./certificates.js')
const { contextFor } = require('./context.js')
const { insecureError, invalidState, notImplemented, tlsError } = require('./errors.js')
const { beginHandshake, protocolsOf } = require('./handshake.js')
const { isRefused, judge, peerCertificate } = require('./verdict.js')
const { checkUint32, checkString, checkView } = require('./arguments.js')

const { errno: { EPROTO } } = require('node:os').constants

// A TLSSocket by inheritance alone: its own constructor would wrap a handle, and there is none.
class Secured extends net.Socket {}
Object.setPrototypeOf(Secured.prototype, tls.TLSSocket.prototype)

let hasWarnedOfAddress = false
const warnOfAddress = (servername) => {
  if (hasWarnedOfAddress || !net.isIP(servername)) return
  hasWarnedOfAddress = true
  process.emitWarning('Setting the TLS ServerName to an IP address is not permitted by RFC 6066. This will be ignored in a ' +
    'future version.', 'DeprecationWarning', 'DEP0123')
}

class TlsSocket extends engineSocket(Secured) {
  #options
  #context
  #protocols
  /** What was negotiated; `undefined` before and after. */
  #facts
  #hasConnected = false

  constructor (place, options) {
    super(place, options)
    this.#options = options
    this.#context = contextFor(options)
    this.#protocols = protocolsOf(options)
    if (options.servername) warnOfAddress(options.servername)
    // One by one: after Object.assign V8 would keep all of the socket's properties in a dictionary.
    this.encrypted = true
    this.authorized = false
    this.authorizationError = null
    this.servername = null
    this.alpnProtocol = null
    this.secureConnecting = true
    this.ssl = null
  }

  _connect (target, route) {
    const known = this._place.agent._sessionOf(this._place)
    const { session = known } = this.#options
    beginHandshake(this._place, target, route, this.#context, { options: this.#options, protocols: this.#protocols, session })
  }

  _adopt (received) {
    this.#hasConnected = true
    this.#facts = this._place.native.tlsFacts(this._place.number)
    this.#tell(this.#facts)
    this.authorized = this.#facts.verdict === 0
    this.secureConnecting = false
    super._adopt(received)
  }

  // It is usable once it is secured.
  _usable () {}

  /** The handshake is over, on the first connection or on a replacement. */
  _secured () {
    if (this.destroyed) return
    const isFirst = !this.#hasConnected
    this.#hasConnected = true
    const facts = this.#facts = this._place.native.tlsFacts(this._place.number)
    if (!facts) return
    this._unrefTimer()
    this._run(() => {
      let error
      try {
        error = judge(this._place, facts, this.#options)
      } catch (thrown) {
        return this.destroy(thrown) // who could not be judged is not let in
      }
      this.authorized = !error
      this.authorizationError = error ? error.code || error.message : null
      const isOver = isRefused(error, this.#options)
      try {
        this.#tell(facts)
        if (isOver) this.destroy(error)
        else if (!this.destroyed) this.#secureConnected()
        this.emit('secure')
      } finally {
        // A listener may have looked at the certificate, and not liked it; or thrown, which is nobody's verdict.
        if (isOver) this.destroy(error)
        else if (!this.destroyed) this.#accept(isFirst)
      }
    })
  }

  #accept (isFirst) {
    this._place.native.accept(this._place.number)
    if (isFirst) this._place.agent._connected(this._place)
  }

  #tell (facts) {
    if (this.listenerCount('keylog') > 0) this.#tellKeys(this._place.native.takeKeylog(this._place.number))
    if (this.#options.requestOCSP) this.emit('OCSPResponse', facts.ocsp ?? null)
    this.alpnProtocol = facts.alpn ?? false
    this.servername = this.#options.servername || false
  }

  #tellKeys (lines) {
    for (const line of lines) this.emit('keylog', Buffer.from(`${line}\n`))
  }

  #secureConnected () {
    this.secureConnecting = false
    this.emit('secureConnect')
    this._sessions()
  }

  /** Sessions to resume have come. */
  _sessions () {
    if (this.destroyed) return
    for (const session of this._place.native.takeSessions(this._place.number)) {
      this._run(() => this.emit('session', session))
    }
  }

  _replaced () {
    super._replaced()
    this.#facts = undefined
    this.secureConnecting = true
  }

  // Errors.

  _troubleError (trouble) {
    const { insecure } = trouble
    if (!insecure) return super._troubleError(trouble)
    this.#tellKeys(insecure.keylog)
    // A request that waits to be written hears of it as of a write that failed.
    return insecureError(insecure, this.#options, this.writableLength > 0 ? 'write' : undefined)
  }

  _systemError (syscall, errno) {
    const failure = errno === EPROTO ? this._place.native.tlsFailure(this._place.number) : undefined
    return failure ? tlsError(failure, syscall === 'write' ? 'write' : undefined) : systemError(syscall, errno)
  }

  // What callers of a TLSSocket ask.

  #ask (question) {
    return this.destroyed || !this.#facts ? null : question(this._place.native, this._place.number)
  }

  getPeerCertificate (detailed) {
    return this.#ask((native, number) => peerCertificate(native, number, detailed))
  }

  getPeerX509Certificate () {
    const [certificate] = this.#ask((native, number) => native.peerCertificates(number)) ?? []
    return certificate && new X509Certificate(certificate)
  }

  getX509Certificate () {
    const certificate = this.#ask((native, number) => native.ownCertificate(number))
    return certificate ? new X509Certificate(certificate) : undefined
  }

  getCertificate () {
    return this.#ask(() => {
      const certificate = this.getX509Certificate()
      return certificate ? legacy(certificate) : {}
    })
  }

  getCipher () {
    return this.#ask(() => {
      const { cipherName: name, cipherStandardName: standardName, cipherVersion: version } = this.#facts
      return { name, standardName, version }
    })
  }

  getEphemeralKeyInfo () {
    return this.#ask(() => {
      const { keyKind: type, keyGroup: name, keyBits: size } = this.#facts
      if (!type) return {}
      return type === 'DH' ? { type, size } : { type, name, size }
    })
  }

  getProtocol () { return this.#ask(() => this.#facts.protocol) }

  isSessionReused () { return this.#ask(() => this.#facts.isReused) }

  getSession () { return this.#ask((native, number) => native.tlsSession(number) ?? undefined) }

  getTLSTicket () { return this.#ask((native, number) => native.tlsTicket(number) ?? undefined) }

  getFinished () { return this.#ask((native, number) => native.tlsFinished(number, false) ?? undefined) }

  getPeerFinished () { return this.#ask((native, number) => native.tlsFinished(number, true) ?? undefined) }

  getSharedSigalgs () { return this.#ask((native, number) => native.sharedSigalgs(number)) }

  exportKeyingMaterial (length, label, context) {
    checkUint32('length', length)
    checkString('label', label)
    if (context !== undefined) checkView('context', context)
    const material = this.#ask((native, number) => native.exportKeyingMaterial(number, length, label, context))
    if (!material) throw invalidState()
    return material
  }

  disableRenegotiation () {}

  setMaxSendFragment () { return false }

  renegotiate (options, callback) {
    if (callback) process.nextTick(callback, notImplemented('renegotiate()'))
    return false
  }

  enableTrace () { throw notImplemented('enableTrace()') }

  setKeyCert () { throw notImplemented('setKeyCert()') }

  setServername () { throw notImplemented('setServername()') }

  setSession () { throw notImplemented('setSession()') }
}

module.exports = { TlsSocket }

'use strict'
// A `tls.TLSSocket` whose TLS lives in the engine.
const { Buffer } = require('node:buffer')
const { X509Certificate } = require('node:crypto')
const net = require('node:net')
const process = require('node:process')
const tls = require('node:tls')
const { systemError } = require('../errors.js')
const { engineSocket } = require('../socket.js')
const { chain, legacy } = require('./certificates.js')
const { contextFor } = require('./context.js')
const { insecureError, invalidState, notImplemented, tlsError, tooSmallKey, untrusted } = require('./errors.js')
const { checkUint32, checkString, checkView } = require('./arguments.js')

const { errno: { EPROTO } } = require('node:os').constants

// A TLSSocket by inheritance alone: its own constructor would wrap a handle, and there is none.
class Secured extends net.Socket {}
Object.setPrototypeOf(Secured.prototype, tls.TLSSocket.prototype)

// What Node's own check says of a name and a certificate depends on nothing else, and to read a certificate takes as long as
// a whole exchange: the last one that was right is known by its name.
const nodeCheck = /ERR_TLS_CERT_ALTNAME_INVALID/.test(Function.prototype.toString.call(tls.checkServerIdentity))
  ? tls.checkServerIdentity
  : undefined
const identified = new Map()
const MOST_IDENTIFIED = 256
const remember = (name, certificate) => {
  if (identified.size >= MOST_IDENTIFIED) identified.delete(identified.keys().next().value)
  identified.set(name, certificate)
}

let hasWarnedOfAddress = false
const warnOfAddress = (servername) => {
  if (hasWarnedOfAddress || !net.isIP(servername)) return
  hasWarnedOfAddress = true
  process.emitWarning('Setting the TLS ServerName to an IP address is not permitted by RFC 6066. This will be ignored in a ' +
    'future version.', 'DeprecationWarning', 'DEP0123')
}

let hasWarnedOfEnvironment = false
/** As `NODE_TLS_REJECT_UNAUTHORIZED` says, unless the options say. */
const rejectsUnauthorized = ({ rejectUnauthorized }) => {
  if (rejectUnauthorized !== undefined) return rejectUnauthorized !== false
  if (process.env.NODE_TLS_REJECT_UNAUTHORIZED !== '0') return true
  if (!hasWarnedOfEnvironment) {
    hasWarnedOfEnvironment = true
    process.emitWarning('Setting the NODE_TLS_REJECT_UNAUTHORIZED environment variable to \'0\' makes TLS connections and ' +
      'HTTPS requests insecure by disabling certificate verification.')
  }
  return false
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
    if (options.ALPNProtocols) {
      const out = {}
      tls.convertALPNProtocols(options.ALPNProtocols, out)
      this.#protocols = out.ALPNProtocols
    }
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
    const { servername, session = known, requestOCSP } = this.#options
    const handshake = {
      servername: servername || undefined,
      protocols: this.#protocols,
      session: typeof session === 'string' ? Buffer.from(session, 'latin1') : session,
      requestOcsp: Boolean(requestOCSP)
    }
    this._place.native.connect(this._place.number, target, handshake, this.#context, route?.proxy, route?.context)
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
        error = this.#judge(facts)
      } catch (thrown) {
        return this.destroy(thrown) // who could not be judged is not let in
      }
      this.authorized = !error
      this.authorizationError = error ? error.code || error.message : null
      const isRefused = error && (error.code === 'ERR_TLS_DH_PARAM_SIZE' || rejectsUnauthorized(this.#options))
      try {
        this.#tell(facts)
        if (isRefused) this.destroy(error)
        else if (!this.destroyed) this.#secureConnected()
        this.emit('secure')
      } finally {
        // A listener may have looked at the certificate, and not liked it; or thrown, which is nobody's verdict.
        if (isRefused) this.destroy(error)
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

  /** What is wrong with the server, if anything. */
  #judge ({ verdict, verdictText, isReused, keyKind, keyBits }) {
    const { minDHSize = 1024, servername, host, checkServerIdentity = tls.checkServerIdentity } = this.#options
    if (keyKind === 'DH' && keyBits < minDHSize) return tooSmallKey(keyBits)
    if (verdict !== 0) return untrusted(verdict, verdictText)
    // Whoever it was then is who it is now.
    if (isReused) return undefined
    const name = servername || host || 'localhost'
    if (checkServerIdentity !== nodeCheck) return checkServerIdentity(name, this.getPeerCertificate(true))
    const [certificate] = this._place.native.peerCertificates(this._place.number)
    if (certificate && identified.get(name)?.equals(certificate)) return undefined
    const error = nodeCheck(name, this.getPeerCertificate(true))
    if (!error) remember(name, certificate)
    return error
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
    return this.#ask((native, number) => {
      const certificates = native.peerCertificates(number)
      if (certificates.length === 0) return {}
      if (!detailed) return legacy(new X509Certificate(certificates[0]))
      return chain(certificates, (der) => {
        const issuer = native.trustedIssuer(number, der)
        return issuer && new X509Certificate(issuer)
      })
    })
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

module.exports = { rejectsUnauthorized, TlsSocket }

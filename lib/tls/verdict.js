'use strict'
// Whom a secured connection reached, and whether that is good enough.
const { X509Certificate } = require('node:crypto')
const process = require('node:process')
const tls = require('node:tls')
const { chain, legacy } = require('./certificates.js')
const { tooSmallKey, untrusted } = require('./errors.js')

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

/** The server's certificate as `tls.TLSSocket.getPeerCertificate` gives it. */
const peerCertificate = (native, number, isDetailed) => {
  const certificates = native.peerCertificates(number)
  if (certificates.length === 0) return {}
  if (!isDetailed) return legacy(new X509Certificate(certificates[0]))
  return chain(certificates, (der) => {
    const issuer = native.trustedIssuer(number, der)
    return issuer && new X509Certificate(issuer)
  })
}

/** What is wrong with the server of a secured connection, if anything. */
const judge = ({ native, number }, { verdict, verdictText, isReused, keyKind, keyBits }, options) => {
  const { minDHSize = 1024, servername, host, checkServerIdentity = tls.checkServerIdentity } = options
  if (keyKind === 'DH' && keyBits < minDHSize) return tooSmallKey(keyBits)
  if (verdict !== 0) return untrusted(verdict, verdictText)
  // Whoever it was then is who it is now.
  if (isReused) return undefined
  const name = servername || host || 'localhost'
  if (checkServerIdentity !== nodeCheck) return checkServerIdentity(name, peerCertificate(native, number, true))
  const [certificate] = native.peerCertificates(number)
  if (certificate && identified.get(name)?.equals(certificate)) return undefined
  const error = nodeCheck(name, peerCertificate(native, number, true))
  if (!error) remember(name, certificate)
  return error
}

/** Whether a server with that fault is not spoken to. */
const isRefused = (error, options) => error && (error.code === 'ERR_TLS_DH_PARAM_SIZE' || rejectsUnauthorized(options))

module.exports = { isRefused, judge, peerCertificate, rejectsUnauthorized }

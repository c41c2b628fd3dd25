'use strict'
// Certificates as Node shows them.
const { X509Certificate } = require('node:crypto')

const LINE = /([^\n:]*):([^\n]*)(?:\n|$)/g

/** `infoAccess` of Node's older form of a certificate is a text; callers get a record of lists. */
const infoAccessOf = (text) => {
  const info = { __proto__: null }
  for (const [, key, value] of text.matchAll(LINE)) {
    const plain = value.startsWith('"') ? JSON.parse(value) : value
    info[key] = [...info[key] ?? [], plain]
  }
  return info
}

/** The older form of a certificate, as `tls.TLSSocket` gives it. */
const legacy = (certificate) => {
  const object = certificate.toLegacyObject()
  if (typeof object.infoAccess === 'string') object.infoAccess = infoAccessOf(object.infoAccess)
  return object
}

/**
 * The server's certificate with all that lead to a root, each in the next one's `issuerCertificate`; a root in its own.
 * `trusted(der)` knows issuers that the server did not send.
 */
const chain = (ders, trusted) => {
  const [first, ...others] = ders.map((der) => new X509Certificate(der))
  const leaf = legacy(first)
  let [last, object] = [first, leaf]
  while (!last.checkIssued(last)) {
    const at = others.findIndex((other) => last.checkIssued(other))
    const next = at >= 0 ? others.splice(at, 1)[0] : trusted(last.raw)
    if (!next) return leaf
    last = next
    object.issuerCertificate = legacy(last)
    object = object.issuerCertificate
  }
  object.issuerCertificate = object
  return leaf
}

module.exports = { chain, legacy }

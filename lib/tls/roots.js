'use strict'
// Whom a client trusts that was not told: the roots that Node itself has.
const { Buffer } = require('node:buffer')
const { readFileSync } = require('node:fs')
const process = require('node:process')
const tls = require('node:tls')

// Read once, as Node does.
let extra
const extraCertificates = () => {
  if (extra === undefined) {
    const file = process.env.NODE_EXTRA_CA_CERTS
    try {
      extra = file ? [readFileSync(file, 'utf8')] : []
    } catch {
      extra = [] // Node has warned of it when the process began.
    }
  }
  return extra
}

let bundled
const withoutApi = () => (bundled ??= [...tls.rootCertificates, ...extraCertificates()])

let known
let pem

/** In PEM form; the same buffer until `tls.setDefaultCACertificates` changes them. */
const defaultRoots = () => {
  const list = tls.getCACertificates?.('default') ?? withoutApi()
  if (list !== known) {
    known = list
    pem = Buffer.from(list.join('\n'))
  }
  return pem
}

module.exports = { defaultRoots }

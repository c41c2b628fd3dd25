'use strict'
// Whom a client trusts that was not told: the roots that Node itself has.
const { Buffer } = require('node:buffer')
const { readFileSync } = require('node:fs')
const process = require('node:process')
const tls = require('node:tls')

// Read once, as Node does.
let bundled
const withoutApi = () => {
  if (bundled) return bundled
  bundled = [...tls.rootCertificates]
  try {
    const { NODE_EXTRA_CA_CERTS: file } = process.env
    if (file) bundled.push(readFileSync(file, 'utf8'))
  } catch {} // Node has warned of it when the process began.
  return bundled
}

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

'use strict'
// Options with secrets in them, as names that may be read by anyone.
const { createHmac, randomBytes } = require('node:crypto')

// Of this process alone: a passphrase cannot be guessed from what its fingerprint is elsewhere.
const SALT = randomBytes(32)
const LENGTH = 16

const feed = (hash, value) => {
  if (typeof value === 'string') return hash.update(`s${value.length}:`).update(value)
  if (ArrayBuffer.isView(value)) return hash.update(`b${value.byteLength}:`).update(value)
  if (value === null || typeof value !== 'object') return hash.update(`${typeof value}:${String(value)};`)
  const names = Object.keys(value).sort()
  hash.update(`o${names.length}:`)
  for (const name of names) feed(feed(hash, name), value[name])
  return hash
}

/** The same for equal values: strings, buffers, and lists and records of them. */
const fingerprint = (value) => feed(createHmac('sha256', SALT), value).digest('base64url').slice(0, LENGTH)

let functions = 0
const numbers = new WeakMap()

/** A number for each function. */
const numberOf = (func) => {
  if (!numbers.has(func)) numbers.set(func, ++functions)
  return numbers.get(func)
}

module.exports = { fingerprint, numberOf }

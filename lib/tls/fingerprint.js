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

const take = (value) => feed(createHmac('sha256', SALT), value).digest('base64url').slice(0, LENGTH)

// To hash a bundle of roots takes longer than to connect: values that come again are known, buffers and lists by identity.
const objects = new WeakMap()
const texts = new Map()
const MOST_TEXTS = 64

/** The same for equal values: strings, buffers, numbers, and lists and records of them. Nothing has none. */
const fingerprint = (value) => {
  if (value === undefined || value === null) return ''
  const isObject = typeof value === 'object'
  const known = isObject ? objects : texts
  let print = known.get(value)
  if (print !== undefined) return print
  print = take(value)
  if (!isObject && texts.size >= MOST_TEXTS) texts.delete(texts.keys().next().value)
  known.set(value, print)
  return print
}

let functions = 0
const numbers = new WeakMap()

/** A number for each function. */
const numberOf = (func) => {
  if (!numbers.has(func)) numbers.set(func, ++functions)
  return numbers.get(func)
}

module.exports = { fingerprint, numberOf }

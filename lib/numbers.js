'use strict'
// Numbers in options.
const { invalidType, outOfRange } = require('./errors.js')

/** Longer timers are none: Node's overflow to 1 ms. */
const MAX_MS = 2 ** 31 - 1

const between = (min, max) => max === Infinity ? `>= ${min}` : `>= ${min} && <= ${max}`

/** A check of one option: `(name, value) => value`. */
const numeric = (min, max, isWhole = false) => (name, value) => {
  if (typeof value !== 'number') throw invalidType(`options.${name}`, 'of type number', value)
  if (!(value >= min && value <= max)) throw outOfRange(`options.${name}`, between(min, max), value)
  if (isWhole && !Number.isInteger(value)) throw outOfRange(`options.${name}`, 'an integer', value)
  return value
}

const milliseconds = numeric(0, MAX_MS)

module.exports = { milliseconds, numeric }

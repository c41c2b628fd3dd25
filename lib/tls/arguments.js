'use strict'
// Arguments of a TLSSocket's methods.
const { invalidType, outOfRange } = require('../errors.js')

const checkUint32 = (name, value) => {
  if (typeof value !== 'number') throw invalidType(name, 'of type number', value)
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value)
  if (value < 1 || value > 2 ** 32 - 1) throw outOfRange(name, '>= 1 && <= 4294967295', value)
}

const checkString = (name, value) => {
  if (typeof value !== 'string') throw invalidType(name, 'of type string', value)
}

const checkView = (name, value) => {
  if (!ArrayBuffer.isView(value)) throw invalidType(name, 'an instance of Buffer, TypedArray, or DataView', value)
}

module.exports = { checkString, checkUint32, checkView }

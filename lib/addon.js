'use strict'
// The addon, or what can be done about its absence.
const process = require('node:process')

/** @returns {typeof import('../native.js')} */
const load = () => {
  try {
    return require('../native.js')
  } catch (cause) {
    const { platform, arch } = process
    // @ts-ignore: the report is an object of its own shape
    const isMusl = platform === 'linux' && !process.report?.getReport().header.glibcVersionRuntime
    throw new Error(`holdfast has no binary for ${platform}-${arch}${isMusl ? ' with musl' : ''}: install it with its optional ` +
      'dependencies, or build it from its repository (see "Support" in its README)', { cause })
  }
}

module.exports = load()

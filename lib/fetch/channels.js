'use strict'
// undici's diagnostics channels: whoever traces undici traces this.
const { channel } = require('node:diagnostics_channel')

const named = (kind, words) => Object.fromEntries(words.map((word) => [word, channel(`undici:${kind}:${word}`)]))

module.exports = {
  ...named('request', ['create', 'bodySent', 'bodyChunkSent', 'bodyChunkReceived', 'headers', 'trailers', 'error']),
  ...named('client', ['beforeConnect', 'connected', 'connectError', 'sendHeaders'])
}

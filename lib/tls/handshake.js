'use strict'
// How a secured connection begins.
const { Buffer } = require('node:buffer')
const tls = require('node:tls')

/** ALPN's names as they go over the wire. */
const protocolsOf = ({ ALPNProtocols }) => {
  if (!ALPNProtocols) return undefined
  const out = {}
  tls.convertALPNProtocols(ALPNProtocols, out)
  return out.ALPNProtocols
}

/** Has the engine open a place's connection and secure it; `session` is one to resume. */
const beginHandshake = ({ native, number }, target, route, context, { options, protocols, session }) => {
  const { servername, requestOCSP } = options
  const handshake = {
    servername: servername || undefined,
    protocols,
    session: typeof session === 'string' ? Buffer.from(session, 'latin1') : session,
    requestOcsp: Boolean(requestOCSP)
  }
  native.connect(number, target, handshake, context, route?.proxy, route?.context)
}

module.exports = { beginHandshake, protocolsOf }

'use strict'
// What an agent for HTTPS has beyond one for HTTP: names of servers, sessions, options of TLS. A mixin.
const net = require('node:net')
const tls = require('node:tls')
const { pooledAgent } = require('../agent.js')
const { CONTEXT_OPTIONS, refuseUnsupported } = require('./context.js')
const { fingerprint, numberOf } = require('./fingerprint.js')
const { TlsSocket } = require('./socket.js')
const { rejectsUnauthorized } = require('./verdict.js')

/** Those that Node puts into a name as they are, or not at all, though they are long or secret. */
const HIDDEN = ['ca', 'cert', 'crl', 'dhparam', 'key', 'pfx']
/** Those that tell connections apart, and that Node's names leave out. */
const ADDED = ['ALPNProtocols', 'allowPartialTrustChain', 'minDHSize', 'passphrase', 'requestOCSP', 'session', 'sessionTimeout',
  'ticketKeys']
/** Everything about TLS by which origins differ. */
const FIELDS = [...new Set([...CONTEXT_OPTIONS, ...ADDED, 'rejectUnauthorized', 'checkServerIdentity'])]

/** `a.example` of `a.example:443`, `::1` of `[::1]:443`. */
const hostOf = (header) => {
  if (header[0] !== '[') return header.split(':', 1)[0]
  const end = header.indexOf(']')
  return end === -1 ? header : header.slice(1, end)
}

const SETTINGS = { protocol: 'https:', Socket: TlsSocket, fields: FIELDS }

function onSession (session) {
  this._place?.agent._sessionCame(this._place, session)
}

const securedAgent = (Base) => class extends pooledAgent(Base, SETTINGS) {
  #lastHost
  #lastName

  constructor (options) {
    refuseUnsupported(options ?? {})
    super(options)
  }

  /** As Node's, less keys and passphrases, of which there are fingerprints. */
  getName (options = {}) {
    const shown = { ...options }
    for (const name of HIDDEN) if (options[name]) shown[name] = fingerprint(options[name])
    let name = super.getName(shown)
    const added = ADDED.filter((option) => options[option] !== undefined && options[option] !== null)
    if (added.length > 0) name += `:${added.map((option) => `${option}=${fingerprint(options[option])}`)}`
    // Who passes on the usual one, as got does, passes nothing on.
    if (options.checkServerIdentity && options.checkServerIdentity !== tls.checkServerIdentity) name += `:${numberOf(options.checkServerIdentity)}`
    return name
  }

  /** The name that the server is asked for, and that its certificate must have: as Node derives it. */
  _serverName (req, options) {
    const given = this.options.servername ?? options.servername
    if (given || given === '') return given
    const header = this._hostHeader(req)
    const host = header || (this.options.host ?? options.host)
    if (host !== this.#lastHost) {
      const name = header ? hostOf(host) : host
      this.#lastName = net.isIP(name) ? '' : name
      this.#lastHost = host
    }
    return this.#lastName
  }

  // Sessions. They hold for servers with the same name, asked with the same options and the same strictness.

  _sessionOf (place) {
    const { origin, options } = place
    place.sessionKey = rejectsUnauthorized(options) ? origin.name : `${origin.name}:unverified`
    return this._getSession(place.sessionKey)
  }

  _sessionCame (place, session) {
    if (place.sessionKey) this._cacheSession(place.sessionKey, session)
  }

  _joined (place) {
    if (!place.isForeign) place.socket.on('session', onSession)
  }

  _failed (place) {
    if (place.sessionKey) this._evictSession(place.sessionKey)
    super._failed(place)
  }
}

module.exports = { securedAgent }

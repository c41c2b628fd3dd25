'use strict'
// Which origin a request is for, as the pool counts them: an authority, the name it must prove, and whether exchanges share.
const { NamedOrigins } = require('../origins.js')
const { MaxOriginsReachedError } = require('./errors.js')

const isIp = (host) => /^[\d.]+$|:/.test(host)

/** `a.example` of `a.example:443`; nothing of an address. */
const nameOf = (host) => {
  const name = host[0] === '[' ? '' : host.split(':', 1)[0]
  return isIp(name) ? '' : name
}

/** So many ways to ask for origins are remembered. */
const MOST_KEYS = 2048

class FetchOrigins {
  #native
  #number
  #options
  #allowH2
  #most
  #named
  /** The same by what requests say of them. */
  #byKey = new Map()

  constructor (native, number, { options, limits: { allowH2, maxOrigins } }) {
    this.#native = native
    this.#number = number
    this.#options = options
    this.#allowH2 = allowH2
    this.#named = new NamedOrigins(native, number, () => this.#byKey.clear())
    this.#most = maxOrigins
  }

  stats () { return this.#named.stats() }

  /** `{ name, number, url, options }` of a request: where to, and how. */
  of ({ origin, servername, host, mayShare: isFit }) {
    const isSecure = origin.startsWith('https:')
    // To plain HTTP names are nothing: one connection serves them all.
    const given = isSecure ? servername ?? (host === null ? undefined : nameOf(host)) : undefined
    const mayShare = isSecure && isFit && this.#allowH2
    const key = given === undefined && !mayShare ? origin : `${origin} ${given ?? ''} ${mayShare}`
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    const found = this.#find(origin, given, mayShare)
    if (this.#byKey.size >= MOST_KEYS) this.#byKey.clear()
    this.#byKey.set(key, found)
    return found
  }

  #find (origin, given, mayShare) {
    const url = new URL(origin)
    const isSecure = url.protocol === 'https:'
    const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname
    const servername = isSecure ? this.#options.servername ?? given ?? (isIp(host) ? '' : host) : undefined
    const port = Number(url.port) || (isSecure ? 443 : 80)
    const plain = `${url.protocol}//${url.hostname}:${port}`
    const name = `${plain}${isSecure && servername !== host ? `:${servername}` : ''}${mayShare ? ':h2' : ''}`
    if (!this.#named.fits(name, this.#most)) throw new MaxOriginsReachedError()
    return this.#named.of(name, (number) => {
      if (mayShare) this.#native.setShared(this.#number, number, true)
      return { url, options: this.#optionsFor(url, host, port, servername, mayShare), mayShare, isShared: mayShare, waiting: 0 }
    })
  }

  /** Those of `net.connect` and `tls.connect`. */
  #optionsFor ({ protocol }, host, port, servername, mayShare) {
    const { socketPath, ...rest } = this.#options
    const options = { ...rest, protocol, host, port, ...socketPath ? { path: socketPath, socketPath } : undefined }
    const ALPNProtocols = mayShare ? ['h2', 'http/1.1'] : rest.ALPNProtocols ?? ['http/1.1']
    if (protocol === 'https:') Object.assign(options, { servername, ALPNProtocols })
    if (rest.keepAlive) Object.assign(options, { keepAliveInitialDelay: rest.keepAliveMsecs ?? 60_000 })
    return options
  }
}

module.exports = { FetchOrigins }

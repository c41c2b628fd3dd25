'use strict'
// Proxies: which one, for which requests, and what a request through one looks like.
const { Buffer } = require('node:buffer')
const { isIP, isIPv4 } = require('node:net')
const process = require('node:process')
const { invalidType, invalidValue } = require('./errors.js')

const PORTS = { 'http:': 80, 'https:': 443, 'socks5:': 1080, 'socks5h:': 1080 }
const HIDDEN = '[hidden]' // it may have a password in it
const SHAPE = `must be a URL like 'http://proxy.example:3128' (${Object.keys(PORTS).map((scheme) => `${scheme}//`).join(', ')})`

const bare = (host) => host.startsWith('[') ? host.slice(1, -1) : host

const parseUrl = (name, given) => {
  let url
  try {
    url = new URL(given)
  } catch {
    throw invalidValue(name, SHAPE, HIDDEN)
  }
  if (!(url.protocol in PORTS) || !url.hostname) throw invalidValue(name, SHAPE, HIDDEN)
  try {
    return { url, user: decodeURIComponent(url.username), password: decodeURIComponent(url.password) }
  } catch {
    throw invalidValue(name, 'must have its user and password percent-encoded', HIDDEN)
  }
}

const number = (ip) => ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)

const isWithin = (host, range) => {
  const [first, last] = range.split('-').map((ip) => ip.trim())
  return isIPv4(host) && isIPv4(first) && isIPv4(last ?? '') && number(host) >= number(first) && number(host) <= number(last)
}

// It goes into a request line of ours, where Node's own check of the Host header does not reach.
const UNSAFE = /[\0-\x20\x7f/?#@\\]/
const checked = (host) => {
  if (UNSAFE.test(host)) throw invalidValue('options.host', 'must be a name or an address', host)
  return host
}

/** Whether an entry of NO_PROXY means this server; as Node 24 reads them. */
const isMeant = (entry, host, port) => entry === '*' || entry === host || entry === `${host}:${port}` ||
  (entry.startsWith('.') && (host === entry.slice(1) || host.endsWith(entry))) ||
  (entry.startsWith('*.') && host.endsWith(entry.slice(1))) ||
  (entry.includes('-') && isWithin(host, entry))

class Proxy {
  #bypass
  #authorization
  #credentials

  constructor (name, given, bypass = '') {
    const { url, user, password } = parseUrl(name, given)
    this.protocol = url.protocol
    this.place = {
      host: bare(url.hostname), port: Number(url.port) || PORTS[url.protocol], path: undefined, socketPath: undefined
    }
    /** Its address without credentials. */
    this.href = `${url.protocol}//${url.host}`
    this.isSocks = url.protocol.startsWith('socks')
    this.#bypass = bypass.split(',').map((entry) => entry.trim().toLowerCase()).filter(Boolean)
    if (user || password) {
      this.#authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
      this.#credentials = { user, password }
    }
  }

  /** Whether a request with these options goes through it. */
  serves ({ host, port, socketPath }) {
    if (socketPath) return false
    const name = (host || 'localhost').toLowerCase()
    return !this.#bypass.some((entry) => isMeant(entry, name, port))
  }

  /** What the engine needs for a connection through it: perhaps no more than its address. `contextOf()` is for TLS. */
  route ({ host, port }, isSecure, contextOf) {
    const { place, protocol } = this
    const usesTls = protocol === 'https:'
    if (!this.isSocks && !isSecure && !usesTls) return { place }
    const name = place.host
    return {
      place,
      context: usesTls ? contextOf() : undefined,
      proxy: {
        protocol: this.isSocks ? 'socks' : isSecure ? 'tunnel' : 'forward',
        host: checked(host || 'localhost'),
        port: Number(port),
        authorization: this.#authorization,
        ...this.isSocks ? this.#credentials : undefined,
        resolves: protocol === 'socks5h:',
        tls: usesTls ? { servername: isIP(name) ? undefined : name, requestOcsp: false, identity: name } : undefined
      }
    }
  }

  /** What a request for plain HTTP tells the proxy. */
  headers (keepsAlive) {
    const headers = { 'proxy-connection': keepsAlive ? 'keep-alive' : 'close' }
    if (this.#authorization) headers['proxy-authorization'] = this.#authorization
    return headers
  }

  /** The path of such a request, with its server in it. */
  targetOf (method, path, { host = 'localhost', port }) {
    if (method === 'CONNECT' || !path.startsWith('/')) return path
    const server = isIP(host) === 6 ? `[${host}]` : checked(host)
    return `http://${server}${Number(port) === 80 ? '' : `:${Number(port)}`}${path}`
  }

  /** Has a request for plain HTTP name its server itself (RFC 9112 section 3.2.2). */
  rewrite (req, options) {
    if (this.isSocks) return
    const headers = this.headers(req.shouldKeepAlive)
    const { path } = req
    req.path = this.targetOf(req.method, path, options)
    if (!req._header) {
      for (const [name, value] of Object.entries(headers)) req.setHeader(name, value)
      return
    }
    // Headers given as a list are written down already.
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
    const [, first, rest] = /^(.*?\r\n)(.*)$/s.exec(req._header)
    req._header = first.replace(` ${path} `, () => ` ${req.path} `) + lines + rest
  }
}

const isAskedForByEnvironment = () => process.env.NODE_USE_ENV_PROXY === '1' ||
  process.execArgv.includes('--use-env-proxy')

/** The proxy that an agent's options, or the environment, ask for. */
const proxyOf = ({ proxy, proxyEnv }, protocol) => {
  if (proxy) {
    if (typeof proxy !== 'string' && !(proxy instanceof URL)) throw invalidValue('options.proxy', SHAPE, HIDDEN)
    return new Proxy('options.proxy', proxy)
  }
  if (proxy === false) return undefined
  if (proxyEnv !== undefined && proxyEnv !== null && typeof proxyEnv !== 'object') {
    throw invalidType('options.proxyEnv', 'of type object', proxyEnv)
  }
  const env = proxyEnv === undefined && isAskedForByEnvironment() ? process.env : proxyEnv ?? {}
  const name = `${protocol.slice(0, -1)}_proxy`
  const url = env[name] || env[name.toUpperCase()]
  // As Node: other schemes are for other programs.
  if (!url || !/^https?:\/\//.test(url)) return undefined
  return new Proxy(`proxyEnv.${name}`, url, env.no_proxy || env.NO_PROXY)
}

module.exports = { proxyOf }

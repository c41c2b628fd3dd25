'use strict'
// undici's names for what an agent can be told, beside those of the other agents.
const http = require('node:http')
const { milliseconds, numeric } = require('../numbers.js')
const { invalidType, unsupportedOption } = require('../errors.js')
const { parseOptions, RULES } = require('../options.js')
const { proxyOf } = require('../proxy.js')
const { refuseUnsupported } = require('../tls/context.js')

const ALIASES = {
  connections: 'maxSockets',
  keepAliveTimeoutThreshold: 'agentKeepAliveTimeoutBuffer',
  maxRequestsPerClient: 'maxRequestsPerSocket',
  clientTtl: 'socketActiveTTL'
}

const INSTEAD = {
  agent: 'a FetchAgent is one itself',
  factory: 'this agent has one kind of connection',
  idleTimeout: 'pass freeSocketTimeout',
  interceptors: 'use agent.compose()',
  maxKeepAliveTimeout: 'pass keepAliveMaxTimeout',
  requestTimeout: 'pass headersTimeout or bodyTimeout',
  socketTimeout: 'pass headersTimeout or bodyTimeout',
  timeout: 'pass connectTimeout, headersTimeout or bodyTimeout'
}

const TIMEOUT = 300_000

const flag = (name, value) => {
  if (typeof value !== 'boolean') throw invalidType(`options.${name}`, 'of type boolean', value)
  return value
}

const group = (name, value) => {
  if (typeof value !== 'object') throw invalidType(`options.${name}`, 'of type object', value)
  return value
}

/**
 * What is asked in JavaScript.
 * @type {Record<string, [any, (name: string, value: unknown) => any]>}
 */
const LIMITS = {
  headersTimeout: [TIMEOUT, milliseconds],
  bodyTimeout: [TIMEOUT, milliseconds],
  maxHeaderSize: [undefined, numeric(1, 2 ** 31 - 1, true)],
  maxResponseSize: [-1, numeric(-1, Number.MAX_SAFE_INTEGER, true)],
  strictContentLength: [true, flag],
  allowH2: [false, flag],
  maxOrigins: [Infinity, numeric(1, Infinity)],
  maxConcurrentStreams: [undefined, numeric(1, 2 ** 32 - 1, true)],
  initialWindowSize: [undefined, numeric(1, 2 ** 31 - 1, true)],
  connectionWindowSize: [undefined, numeric(1, 2 ** 31 - 1, true)],
  webSocket: [{}, group],
  eventSource: [{}, group]
}

const PING_INTERVAL = 60_000

const readLimits = (given) => {
  const limits = {}
  for (const [name, [usual, check]] of Object.entries(LIMITS)) {
    limits[name] = given[name] === undefined || given[name] === null ? usual : check(name, given[name])
  }
  limits.maxHeaderSize ??= http.maxHeaderSize
  return limits
}

const refuse = (given) => {
  for (const [name, instead] of Object.entries(INSTEAD)) {
    if (given[name] !== undefined && given[name] !== null) throw unsupportedOption(name, instead)
  }
  if (typeof given.connect === 'function') throw unsupportedOption('connect', 'pass an object of options')
  if (given.pipelining > 1) throw unsupportedOption('pipelining', 'a connection has one request at a time')
  if (given.useH2c) throw unsupportedOption('useH2c', 'HTTP/2 is for servers that offer it (ALPN): pass allowH2')
}

/**
 * `{ options, retry, proxies, limits }`; what was given is left alone.
 * @param {any} own
 */
const parseFetchOptions = (own) => {
  const given = own ?? {}
  if (typeof given !== 'object') throw invalidType('options', 'of type object', given)
  refuse(given)
  const { proxy, proxyEnv, connect, tls, keepAliveMaxTimeout, pipelining, ...rest } = given
  for (const [alias, name] of Object.entries(ALIASES)) {
    if (rest[alias] !== undefined && rest[alias] !== null) rest[name] = RULES[name](alias, rest[alias])
    delete rest[alias]
  }
  if (pipelining === 0) rest.keepAlive = false
  const connecting = { ...group('tls', tls ?? {}), ...group('connect', connect ?? {}) }
  if (connecting.timeout !== undefined) rest.connectTimeout ??= RULES.connectTimeout('connect.timeout', connecting.timeout)
  rest.connectTimeout ??= 10_000
  const merged = { ...rest, ...connecting, timeout: undefined }
  refuseUnsupported(merged)
  const { options, retry } = parseOptions({ ...merged, proxy: false }, 'http:', { isFetch: true })
  options.pingInterval = milliseconds('pingInterval', given.pingInterval ?? PING_INTERVAL)
  if (keepAliveMaxTimeout !== undefined) {
    const most = milliseconds('keepAliveMaxTimeout', keepAliveMaxTimeout)
    options.freeSocketTimeout = Math.min(options.freeSocketTimeout || most, most)
  }
  const proxies = Object.fromEntries(['http:', 'https:'].map((protocol) => [protocol, proxyOf({ proxy, proxyEnv }, protocol)]))
  return { options, retry, proxies, limits: readLimits(given) }
}

module.exports = { parseFetchOptions }

'use strict'
// The options of an agent: checked, with defaults, in a new object. The caller's is never changed.
const { invalidType, invalidValue } = require('./errors.js')
const { milliseconds, numeric } = require('./numbers.js')
const { proxyOf } = require('./proxy.js')
const { parseRetry } = require('./retry.js')

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const DURATION = /^\s*(\d+(?:\.\d+)?)\s*(?:(ms|msecs?|milliseconds?)|(s|secs?|seconds?)|(m|mins?|minutes?)|(h|hrs?|hours?)|(d|days?))?\s*$/i

/** `'30s'`, `'2m'`, `'1h'` as agentkeepalive takes them, in milliseconds. */
const fromWords = (name, text) => {
  const [, amount, ...units] = DURATION.exec(text) ?? []
  if (amount === undefined) throw invalidValue(`options.${name}`, 'must be a number of milliseconds or a duration like \'30s\'', text)
  const unit = Object.values(UNITS)[Math.max(0, units.findIndex(Boolean))]
  return Number(amount) * unit
}

const duration = (name, value) => {
  if (typeof value !== 'number' && typeof value !== 'string') {
    throw invalidType(`options.${name}`, 'a number of milliseconds or a duration like \'30s\'', value)
  }
  return milliseconds(name, typeof value === 'string' ? fromWords(name, value) : value)
}
const flag = (name, value) => {
  if (typeof value !== 'boolean') throw invalidType(`options.${name}`, 'of type boolean', value)
  return value
}
const count = numeric(1, 2 ** 32 - 1, true)
/** What fits the kernel's 15 bits of seconds. */
const probeInterval = numeric(0, 32_767_000)

/** Each option's check; `null` means none was given, as in Node, and so does `undefined`. */
const RULES = {
  keepAlive: flag,
  keepAliveMsecs: (name, value) => value === Infinity ? value : milliseconds(name, value),
  maxSockets: numeric(0, Infinity),
  maxTotalSockets: numeric(1, Infinity),
  maxFreeSockets: numeric(0, Infinity),
  timeout: duration,
  freeSocketTimeout: duration,
  socketActiveTTL: duration,
  ttlJitter: numeric(0, 1),
  agentKeepAliveTimeoutBuffer: milliseconds,
  learnIdleTimeout: flag,
  maxRequestsPerSocket: count,
  connectTimeout: duration,
  queueLimit: count,
  queueTimeout: duration,
  tcpUserTimeout: duration,
  keepAliveInterval: probeInterval,
  keepAliveCount: numeric(1, 127, true)
}

/** agentkeepalive's older names. */
const ALIASES = { keepAliveTimeout: 'freeSocketTimeout', freeSocketKeepAliveTimeout: 'freeSocketTimeout' }

const DEFAULTS = {
  keepAlive: true,
  freeSocketTimeout: 4000,
  ttlJitter: 0.1,
  agentKeepAliveTimeoutBuffer: 1000,
  learnIdleTimeout: true
}

/** `{ options, retry, proxy }`: what `agent.options` begins as, the parsed policy, and the way. */
const parseOptions = (given, protocol, { isFetch = false } = {}) => {
  if (given !== undefined && given !== null && typeof given !== 'object') {
    throw invalidType('options', 'of type object', given)
  }
  // Not for callers to see: Node's own code would act on them, and passwords are in them.
  const { proxy, proxyEnv, ...options } = { __proto__: null, ...given }
  for (const [alias, name] of Object.entries(ALIASES)) {
    if (options[alias] !== undefined) options[name] = RULES[name](alias, options[alias]) || options[name]
    delete options[alias]
  }
  for (const [name, check] of Object.entries(RULES)) {
    options[name] ??= DEFAULTS[name]
    if (options[name] === undefined) delete options[name]
    else options[name] = check(name, options[name])
  }
  return { options, retry: parseRetry(options.retry, undefined, { isFetch }), proxy: proxyOf({ proxy, proxyEnv }, protocol) }
}

/** Those that count from the next decision on when they are assigned to `agent.options`. */
const LIVE = ['timeout', 'freeSocketTimeout', 'socketActiveTTL', 'ttlJitter', 'agentKeepAliveTimeoutBuffer', 'learnIdleTimeout',
  'maxRequestsPerSocket', 'connectTimeout', 'queueLimit', 'queueTimeout', 'tcpUserTimeout', 'keepAliveInterval', 'keepAliveCount']

/** Tells of assignments to `options`, and keeps what `accepted` makes of them. */
const watchValues = (options, names, changed, accepted = (given, name) => given) => {
  for (const name of names) {
    let value = options[name]
    const define = () => Object.defineProperty(options, name, {
      configurable: true,
      enumerable: value !== undefined,
      get: () => value,
      set: (given) => {
        value = accepted(given, name)
        define()
        changed()
      }
    })
    define()
  }
}

/** Checks later assignments to `options` as the constructor does, and tells. */
const watchOptions = (options, changed) => watchValues(options, LIVE, changed, (given, name) =>
  given === undefined || given === null ? DEFAULTS[name] : RULES[name](name, given))

/** The same for the engine. */
const toNative = (options, retry, limits) => {
  const time = (value) => value > 0 ? value : undefined
  return {
    limits,
    idleTimeout: time(options.freeSocketTimeout),
    ttl: time(options.socketActiveTTL),
    ttlJitter: options.ttlJitter,
    hintBuffer: options.agentKeepAliveTimeoutBuffer,
    maxRequests: options.maxRequestsPerSocket,
    connectTimeout: time(options.connectTimeout),
    queueTimeout: time(options.queueTimeout),
    pingInterval: time(options.pingInterval),
    tcpUserTimeout: time(options.tcpUserTimeout),
    keepAliveInterval: time(options.keepAliveInterval),
    keepAliveCount: options.keepAliveCount,
    learns: options.learnIdleTimeout,
    retry: retry.native
  }
}

module.exports = { parseOptions, RULES, toNative, watchOptions, watchValues }

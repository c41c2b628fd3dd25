'use strict'
// `net.connect`'s options as the engine's target: what is looked up, by whom, and what is refused beforehand.
const dns = require('node:dns')
const net = require('node:net')
const process = require('node:process')
const { invalidAddress, invalidFamily } = require('./errors.js')

// Asked at each use: programs that replace `dns.lookup`, whenever they do, mean every lookup.
let knownLookup
const isNodeLookup = (lookup) => {
  if (lookup === knownLookup) return true
  const isNodes = /GetAddrInfoReqWrap/.test(Function.prototype.toString.call(lookup))
  if (isNodes) knownLookup = lookup
  return isNodes
}

const FAMILIES = { IPv4: 4, IPv6: 6 }
const DEFAULT_ATTEMPT_DELAY = 250
const LEAST_ATTEMPT_DELAY = 10

const isPort = (port) => {
  const isNumeric = typeof port === 'number' || (typeof port === 'string' && port.trim() !== '')
  return isNumeric && +port === (+port >>> 0) && +port <= 0xffff
}

/** Whether `net.connect` takes these; if not, it throws its own error here, before anything is touched. */
const validate = (options) => {
  const { port, localAddress, localPort, lookup, autoSelectFamily, autoSelectFamilyAttemptTimeout: delay } = options
  if (options.path) return
  const isFine = isPort(port) &&
    (!localAddress || net.isIP(localAddress)) &&
    (!localPort || typeof localPort === 'number') &&
    (lookup === undefined || lookup === null || typeof lookup === 'function') &&
    (autoSelectFamily === undefined || autoSelectFamily === null || typeof autoSelectFamily === 'boolean') &&
    (delay === undefined || delay === null || (Number.isInteger(delay) && delay > 0))
  if (!isFine) new net.Socket().connect({ ...options }).destroy()
  const { family, hints } = options
  const isFamily = [undefined, null, 0, 4, 6, 'IPv4', 'IPv6'].includes(family)
  if (!isFamily || (hints && hints & ~(dns.ADDRCONFIG | dns.ALL | dns.V4MAPPED))) {
    if (!net.isIP(options.host || '') && !lookup) dns.lookup(options.host || 'localhost', { family, hints }, () => {})
  }
}

const attemptDelay = ({ autoSelectFamilyAttemptTimeout: given }) => Math.max(LEAST_ATTEMPT_DELAY,
  given ?? net.getDefaultAutoSelectFamilyAttemptTimeout?.() ?? DEFAULT_ATTEMPT_DELAY)

/** What the engine needs of validated options, apart from the addresses. */
const base = (options) => {
  const family = FAMILIES[options.family] ?? options.family
  const isOneFamily = family === 4 || family === 6
  const race = !isOneFamily && !options.localAddress &&
    (options.autoSelectFamily ?? net.getDefaultAutoSelectFamily?.() ?? true)
  const hints = options.hints || (isOneFamily ? 0 : dns.ADDRCONFIG)
  return {
    port: +options.port,
    family: isOneFamily ? family : 0,
    hints,
    order: dns.getDefaultResultOrder?.() ?? 'verbatim',
    race,
    attemptDelay: attemptDelay(options),
    localAddress: options.localAddress || undefined,
    localPort: options.localPort || undefined
  }
}

const lookUpOne = (socket, lookup, host, options, found) => {
  const { family, hints } = base(options)
  lookup(host, { family: family || options.family, hints }, (error, address, family) => {
    socket.emit('lookup', error, address, family, host)
    if (!socket.connecting) return
    if (error) found(error)
    else if (!net.isIP(address)) found(invalidAddress(address))
    else if (family !== 4 && family !== 6) found(invalidFamily(family, options.host, options.port))
    else found(null, [address])
  })
}

const lookUpAll = (socket, lookup, host, options, found) => {
  const { hints } = base(options)
  lookup(host, { family: options.family, hints, all: true }, (error, addresses) => {
    if (!socket.connecting) return
    if (error) {
      socket.emit('lookup', error, undefined, undefined, host)
      return found(error)
    }
    const usable = []
    for (const { address, family } of addresses) {
      socket.emit('lookup', error, address, family, host)
      if (!socket.connecting) return
      if (net.isIP(address) && (family === 4 || family === 6)) usable.push(address)
    }
    if (usable.length > 0) return found(null, usable)
    const [{ address, family }] = addresses
    found(net.isIP(address) ? invalidFamily(family, options.host, options.port) : invalidAddress(address))
  })
}

const fallsBack = ({ _place: { native, number } }) => native.fallBack(number)

/** Sees that `open(target)` is called once the engine has all it needs; a lookup in JavaScript may never answer. */
const resolveTarget = (socket, options, open) => {
  if (options.path) return open({ ...base({ ...options, port: 0 }), path: options.path })
  const target = base(options)
  const host = options.host || 'localhost'
  if (net.isIP(host)) return open({ ...target, addresses: [host] })
  socket._host = host
  const lookup = options.lookup ?? (isNodeLookup(dns.lookup) ? undefined : dns.lookup)
  if (!lookup) return open({ ...target, host })
  const lookUp = target.race ? lookUpAll : lookUpOne
  lookUp(socket, lookup, host, options, (error, addresses) => {
    // Nobody may be listening yet when a lookup answers at once.
    if (error) process.nextTick(() => { if (!fallsBack(socket)) socket.destroy(error) })
    else open({ ...target, addresses })
  })
}

module.exports = { resolveTarget, validate }

'use strict'
// Errors as Node makes them, from the facts that the engine reports.
const { isIPv6 } = require('node:net')
const { getSystemErrorName, inspect } = require('node:util')

const withFacts = (error, facts) => Object.assign(error, facts)

/** An error with a stable `code`, for what only holdfast refuses. */
const coded = (code, message) => withFacts(new Error(message), { code })

/** `read ECONNRESET`: a system call that failed. `errno` is the system's positive number. */
const systemError = (syscall, errno) => {
  const code = getSystemErrorName(-errno)
  return withFacts(new Error(`${syscall} ${code}`), { errno: -errno, code, syscall })
}

/** `connect ECONNREFUSED 127.0.0.1:80`: one attempt to connect. */
const attemptError = ({ syscall, errno, address, port, localAddress = undefined, localPort = undefined }) => {
  const code = getSystemErrorName(-errno)
  const [host, at] = syscall === 'bind' ? [localAddress, localPort] : [address, port]
  let message = `${syscall} ${code} ${host}`
  if (at > 0) message += `:${at}`
  const local = syscall !== 'bind' && localAddress && localPort
  if (local) message += ` - Local (${localAddress}:${localPort})`
  const error = withFacts(new Error(message), { errno: -errno, code, syscall, address: host })
  if (at) error.port = at
  return local ? withFacts(error, { localAddress, localPort }) : error
}

/** One error for all attempts, as Node's family selection gives it. */
const attemptsError = (failures) => {
  const errors = failures.map(attemptError)
  return errors.length === 1 ? errors[0] : withFacts(new AggregateError(errors), { code: errors[0]?.code })
}

// The resolver's "no such name" and "no address of that kind" are one to callers (lib/internal/errors.js, DNSException).
const NO_NAME = new Set(['EAI_NODATA', 'EAI_NONAME'])

/** `getaddrinfo ENOTFOUND name`; `errno` is libuv's negative number. */
const lookupError = (errno, hostname) => {
  const name = getSystemErrorName(errno)
  const code = NO_NAME.has(name) ? 'ENOTFOUND' : name
  return withFacts(new Error(`getaddrinfo ${code} ${hostname}`), { errno, code, syscall: 'getaddrinfo', hostname })
}

/** The error of a connection that could not be opened, from what `NativeEnvironment.trouble` tells. */
const connectError = ({ lookup, failures, timedOut, unwatchable, refused }, { host, path, port, proxy }) => {
  if (refused) return tunnelError(refused, { host, port }, proxy)
  const address = path ?? host
  if (lookup !== undefined) return lookupError(lookup, host)
  if (timedOut !== undefined) {
    const errno = require('node:os').constants.errno.ETIMEDOUT
    return withFacts(attemptError({ syscall: 'connect', errno, address, port }), { timeout: timedOut })
  }
  if (failures?.length) return attemptsError(failures.map((failure) => ({ ...failure, address: failure.address ?? path })))
  const errno = unwatchable ?? require('node:os').constants.errno.EADDRNOTAVAIL
  return attemptError({ syscall: 'connect', errno, address, port })
}

const socketTimeout = (timeout) => withFacts(coded('ERR_SOCKET_TIMEOUT', 'Socket timeout'), { timeout })

const agentClosed = () => coded('ERR_AGENT_CLOSED',
  'The agent was closed and takes no more requests: create another, or call close() after the last one')

const queueFull = (limit) => coded('ERR_AGENT_QUEUE_FULL',
  `${limit} requests wait for a socket already: raise maxSockets or queueLimit, or send less at a time`)

const checkoutTimeout = (timeout) => withFacts(coded('ERR_AGENT_CHECKOUT_TIMEOUT',
  `No socket became free within ${timeout} ms: raise maxSockets or queueTimeout, or send less at a time`), { timeout })

// Node's own classes are internal; these have the same name, code and words.
const nodeError = (Base, code, message) => {
  const error = withFacts(new Base(message), { code })
  Error.captureStackTrace(error, nodeError)
  return error
}

const received = (value) => {
  if (value === null || value === undefined) return `Received ${value}`
  if (typeof value === 'function') return `Received function ${value.name}`
  if (typeof value === 'object') {
    const { name } = value.constructor ?? {}
    return name ? `Received an instance of ${name}` : `Received ${inspect(value, { depth: -1 })}`
  }
  const shown = inspect(value, { colors: false })
  return `Received type ${typeof value} (${shown.length > 28 ? `${shown.slice(0, 25)}...` : shown})`
}

const invalidType = (name, expected, value) => nodeError(TypeError, 'ERR_INVALID_ARG_TYPE',
  `The "${name}" ${name.includes('.') ? 'property' : 'argument'} must be ${expected}. ${received(value)}`)

const invalidValue = (name, reason, value) => nodeError(TypeError, 'ERR_INVALID_ARG_VALUE',
  `The ${name.includes('.') ? 'property' : 'argument'} '${name}' ${reason}. Received ${inspect(value)}`)

const outOfRange = (name, range, value) => nodeError(RangeError, 'ERR_OUT_OF_RANGE',
  `The value of "${name}" is out of range. It must be ${range}. Received ${inspect(value)}`)

/** ERR_INVALID_IP_ADDRESS and ERR_INVALID_ADDRESS_FAMILY, for what a `lookup` function answered. */
const invalidAddress = (address) => nodeError(TypeError, 'ERR_INVALID_IP_ADDRESS', `Invalid IP address: ${address}`)
const invalidFamily = (family, host, port) => withFacts(nodeError(RangeError, 'ERR_INVALID_ADDRESS_FAMILY',
  `Invalid address family: ${family} ${host}:${port}`), { host, port })

const invalidHandleType = () => nodeError(TypeError, 'ERR_INVALID_HANDLE_TYPE', 'This handle type cannot be sent')

const unsupportedOption = (name, instead) => nodeError(TypeError, 'ERR_INVALID_ARG_VALUE',
  `The property 'options.${name}' is not supported: ${instead}`)

/** A proxy that opened nothing. */
const tunnelError = ({ status, reason }, { host, port }, proxy) => {
  const error = nodeError(Error, 'ERR_PROXY_TUNNEL', `Failed to establish tunnel to ${host}:${port} via ${proxy}: ${reason}`)
  return status === undefined || status === null ? error : withFacts(error, { statusCode: status })
}

const familyOf = (address) => isIPv6(address) ? 'IPv6' : 'IPv4'

module.exports = {
  coded,
  nodeError,
  withFacts,
  tunnelError,
  unsupportedOption,
  systemError,
  connectError,
  socketTimeout,
  agentClosed,
  queueFull,
  checkoutTimeout,
  invalidType,
  invalidValue,
  outOfRange,
  invalidAddress,
  invalidFamily,
  invalidHandleType,
  familyOf
}

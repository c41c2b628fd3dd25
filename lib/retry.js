'use strict'
// What is sent again: the option `retry` of an agent or of a request, checked, with defaults.
const { getSystemErrorMap } = require('node:util')
const { invalidType, invalidValue } = require('./errors.js')
const { milliseconds, numeric } = require('./numbers.js')

const METHODS = ['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE', 'QUERY']
const CODES = ['ECONNRESET', 'ECONNREFUSED', 'ETIMEDOUT', 'EPIPE', 'EAI_AGAIN', 'ENETUNREACH', 'EHOSTUNREACH']
const NON_IDEMPOTENT = ['evidence', 'never', 'always']

/** The system's numbers as the engine has them; those of name lookups are libuv's, and negative. */
const numbers = new Map()
for (const [number, [code]] of getSystemErrorMap()) numbers.set(code, [code.startsWith('EAI_') ? number : -number])
// What callers see of a name without an address.
numbers.set('ENOTFOUND', ['EAI_NONAME', 'EAI_NODATA'].flatMap((code) => numbers.get(code) ?? []))

const DEFAULTS = {
  enabled: true,
  methods: METHODS,
  maxBodyBytes: 65_536,
  attempts: 0,
  backoff: { base: 100, max: 10_000 },
  budget: { ratio: 0.2, minPerSecond: 10 },
  nonIdempotent: 'evidence',
  codes: CODES,
  retryOn: []
}

const isRecord = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)

const words = (name, value) => {
  if (!Array.isArray(value)) throw invalidType(`options.${name}`, 'an instance of Array', value)
  for (const word of value) {
    if (typeof word !== 'string') throw invalidType(`options.${name}`, 'an array of strings', word)
  }
  return value
}

const HINTS = {
  retryOn: ' of this agent: FetchAgent and createFetch have it',
  retries: ': see attempts',
  maxRetries: ': see attempts',
  limit: ': see attempts'
}

/** A record of options, and `base` for what it leaves out. */
const record = (rules) => (name, value, base) => {
  if (!isRecord(value)) throw invalidType(`options.${name}`, 'of type object', value)
  const merged = { ...base }
  for (const [word, given] of Object.entries(value)) {
    if (given === undefined) continue
    if (!Object.hasOwn(rules, word)) {
      throw invalidValue(`options.${name}.${word}`, `is not an option${HINTS[word] ?? ''}`, given)
    }
    merged[word] = rules[word](`${name}.${word}`, given, base[word])
  }
  return merged
}

const RULES = {
  methods: (name, value) => words(name, value).map((method) => method.toUpperCase()),
  maxBodyBytes: numeric(0, 2 ** 32 - 1, true),
  attempts: numeric(0, 2 ** 31 - 1, true),
  backoff: record({ base: milliseconds, max: milliseconds }),
  budget: record({ ratio: numeric(0, Infinity), minPerSecond: numeric(0, Infinity) }),
  nonIdempotent: (name, value) => {
    if (NON_IDEMPOTENT.includes(value)) return value
    throw invalidValue(`options.${name}`, `must be one of ${NON_IDEMPOTENT.map((word) => `'${word}'`).join(', ')}`, value)
  },
  codes: (name, value) => {
    const unknown = words(name, value).find((code) => !numbers.has(code))
    if (unknown === undefined) return value
    throw invalidValue(`options.${name}`, 'must hold codes of system errors', unknown)
  }
}

const policyOf = record(RULES)

/** Answers are looked at by dispatchers alone: elsewhere they are Node's. */
const policyOfFetch = record({
  ...RULES,
  retryOn: (name, value) => {
    if (!Array.isArray(value)) throw invalidType(`options.${name}`, 'an instance of Array', value)
    const other = value.find((status) => !Number.isInteger(status) || status < 400 || status > 599)
    if (other === undefined) return value
    throw invalidValue(`options.${name}`, 'must hold statuses from 400 to 599', other)
  }
})

/** The same as the engine takes it, beside what only JavaScript needs. */
const compiled = (policy) => ({
  policy,
  methods: new Set(policy.methods),
  retryOn: new Set(policy.retryOn),
  native: {
    enabled: policy.enabled,
    maxBytes: policy.maxBodyBytes,
    nonIdempotent: policy.nonIdempotent,
    attempts: policy.attempts,
    backoffBase: policy.backoff.base,
    backoffMax: policy.backoff.max,
    ratio: policy.budget.ratio,
    minPerSecond: policy.budget.minPerSecond,
    errnos: policy.codes.flatMap((code) => numbers.get(code))
  }
})

/** A policy from what was given, and from `base`, an agent's own, for what was not. */
const parseRetry = (given, base = undefined, { isFetch = false } = {}) => {
  const under = base?.policy.enabled ? base.policy : DEFAULTS
  if (given === false) return compiled({ ...DEFAULTS, enabled: false })
  if (given === undefined || given === null || given === true) return compiled(under)
  if (!isRecord(given)) throw invalidType('options.retry', 'false or an object', given)
  const policy = (isFetch ? policyOfFetch : policyOf)('retry', given, under)
  if (given.retryOn?.length > 0 && policy.attempts === 0) {
    throw invalidValue('options.retry.retryOn', 'needs options.retry.attempts, which is 0', given.retryOn)
  }
  return compiled(policy)
}

/** What is never in a policy of ours. */
const OTHERS = ['limit', 'retries', 'maxRetries', 'calculateDelay']

/** Whether a request's `retry` is another library's, which left it in the options: got 11 does. */
const isOthers = (given) => isRecord(given) && OTHERS.some((word) => Object.hasOwn(given, word))

/** The policy of a request, which may have one of its own, under its agent's. */
const policyOfRequest = ({ retry }, base) => retry === undefined || isOthers(retry) ? base : parseRetry(retry, base)

/** Whether a request is sent again if its connection dies before the answer, whatever is known of what became of it. */
const isMended = ({ policy }, isIdempotent) => policy.enabled && (isIdempotent || policy.nonIdempotent === 'always')

module.exports = { isMended, parseRetry, policyOfRequest }

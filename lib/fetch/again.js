'use strict'
// Another attempt because of an answer's status: whether, and after how long. What the server wishes counts, within bounds.

/** Milliseconds that a `Retry-After` asks for: seconds, or a date. */
const wishOf = (pairs, now) => {
  for (let at = 0; at < pairs.length; at += 2) {
    if (pairs[at].length !== 11 || pairs[at].toLowerCase() !== 'retry-after') continue
    const value = pairs[at + 1].trim()
    if (/^\d+$/.test(value)) return Number(value) * 1000
    const date = Date.parse(value)
    return Number.isNaN(date) ? undefined : Math.max(0, date - now)
  }
  return undefined
}

/**
 * How many milliseconds to wait before attempt `attempts + 1`, or `undefined`: not again. `random` is from 0 to 1.
 */
const waitFor = ({ status, pairs, attempts, isIdempotent, retry: { policy, retryOn } }, { now = Date.now(), random = Math.random() } = {}) => {
  if (!retryOn.has(status) || !policy.enabled || attempts > policy.attempts || !isIdempotent) return undefined
  const { base, max } = policy.backoff
  const wish = wishOf(pairs, now)
  if (wish !== undefined) return wish <= max ? wish : undefined
  return random * Math.min(max, base * 2 ** (attempts - 1))
}

module.exports = { waitFor }

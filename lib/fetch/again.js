'use strict'
// Another attempt because of an answer's status: whether, and after how long. What the server wishes counts, within bounds.

// RFC 9110 section 5.6.7: IMF-fixdate, and the two older forms. `Date.parse` takes much else, and makes a date of `2.5`.
const DATES = [
  /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT$/,
  /^[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d [\d:]{8} GMT$/,
  /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4}$/
]

/** When a date is, in milliseconds of the epoch; `NaN` of what is none. */
const timeOf = (date) => {
  if (!DATES.some((form) => form.test(date))) return NaN
  // The last form says no zone, and means the same.
  return Date.parse(date.endsWith('GMT') ? date : `${date} GMT`)
}

/** Milliseconds that a `Retry-After` asks for: seconds, or a date. */
const wishOf = (pairs, now) => {
  for (let at = 0; at < pairs.length; at += 2) {
    if (pairs[at].length !== 11 || pairs[at].toLowerCase() !== 'retry-after') continue
    const value = pairs[at + 1].trim()
    if (/^\d+$/.test(value)) return Number(value) * 1000
    const date = timeOf(value)
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

// The options of an agent: whatever is given, either an agent comes of it, or a clear error that names an option; and the
// caller's object stays as it was.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { HttpAgent } from '../index.mjs'

const seconds = Number(process.argv[2] ?? 10)
const CODES = new Set(['ERR_INVALID_ARG_TYPE', 'ERR_INVALID_ARG_VALUE', 'ERR_OUT_OF_RANGE'])

const NAMES = ['keepAlive', 'keepAliveMsecs', 'maxSockets', 'maxTotalSockets', 'maxFreeSockets', 'scheduling', 'timeout',
  'freeSocketTimeout', 'keepAliveTimeout', 'freeSocketKeepAliveTimeout', 'socketActiveTTL', 'ttlJitter',
  'agentKeepAliveTimeoutBuffer', 'learnIdleTimeout', 'maxRequestsPerSocket', 'connectTimeout', 'queueLimit',
  'queueTimeout', 'tcpUserTimeout', 'keepAliveInterval', 'keepAliveCount', 'proxyEnv']

const number = fc.oneof(fc.integer({ min: -2, max: 200 }), fc.double(), fc.constantFrom(0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32, Infinity))
const value = fc.oneof({ weight: 5, arbitrary: number }, fc.boolean(), fc.string(), fc.constantFrom('5s', '1 h', 'lifo', null, undefined), fc.anything())
/** A few of those names: with more, nearly every object would be refused for one of them. */
const some = (names) => fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 3 })
const retry = fc.oneof(value, fc.record({
  methods: fc.oneof(fc.array(fc.string()), value),
  maxBodyBytes: value,
  attempts: value,
  backoff: fc.oneof(some(['base', 'max', 'other']), value),
  budget: fc.oneof(some(['ratio', 'minPerSecond']), value),
  nonIdempotent: fc.oneof(fc.constantFrom('evidence', 'never', 'always'), value),
  codes: fc.oneof(fc.array(fc.constantFrom('ECONNRESET', 'ENOTFOUND', 'E')), value)
}, { requiredKeys: [] }))
const options = fc.tuple(some(NAMES), fc.option(retry, { nil: undefined }))
  .map(([plain, policy]) => policy === undefined ? plain : { ...plain, retry: policy })

const examples = JSON.parse(readFileSync(new URL('corpus/options/examples.json', import.meta.url), 'utf8'))
let made = 0
let refused = 0

const details = fc.check(fc.property(options, (given) => {
  const before = Object.entries(given)
  try {
    const agent = new HttpAgent(given)
    assert.ok(agent.stats().opened === 0)
    agent.destroy()
    made++
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error
    assert.ok(CODES.has(error.code), `${error.code} ${error.stack}`)
    assert.ok([...NAMES, 'retry', 'options'].some((name) => error.message.includes(name)), error.message)
    refused++
  }
  assert.ok(before.length === Object.keys(given).length && before.every(([name, one]) => Object.is(given[name], one)))
}), { numRuns: 1e9, interruptAfterTimeLimit: seconds * 1000, markInterruptAsFailure: false, examples: examples.map((one) => [one]) })

if (details.failed) {
  console.error(fc.defaultReportMessage(details))
  process.exit(1)
}
console.log(`options: ${made} agents, ${refused} refusals, seed ${details.seed}`)

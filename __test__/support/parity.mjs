// `parity('claim', script)`: the script must look the same to its program through Node's agent and through holdfast.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AgentUnderTest, NodeAgent, isSecure, subject } from './agents.mjs'
import { Recorder } from './recorder.mjs'

const LIMIT_MS = 10_000

// A side that is stuck fails with what it saw so far, and gives its servers and sockets back.
const side = async (Agent, script, name) => {
  const recorder = new Recorder(Agent)
  let timer
  const stuck = new Promise((resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${name}: stuck after\n  ${recorder.events.join('\n  ')}`))
    }, LIMIT_MS)
  })
  try {
    await Promise.race([stuck, script(recorder).then(() => recorder.finish())])
  } finally {
    clearTimeout(timer)
    await recorder.abandon()
  }
  return recorder
}

// A socket, a response, a request; and what a request has sent, which races what it hears.
const entity = (event) => {
  const [who, what, which] = event.split(' ')
  if (/^s\d+$/.test(who)) return who
  return which === 'finish' || which === 'drain' ? `${who} sent` : `${who} ${what}`
}

const byEntity = (events) => events.reduce((groups, event) => {
  (groups[entity(event)] ??= []).push(event)
  return groups
}, {})

/**
 * `plain` says why the script means nothing over TLS. `order: 'entity'` compares the order within each request, response and socket: where the kernel decides
 * the rest.
 */
export const parity = (claim, script, { order = 'total', timeout = 25_000, plain, ...options } = {}) => {
  test(claim, { timeout, skip: isSecure && plain, ...options }, async () => {
    const expected = await side(NodeAgent, script, 'Node\'s agent')
    const actual = await side(AgentUnderTest, script, subject)
    const shape = order === 'total' ? (events) => events : byEntity
    assert.notEqual(expected.events.length, 0, 'the script noted nothing')
    assert.deepEqual(shape(actual.events), shape(expected.events))
    assert.deepEqual(actual.wire, expected.wire)
    if (process.env.PARITY_SHOW) console.log(`# ${claim}\n  ${expected.events.join('\n  ')}`)
  })
}

// Sessions: resumed across connections, with whom they were made and as strictly, and forgotten when they fail.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import https from 'node:https'
import { test } from 'node:test'
import { SecureAgentUnderTest, SecureNodeAgent } from './support/agents.mjs'
import { failure, exchange, to } from './support/within.mjs'
import { secureServer } from './support/tls/servers.mjs'
import { root, withinSecured } from './support/tls/within.mjs'
import { once } from './support/wait.mjs'

const identity = root.issue({ names: ['DNS:localhost', 'DNS:other.test', 'IP:127.0.0.1'] })
const ca = root.cert
const secure = { protocol: 'https:' }

const within = (claim, body, { agentOptions, serverOptions } = {}) =>
  withinSecured(`sessions_${claim}`, () => secureServer({ ...identity, ...serverOptions }), body, agentOptions)

/** One exchange on a connection of its own; whether its session was an earlier one. */
const resumed = async (server, agent, options) => {
  const { socket } = await exchange(server, agent, { ...secure, ...options })
  const is = socket.isSessionReused()
  const closed = once(socket, 'close')
  socket.destroy()
  await closed
  return is
}

for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
  within(`are_resumed_by_the_next_connection_${maxVersion}`, async ({ server, agent }) => {
    const seen = []
    for (let n = 0; n < 4; n++) seen.push(await resumed(server, agent))
    assert.deepEqual(seen, [false, true, true, true])
  }, { serverOptions: { maxVersion } })

  test(`sessions_are_resumed_as_often_as_node_s_${maxVersion}`, { timeout: 20_000 }, async () => {
    const shares = []
    for (const Agent of [SecureNodeAgent, SecureAgentUnderTest]) {
      const server = await secureServer({ ...identity, maxVersion })
      const agent = new Agent({ ca, servername: 'localhost' })
      let count = 0
      for (let n = 0; n < 10; n++) count += await resumed(server, agent) ? 1 : 0
      shares.push(count)
      agent.destroy()
      await server.stop()
    }
    assert.equal(shares[1], shares[0])
  })
}

within('are_resumed_by_a_request_that_the_end_of_an_answer_sets_off', async ({ server, agent }) => {
  const isResumed = await new Promise((resolve, reject) => {
    https.get(to(server, agent, secure), (first) => first.resume().on('end', () => {
      https.get(to(server, agent, secure), ({ socket }) => resolve(socket.isSessionReused())).on('error', reject)
    })).on('error', reject)
  })
  assert.equal(isResumed, true)
}, { agentOptions: { keepAlive: false } })

within('are_not_shared_by_servers_of_different_names', async ({ server, agent }) => {
  await resumed(server, agent, { servername: 'localhost' })
  assert.equal(await resumed(server, agent, { servername: 'other.test' }), false)
  assert.equal(await resumed(server, agent, { servername: 'localhost' }), true)
}, { agentOptions: { servername: undefined } })

within('made_without_verification_are_not_resumed_with_it', async ({ server, agent }) => {
  await resumed(server, agent, { rejectUnauthorized: false })
  assert.equal(await resumed(server, agent), false)
  assert.equal(await resumed(server, agent, { rejectUnauthorized: false }), true)
})

within('made_without_verification_by_the_environment_are_not_resumed_with_it', async ({ server, agent }) => {
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  try {
    await resumed(server, agent)
  } finally {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
  }
  assert.equal(await resumed(server, agent), false)
})

within('checked_by_another_function_are_not_resumed', async ({ server, agent }) => {
  await resumed(server, agent, { checkServerIdentity: () => undefined })
  const strict = () => Object.assign(new Error('no'), { code: 'NOT_PINNED' })
  const error = await failure(https.get(to(server, agent, { checkServerIdentity: strict })))
  assert.equal(error.code, 'NOT_PINNED')
})

within('of_rotated_keys_cost_a_whole_handshake_and_no_failure', async ({ server, agent }) => {
  await resumed(server, agent)
  server.setTicketKeys(randomBytes(48))
  assert.equal(await resumed(server, agent), false)
  assert.equal(await resumed(server, agent), true)
})

within('are_forgotten_when_their_connection_fails', async ({ server, agent }) => {
  const { socket } = await exchange(server, agent, secure)
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.destroy(new Error('broken'))
  await closed
  assert.equal(await resumed(server, agent), false)
})

within('are_none_when_none_may_be_kept', async ({ server, agent }) => {
  await resumed(server, agent)
  assert.equal(await resumed(server, agent), false)
}, { agentOptions: { maxCachedSessions: 0 } })

within('given_by_the_caller_are_resumed', async ({ server, agent }) => {
  let session
  await exchange(server, agent, { ...secure, observe: (socket) => socket.on('session', (it) => { session = it }) })
  const other = new SecureAgentUnderTest({ ca, servername: 'localhost', session })
  assert.equal(await resumed(server, other), true)
  other.destroy()
})

within('of_nonsense_are_ignored', async ({ server, agent }) => {
  assert.equal(await resumed(server, agent), false)
}, { agentOptions: { session: Buffer.from('nonsense') } })

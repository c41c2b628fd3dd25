// What comes to a connection between its checkout and its request, and what is told of an idle one's end.
import assert from 'node:assert/strict'
import http from 'node:http'
import { plain, reset } from './support/breaking.mjs'
import { assertStats, outcome, settled } from './support/outcome.mjs'
import { ok, scripted } from './support/servers.mjs'
import { until } from './support/wait.mjs'
import { exchange, to, withinHoldfast } from './support/within.mjs'

const within = withinHoldfast('what is claimed here is holdfast\'s')

within('unsolicited_bytes_in_the_tick_of_the_lease_answer_no_request', plain, async ({ server, agent }) => {
  await exchange(server, agent)
  const req = http.request(to(server, agent, { method: 'POST' })).end('mine')
  server.accepted[0].write(ok('poison'))
  const { text, errors } = await outcome(req)
  assert.deepEqual([text, errors], ['mine', []])
})

within('post_whose_connection_ends_by_fin_in_the_tick_of_the_lease_is_sent_on_a_fresh_one', plain, async ({
  server, agent
}) => {
  await exchange(server, agent)
  const req = http.request(to(server, agent, { method: 'POST' })).end('mine')
  server.accepted[0].destroy()
  const { text, errors } = await outcome(req)
  assert.deepEqual([text, errors], ['mine', []])
})

within('hint_in_two_headers_counts_with_the_shorter', () => scripted((socket) => {
  socket.write(ok('x', 'Keep-Alive: timeout=60\r\nKeep-Alive: timeout=1\r\n'))
}), async ({ server, agent }) => {
  await exchange(server, agent)
  assertStats(agent.stats(), { idle: 0, closed: { hint: 1 } })
})

within('close_event_of_an_idle_connection_that_was_reset_says_peer_reset', plain, async ({ server, agent }) => {
  const told = []
  agent.on('close', ({ reason }) => told.push(reason))
  await exchange(server, agent)
  reset(server.accepted[0])
  await until(() => told.length > 0)
  assert.deepEqual(told, ['peerReset'])
  assertStats(await settled(agent), { closed: { peerReset: 1 } })
})

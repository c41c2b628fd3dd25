import assert from 'node:assert/strict'
import { isHoldfast } from './agents.mjs'

/** A number, or what those of a record add up to. */
export const sum = (value) => typeof value === 'number' ? value : Object.values(value ?? {}).reduce((all, one) => all + one, 0)

/** Invariant 1 of the architecture, per origin and in total; and that nothing is left in Node's maps. */
export const assertNumbersAddUp = (agent, { idle = 0 } = {}) => {
  const lengths = (map) => Object.values(map).reduce((all, list) => all + list.length, 0)
  assert.deepEqual({
    sockets: lengths(agent.sockets), requests: lengths(agent.requests), freeSockets: lengths(agent.freeSockets)
  }, { sockets: 0, requests: 0, freeSockets: idle })
  assert.equal(agent.totalSocketCount, idle)
  if (!isHoldfast || !agent.stats) return // Node's own, on the other side
  const stats = agent.stats()
  const origins = Object.values(stats.origins ?? {})
  for (const view of [stats, ...origins]) {
    if (view.opened === undefined) continue
    assert.equal(view.connecting + view.idle + view.leased + view.closing, view.opened - sum(view.closed),
      `connecting + idle + leased + closing == opened - closed in ${JSON.stringify(view)}`)
  }
  assert.ok([stats, ...origins].some((view) => view.opened !== undefined), 'stats() tells how many it opened')
}

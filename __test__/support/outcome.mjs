// How requests end, and what the agent's numbers say then.
import assert from 'node:assert/strict'
import { assertNumbersAddUp, sum } from './stats.mjs'
import { collect, turns, until } from './wait.mjs'

/** When `req` has closed: `{ status, text, errors, broken }`, the codes of its errors and of its response's. */
export const outcome = (req) => new Promise((resolve) => {
  assert.ok(!req.closed, 'asked too late: it has closed already')
  const errors = []
  const seen = { status: undefined, text: undefined, errors, broken: undefined }
  let body
  req.on('error', (error) => errors.push(error.code))
  req.on('response', (res) => {
    seen.status = res.statusCode
    body = collect(res).then((bytes) => { seen.text = bytes.toString() }, (error) => { seen.broken = error.code })
  })
  req.on('close', async () => {
    await body
    await turns(2)
    resolve(seen)
  })
})

/** Waits until nothing of the agent moves, and looks at its books: `{ opened, replays, refused, closed, … }`. */
export const settled = async (agent, { idle = 0 } = {}) => {
  await until(() => {
    const { connecting, leased, closing } = agent.stats()
    return connecting + leased + closing === 0 && agent.totalSocketCount === idle
  })
  assertNumbersAddUp(agent, { idle })
  return agent.stats()
}

/**
 * The numbers of `stats` that `expected` names are these. A number that is expected of a record is its sum: how much the
 * kernel knows of a reset is a matter of timing.
 */
export const assertStats = (stats, expected) => {
  const seen = (name) => typeof expected[name] === 'number' && typeof stats[name] === 'object' ? sum(stats[name]) : stats[name]
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((name) => [name, seen(name)])), expected)
}

// Servers that people run, raced at their idle timeout: nothing fails, and nothing is executed twice.
import assert from 'node:assert/strict'
import http from 'node:http'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { AgentUnderTest, isHoldfast } from './support/agents.mjs'
import { REAL_SERVERS } from './support/real-servers.mjs'
import { outcome, settled } from './support/outcome.mjs'

const REQUESTS = 5000
const WORKERS = 200
/** Their timeouts are a second. */
const GAP = [900, 1100]

for (const [name, start] of Object.entries(REAL_SERVERS)) {
  test(`${REQUESTS}_requests_race_the_idle_timeout_of_${name}`, { timeout: 240_000, skip: !isHoldfast && 'holdfast alone' }, async (t) => {
    const server = await start().catch((error) => {
      if (!error.isMissing) throw error
      t.skip(error.message)
    })
    if (!server) return
    // Some announce their second: with the default buffer of as much, nothing would be reused.
    const agent = new AgentUnderTest({ agentKeepAliveTimeoutBuffer: 50 })
    const failures = []
    let next = 0
    // All in step, so that each has a connection of its own, which idles through its pause.
    const worker = async () => {
      while (next < REQUESTS) {
        const id = next++
        const method = id % 2 ? 'GET' : 'POST'
        const body = method === 'POST' ? 'xx' : undefined
        const headers = { 'X-Id': id, ...(body && { 'Content-Length': body.length }) }
        const req = http.request({ host: '127.0.0.1', port: server.port, agent, method, headers })
        req.on('error', ({ code, evidence, replayRefused }) => failures.push({ id, method, code, evidence, replayRefused }))
        const { status } = await outcome(req.end(body))
        if (status !== 200 && !failures.some((failure) => failure.id === id)) failures.push({ id, method, status })
        await sleep(GAP[0] + Math.random() * (GAP[1] - GAP[0]))
      }
    }
    try {
      await Promise.all(Array.from({ length: WORKERS }, worker))
      assert.deepEqual(failures, [])
      agent.destroy()
      const { opened, reused, unproven, replays, closed } = await settled(agent)
      t.diagnostic(`${opened} connections, ${reused} requests on reused ones, ${unproven} not on idle ones, replays ${JSON.stringify(replays)}, closed ${JSON.stringify(closed)}`)
      const times = new Map()
      for (const line of await server.executed()) times.set(line, (times.get(line) ?? 0) + 1)
      const twice = [...times].filter(([line, count]) => count > 1 && line.startsWith('POST'))
      assert.deepEqual(twice, [])
      for (let id = 0; id < REQUESTS; id += 2) assert.ok(times.has(`POST ${id}`), `POST ${id} was executed`)
    } finally {
      agent.destroy()
      await server.stop()
    }
  })
}

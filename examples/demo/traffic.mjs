// The traffic that every client sends, by the same code and at the same moments: rounds of concurrent bursts, one
// blocked loop, quiet pauses.
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { now } from './servers.mjs'

export const CONCURRENCY = 10
/** Requests that a slot sends one right after the other: the second may reuse the first one's connection. */
const BURST = 2
export const BLOCK_MS = 1600
const GIVE_UP_MS = 5000

/** `wait` lets the loop turn before the round; `block` holds it, and the round starts in the same tick. */
export const ROUNDS = [
  ...Array.from({ length: 5 }, () => ({ wait: 200, label: 'steady' })),
  { wait: 100, block: BLOCK_MS, label: `loop blocked for ${BLOCK_MS} ms` },
  { wait: 200, label: 'steady' },
  { wait: 200, label: 'steady' },
  { wait: 800, label: 'after a quiet pause' },
  { wait: 800, label: 'after a quiet pause' }
]

export const REQUESTS_PER_LANE = ROUNDS.length * CONCURRENCY * BURST

/** Runs all lanes side by side; resolves with the outcomes of each lane and the spans of time that were blocked. */
export async function runTraffic (lanes, { onRound, onDone }) {
  const startedAt = now()
  const blocked = []
  for (const [index, round] of ROUNDS.entries()) {
    onRound(index, round)
    await sleep(index === 0 ? 0 : round.wait)
    if (round.block) blocked.push(blockLoop(round.block))
    await Promise.all(lanes.flatMap((lane) => startRound(lane, index, onDone)))
  }
  await sleep(150) // closes that follow the last answers
  return { startedAt, endedAt: now(), blocked }
}

function blockLoop (ms) {
  const from = now()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
  return { from, to: now() }
}

function startRound (lane, index, onDone) {
  return Array.from({ length: CONCURRENCY }, async (_, slot) => {
    for (let step = 0; step < BURST; step++) {
      const method = (index + slot + step) % 2 ? 'POST' : 'GET'
      const outcome = await send(lane, { id: `${lane.key}-${index}-${slot}-${step}`, method })
      lane.outcomes.push({ ...outcome, slot, index })
      onDone(outcome)
    }
  })
}

function send ({ agent, port }, { id, method }) {
  return new Promise((resolve) => {
    const start = now()
    const body = method === 'POST' ? JSON.stringify({ id, order: 'one, and only one' }) : ''
    const headers = { 'x-demo-id': id, ...(body && { 'content-length': body.length }) }
    const req = http.request({ host: '127.0.0.1', port, path: '/', method, headers, agent })
    const noAnswer = Object.assign(new Error('no answer'), { code: 'NO_ANSWER' })
    const giveUp = setTimeout(() => req.destroy(noAnswer), GIVE_UP_MS)
    let firstPort
    const settle = (error) => {
      clearTimeout(giveUp)
      const { reusedSocket: reused, retryCount: retries = 0 } = req
      resolve({ method, start, code: error && (error.code ?? error.name), reused, retries, firstPort })
    }
    req.once('socket', (socket) => { firstPort = socket.localPort })
    req.on('response', (res) => {
      res.resume()
      res.on('end', () => settle(res.statusCode === 200 ? undefined : { code: `HTTP_${res.statusCode}` }))
      res.on('error', settle)
    })
    req.on('error', settle)
    req.end(body)
  })
}

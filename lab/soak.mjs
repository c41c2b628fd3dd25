// npm run soak -- --minutes n: random requests to servers that misbehave, aborted and destroyed at random. At the end every
// request has ended once, the numbers add up, and no descriptor, handle or memory is left behind.
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { HttpAgent } from '../index.mjs'
import { readArguments } from '../scripts/support/arguments.mjs'
import { seeded } from './seeded.mjs'

const WORKERS = 24
/** Longest time for one request: one that takes longer hangs. */
const PATIENCE = 30_000
/** What V8 and the allocator may keep to themselves. */
const SLACK = 16 * 2 ** 20

const { values, stop } = readArguments('usage: npm run soak -- [--minutes n] [--seed n]', {
  minutes: { type: 'string', default: '2' },
  seed: { type: 'string', default: String(Date.now() % 2 ** 31) }
})
const [minutes, seed] = [Number(values.minutes), Number(values.seed)]
if (!(minutes > 0)) stop(`--minutes must be a number above 0, not ${values.minutes}`)
if (!Number.isInteger(seed)) stop(`--seed must be a whole number, not ${values.seed}`)
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc')

const random = seeded(seed)
const below = (limit) => Math.floor(random() * limit)
const pick = (list) => list[below(list.length)]
const { servers: catalogue } = JSON.parse(readFileSync(new URL('../fixtures/catalogue.json', import.meta.url), 'utf8'))
const names = Object.keys(catalogue).filter((name) => catalogue[name].then === 'repeat')
const counts = { requests: 0, answered: 0, failed: 0, ended: {} }

console.log(`seed ${seed}, ${minutes} minutes, ${names.length} servers`)
const servers = await Promise.all(names.map(startServer))
const agents = [
  new HttpAgent({ maxSockets: 4, connectTimeout: 5000 }),
  new HttpAgent({ maxTotalSockets: 12, maxFreeSockets: 2, queueLimit: 20, queueTimeout: 300 }),
  new HttpAgent({ scheduling: 'fifo', freeSocketTimeout: 50, socketActiveTTL: 400, retry: { attempts: 2, backoff: { base: 5, max: 20 } } }),
  new HttpAgent({ keepAlive: false, retry: false })
]
try {
  // Until pools, code and the allocator's caches are as large as they get, which takes its time however short the run.
  await work(Math.max(40_000, minutes * 20_000))
  const before = await atRest()
  await work(minutes * 40_000)
  const after = await atRest()
  check(before, after)
  const { requests, answered, failed, ended } = counts
  console.log(`${requests} requests: ${answered} answered, ${failed} failed (${Object.entries(ended).map(([code, n]) => `${code} ${n}`).join(', ')})`)
  console.log('the numbers add up, and nothing is left behind')
} finally {
  for (const { child } of servers) child.kill()
}

async function startServer (name) {
  const child = fork(new URL('./server.mjs', import.meta.url), [name])
  const [{ port }] = await once(child, 'message')
  return { child, port }
}

async function work (ms) {
  const until = performance.now() + ms
  const worker = async () => {
    while (performance.now() < until) await exchange()
  }
  await Promise.all(Array.from({ length: WORKERS }, worker))
}

/** One request, which something may happen to on its way; resolves when it has closed. */
async function exchange () {
  const method = pick(['GET', 'GET', 'PUT', 'POST', 'HEAD'])
  const body = method === 'GET' || method === 'HEAD' ? undefined : Buffer.alloc(pick([0, 2, 1000, 100_000, 2_000_000]), 'x')
  const headers = body ? { 'Content-Length': body.length } : {}
  const controller = new AbortController()
  const agent = pick(agents)
  const req = http.request({ host: '127.0.0.1', port: pick(servers).port, method, headers, agent, signal: controller.signal })
  counts.requests++
  let errors = 0
  req.on('error', (error) => {
    errors++
    counts.ended[error.code] = (counts.ended[error.code] ?? 0) + 1
  })
  req.on('response', (res) => {
    res.on('error', () => {})
    if (below(20) === 0) res.destroy()
    else res.resume()
    counts.answered++
  })
  const closed = new Promise((resolve) => req.once('close', resolve))
  const fate = setTimeout(() => befall(req, controller), below(150))
  const hanging = setTimeout(() => req.destroy(new Error('HUNG')), PATIENCE)
  if (body && below(3) === 0) {
    const half = body.length >> 1
    req.write(body.subarray(0, half))
    setImmediate(() => req.end(body.subarray(half)))
  } else req.end(body)
  await closed
  clearTimeout(fate)
  clearTimeout(hanging)
  assert.ok(errors <= 1, 'one error at most')
  if (errors) counts.failed++
  if (below(4) === 0) await sleep(below(60))
}

function befall (req, controller) {
  const fates = [() => controller.abort(), () => req.destroy(), () => req.socket?.destroy(), () => req.socket?.resetAndDestroy?.()]
  // Servers that never answer are left by this alone, so something befalls every request that takes so long.
  if (req.socket && below(400) === 0) req.agent?.destroy()
  else pick(fates)()
}

/** What the process holds when every agent is empty. */
async function atRest () {
  for (const agent of agents) agent.destroy()
  const deadline = performance.now() + PATIENCE
  const isEmpty = (agent) => {
    const { connecting, idle, leased, closing } = agent.stats()
    return agent.totalSocketCount + connecting + idle + leased + closing === 0
  }
  while (!agents.every(isEmpty)) {
    assert.ok(performance.now() < deadline, 'the agents empty')
    await sleep(5)
  }
  for (let n = 0; n < 5; n++) {
    collectGarbage()
    await sleep(50)
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  const descriptors = process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0
  return { heapUsed, external, rss, descriptors, handles: process.getActiveResourcesInfo().toSorted() }
}

function check (before, after) {
  for (const agent of agents) {
    const stats = agent.stats()
    for (const view of [stats, ...Object.values(stats.origins)]) {
      const closed = Object.values(view.closed).reduce((all, one) => all + one, 0)
      assert.equal(view.opened, closed, 'every connection that was opened was closed for one reason')
      assert.equal(view.waiting, 0)
    }
    for (const map of ['sockets', 'freeSockets', 'requests']) assert.deepEqual(Object.keys(agent[map]), [], map)
    assert.equal(agent.createSocketCount, agent.closeSocketCount)
  }
  assert.equal(counts.ended.HUNG, undefined, 'no request hangs')
  assert.equal(after.descriptors, before.descriptors, 'descriptors')
  assert.deepEqual(after.handles, before.handles)
  for (const kind of ['heapUsed', 'external', 'rss']) {
    assert.ok(after[kind] - before[kind] < SLACK, `${kind} grew from ${before[kind]} to ${after[kind]}`)
  }
}

// One client in a process of its own, forked with a plan as JSON. It warms up, says that it is ready, and then answers
// each `{ ms }` with what it did in so many milliseconds; `memory` answers once, with its result.
import http from 'node:http'
import https from 'node:https'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { CEILING } from './cases.mjs'
import { fetching } from './fetching.mjs'
import { summary, transfers } from './measuring.mjs'

const plan = JSON.parse(process.argv[2])
const { request } = plan.ca ? https : http
const Agent = plan.via ? undefined : await agentClass(plan.client)
const server = { host: '127.0.0.1', port: plan.port }
const trust = plan.ca ? { ca: plan.ca, servername: 'localhost' } : {}
const CHUNK = Buffer.alloc(64 * 1024, 'x')
const warmUpMs = 2000 // by then V8 has compiled what it will

process.once('disconnect', () => process.exit()) // the parent is gone, or has the result

const kinds = plan.via ? await fetching(plan) : { get, download, upload, burst }
if (plan.kind === 'memory') {
  process.send(await memory(), () => process.disconnect())
} else {
  const run = kinds[plan.kind]()
  await run(warmUpMs)
  process.on('message', async ({ ms }) => process.send(await run(ms)))
  process.send({ isReady: true })
}

/** Only what the plan uses is loaded: another client's code must not weigh on this one's memory. */
async function agentClass (client) {
  if (client === 'node') return (plan.ca ? https : http).Agent
  if (client === CEILING) return (await import('./ceiling.mjs')).CeilingAgent
  if (client === 'agentkeepalive') return (await import('agentkeepalive')).default
  const { HttpAgent, HttpsAgent } = await import('../index.mjs')
  if (client === 'holdfast') return plan.ca ? HttpsAgent : HttpAgent
  return class extends HttpAgent {
    constructor (options) {
      super({ ...options, retry: false })
    }
  }
}

function get () {
  const agent = new Agent({ keepAlive: plan.keepAlive ?? true, maxSockets: plan.maxSockets, ...trust })
  const options = { ...server, path: '/small', agent }
  return (ms) => closedLoop(options, ms)
}

function download () {
  const agent = new Agent({ keepAlive: true, ...trust })
  const options = { ...server, path: '/download', agent }
  return (ms) => transfers(ms, plan.size, async () => {
    const { bytes } = await exchange(options)
    if (bytes !== plan.size) throw new Error(`got ${bytes} of ${plan.size} bytes`)
  })
}

function upload () {
  const agent = new Agent({ keepAlive: true, ...trust })
  const headers = { 'content-length': plan.size }
  const options = { ...server, path: '/upload', method: 'POST', headers, agent }
  return (ms) => transfers(ms, plan.size, async () => {
    const { headers: answer } = await exchange(options, sendBody)
    const read = Number(answer['x-request-length'])
    if (!(read > plan.size)) throw new Error(`nginx read ${read} of ${plan.size} bytes`)
  })
}

function sendBody (req) {
  let left = plan.size
  const more = () => {
    while (left > 0) {
      left -= CHUNK.length
      if (!req.write(CHUNK) && left > 0) {
        req.once('drain', more)
        return
      }
    }
    req.end()
  }
  more()
}

/** Resolves when the answer was read to its end; the connection is idle again by then. */
function exchange (options, send = (req) => req.end()) {
  return new Promise((resolve, reject) => {
    const req = request(options, (res) => {
      let bytes = 0
      res.on('data', (chunk) => { bytes += chunk.length })
      res.on('end', () => {
        if (res.statusCode === 200) resolve({ bytes, headers: res.headers })
        else reject(new Error(`HTTP ${res.statusCode}`))
      })
      res.on('error', reject)
    })
    req.on('error', reject)
    send(req)
  })
}

/**
 * Keeps `inFlight` requests going for so long. Shared functions and no more listeners than needed: what the harness
 * spends on a request weighs on every client alike, and hides the difference between them.
 */
function closedLoop (options, ms) {
  const latencies = []
  let isGoing = true
  let running = plan.inFlight
  let result
  return new Promise((resolve, reject) => {
    const begin = () => {
      const req = request(options, answered).end()
      req.startedAt = performance.now()
      req.on('error', reject)
    }
    const answered = (res) => {
      if (res.statusCode !== 200) return reject(new Error(`HTTP ${res.statusCode}`))
      res.resume()
      res.on('end', ended)
    }
    function ended () {
      if (isGoing) {
        latencies.push(performance.now() - this.req.startedAt)
        begin()
      } else if (--running === 0) resolve(result)
    }
    const cpu = process.cpuUsage()
    const from = performance.now()
    for (let n = 0; n < plan.inFlight; n++) begin()
    setTimeout(() => {
      isGoing = false
      result = summary(latencies, performance.now() - from, process.cpuUsage(cpu), plan.size)
    }, ms)
  })
}

/** As many new connections at once, once in each round. */
function burst () {
  return async () => {
    const agent = new Agent({ keepAlive: true, ...trust })
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    const from = performance.now()
    await Promise.all(Array.from({ length: plan.connections }, () => exchange({ ...server, path: '/small', agent })))
    const took = performance.now() - from
    await sleep(5) // the loop's own measure comes by a timer
    delay.disable()
    agent.destroy()
    await sleep(100)
    return { took, loopDelay: delay.max / 1e6 }
  }
}

async function memory () {
  // Nothing may close while it is measured: no limit on free connections, and for agentkeepalive and holdfast no time.
  const limits = { maxFreeSockets: Infinity, ...(plan.client !== 'node' && { freeSocketTimeout: 0 }) }
  const agent = new Agent({ keepAlive: true, ...limits, ...trust })
  const options = { ...server, path: '/', agent }
  await exchange({ ...options, port: plan.warmUpPort, path: '/small' })
  const before = await settledRss()
  const pending = []
  for (let i = 0; i < plan.connections; i++) {
    pending.push(exchange(options))
    if (i % 100 === 99) await sleep(2) // a crowd, not a SYN flood
  }
  await Promise.all(pending.splice(0))
  const after = await settledRss()
  process.send({ idle: true })
  const open = await new Promise((resolve) => process.once('message', (message) => resolve(message.open)))
  agent.destroy()
  if (open !== plan.connections) throw new Error(`${open} of ${plan.connections} connections stayed open`)
  return {
    connections: plan.connections,
    bytesPerConnection: (after.rss - before.rss) / plan.connections,
    heapPerConnection: (after.heapUsed - before.heapUsed) / plan.connections
  }
}

async function settledRss () {
  for (let i = 0; i < 6; i++) {
    globalThis.gc()
    await sleep(60)
  }
  return process.memoryUsage()
}

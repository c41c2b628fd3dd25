// npm run demo: the same traffic through Node's agent, agentkeepalive and holdfast, against servers that drop idle
// connections.
import { mkdir, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { arch, cpus, platform } from 'node:os'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import AgentKeepAlive from 'agentkeepalive'
import { HttpAgent } from '../../index.mjs'
import { SCENARIOS, startServers } from './servers.mjs'
import { picture } from './svg.mjs'
import { scenarioNotes, summarise, table } from './table.mjs'
import { CONCURRENCY, REQUESTS_PER_LANE, ROUNDS, runTraffic } from './traffic.mjs'

const SUBJECT = 'holdfast'
const OUT = new URL('./out/', import.meta.url)
const ANSI = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 }

const { stdout } = process
const color = (style, text) => stdout.isTTY ? `\x1b[${ANSI[style]}m${text}\x1b[0m` : text

// Every client with its own defaults; keepAlive is what all three are for.
const agents = {
  'http.Agent': new http.Agent({ keepAlive: true }),
  agentkeepalive: new AgentKeepAlive(),
  [SUBJECT]: new HttpAgent()
}

const lanes = SCENARIOS.flatMap(({ name: scenario }) => Object.entries(agents).map(([client, agent]) => {
  const key = `${scenario}/${client}`.replaceAll(' ', '-')
  return { key, scenario, client, agent, isSubject: client === SUBJECT, outcomes: [] }
}))

const startedAt = performance.now()
console.log(color('bold', 'holdfast demo') + `: ${SCENARIOS.length} servers, ${Object.keys(agents).length} clients, ` +
  `${REQUESTS_PER_LANE} requests from each to each, ${CONCURRENCY} at a time, GET and POST`)

const servers = await startServers(lanes)
lanes.forEach((lane, i) => { lane.port = servers.ports[i] })
const time = await runTraffic(lanes, progress(lanes.length * REQUESTS_PER_LANE))
const ledgers = await servers.report()
lanes.forEach((lane, i) => {
  lane.events = ledgers[i].events
  lane.summary = summarise(lane, ledgers[i])
})
const stats = agents[SUBJECT].stats()
for (const agent of Object.values(agents)) agent.destroy()
await servers.stop()

console.log(`\n${table(lanes, color)}\n\nThe servers:\n${scenarioNotes()}\n`)

const processors = `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown CPU'}`
const machine = `Node ${process.version}, ${platform()} ${arch()}, ${processors}`
await mkdir(OUT, { recursive: true })
const file = new URL('demo.svg', OUT)
await writeFile(file, picture(lanes, time, `${CONCURRENCY} at a time, GET and POST, ${machine}`))

console.log(color('bold', 'holdfast, agent.stats():'))
console.log(inspect(stats, { depth: null, colors: stdout.isTTY, breakLength: 100, maxArrayLength: 12 }))
console.log(`\nPicture: ${fileURLToPath(file)}`)
console.log(`Took ${((performance.now() - startedAt) / 1000).toFixed(1)} s on ${machine}`)
process.exitCode = verdict()

/** A bar that redraws itself on a terminal; a line per phase elsewhere. */
function progress (total) {
  let done = 0
  let failed = 0
  let label = ''
  const draw = () => {
    const filled = Math.round(done / total * 30)
    const bar = color('green', '█'.repeat(filled)) + color('dim', '░'.repeat(30 - filled))
    stdout.write(`\r\x1b[K${bar} ${done}/${total}  ${failed} failed  ${label}`)
    if (done === total) stdout.write('\n')
  }
  return {
    onRound (index, round) {
      label = round.label
      if (stdout.isTTY) draw()
      else console.log(`round ${index + 1} of ${ROUNDS.length}: ${label} (so far ${done} requests, ${failed} failed)`)
    },
    onDone ({ code }) {
      done++
      if (code) failed++
      if (stdout.isTTY && (done % 40 === 0 || done === total)) draw()
    }
  }
}

/** Says what holdfast lost and why; 1 when a request was lost that need not have been. */
function verdict () {
  const own = lanes.filter((lane) => lane.isSubject).map((lane) => lane.summary)
  const undecidable = own.reduce((sum, summary) => sum + summary.undecidable, 0)
  const unexpected = own.reduce((sum, summary) => sum + summary.failures - summary.undecidable, 0)
  if (undecidable) {
    console.log(`\n${undecidable} of holdfast's failures are POSTs that were on their way when the server closed.\n` +
      'It may have executed them, so they are never sent twice and the caller gets the error.')
  }
  if (unexpected) console.log(color('red', `\n${unexpected} requests failed through holdfast that should not have.`))
  return unexpected ? 1 : 0
}

// npm run lab: every failure of fixtures/catalogue.json, against each client. Ends with 1 where holdfast misses what is
// expected beside a scenario.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { fileURLToPath } from 'node:url'
import { asText, selfSigned } from '../__test__/support/tls/authority.mjs'
import { readArguments } from '../scripts/support/arguments.mjs'
import { CLIENTS, SUBJECTS } from './clients.mjs'
import { inNamespace, whyNoNetwork } from './network.mjs'
import { replayCost } from './replay-cost.mjs'
import { judge, runScenario, SCENARIOS } from './scenario.mjs'

const USAGE = `usage: npm run lab -- [--only scenario]... [--client name]... [--tls] [--seed n] [--json]
scenarios: ${Object.keys(SCENARIOS).join(', ')}
clients: ${Object.keys(CLIENTS).join(', ')}`

const settings = settingsOf()
const say = settings.json ? () => {} : console.log
const identity = settings.tls ? asText(selfSigned()) : undefined
const noNetwork = await whyNoNetwork()
const results = []
let misses = 0

const WIDTHS = [-38, -15, 9, 9, 15, 8]
const row = (...cells) => cells.map((cell, at) => WIDTHS[at] < 0 ? cell.padEnd(-WIDTHS[at]) : cell.padStart(WIDTHS[at])).join(' ')
say(`seed ${settings.seed}${identity ? ', over TLS' : ''}`)
say(row('scenario', 'client', 'requests', 'failures', 'executed twice', 'replays'))
for (const name of settings.scenarios) {
  const scenario = SCENARIOS[name]
  if (scenario.network && noNetwork) {
    say(row(name, `not run: ${noNetwork}`))
    continue
  }
  // One after the other: side by side they would race each other for the machine, not the server.
  for (const client of settings.clients) report(name, client, await runOne(name, client))
}
const cost = settings.clients.includes('holdfast') && settings.scenarios.length > 1 && !identity ? await replayCost() : undefined
if (cost) {
  const isDear = cost.ratio > 1.2
  if (isDear) misses++
  say(`\na replay adds ${cost.added.toFixed(2)} ms, a plain connect and exchange takes ${cost.plain.toFixed(2)} ms: ` +
    `${cost.ratio.toFixed(2)} times (medians of ${cost.count}; at most 1.2 expected)${isDear ? '   MISSED' : ''}`)
}
if (settings.json) console.log(JSON.stringify({ seed: settings.seed, noNetwork, results, cost, misses }, null, 2))
say(misses ? `\n${misses} expectations missed` : '\nas expected')
process.exitCode = misses ? 1 : 0

async function runOne (name, client) {
  if (!SCENARIOS[name].network) return runScenario(name, client, { seed: settings.seed, identity })
  const inside = fileURLToPath(new URL('./inside.mjs', import.meta.url))
  const [command, args] = inNamespace([process.execPath, inside, name, client, JSON.stringify({ seed: settings.seed, identity })])
  try {
    return JSON.parse((await promisify(execFile)(command, args)).stdout)
  } catch (error) {
    return { error: error.message }
  }
}

function report (name, client, outcome) {
  const isSubject = SUBJECTS.includes(client)
  const wrong = isSubject ? judge(SCENARIOS[name], outcome, Boolean(identity)) : []
  misses += wrong.length ? 1 : 0
  results.push({ scenario: name, client, ...outcome, ...(isSubject && { wrong }) })
  const { requests = '-', failures = '-', twice = '-', replays = '-', codes = {}, error, handshakes } = outcome
  const why = error ?? Object.entries(codes).map(([code, count]) => `${code} ${count}`).join(', ')
  const cells = [requests, failures, twice, isSubject ? replays : '-'].map(String)
  const resumed = handshakes?.all ? `resumed ${handshakes.resumed} of ${handshakes.all} handshakes` : ''
  const notes = [why, resumed, wrong.length ? `MISSED: ${wrong.join('; ')}` : ''].filter(Boolean).join('   ')
  say(row(name, client, ...cells) + (notes && `   ${notes}`))
}

function settingsOf () {
  const { values, stop } = readArguments(USAGE, {
    only: { type: 'string', multiple: true },
    client: { type: 'string', multiple: true },
    tls: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false }
  })
  const seed = Number(values.seed)
  if (!Number.isInteger(seed)) stop(`--seed must be a whole number, not ${values.seed}`)
  const known = (given, all, what) => {
    const unknown = given?.find((name) => !Object.hasOwn(all, name))
    if (unknown !== undefined) stop(`no ${what} is called ${unknown}`)
    return given ?? Object.keys(all)
  }
  const scenarios = known(values.only, SCENARIOS, 'scenario')
  return { seed, json: values.json, tls: values.tls, scenarios, clients: known(values.client, CLIENTS, 'client') }
}

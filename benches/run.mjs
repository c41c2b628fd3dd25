// npm run bench: holdfast and agentkeepalive against Node's own agent, in pairs, over nginx on loopback.
import { execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { asText, selfSigned } from '../__test__/support/tls/authority.mjs'
import { readArguments } from '../scripts/support/arguments.mjs'
import { CASES, clientsOf, MIB } from './cases.mjs'
import { startNginx } from './nginx.mjs'
import { caseLines, evaluate, machine, summaryLines } from './report.mjs'

const USAGE = `usage: node benches/run.mjs [--only name]... [--seconds n] [--rounds n] [--json]
cases: ${CASES.map(({ name }) => name).join(', ')}`

const settings = settingsOf()
const say = settings.json ? () => {} : console.log
const children = new Set()
const isSecure = ({ secure }) => Boolean(secure)
const identity = settings.cases.some(isSecure) ? selfSigned() : undefined
const nginx = await startNginx({ size: 64 * MIB })
const secureNginx = identity && await startNginx({ size: 64 * MIB, identity })
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => cleanUp().then(() => process.exit(130)))

try {
  const host = machine()
  const command = ['node benches/run.mjs', ...process.argv.slice(2)].join(' ')
  say(`${host.cpu}, ${host.cores} cores, ${host.system}, Node ${host.node}`)
  say(`${command}   (${settings.rounds} rounds of ${settings.seconds} s a case; medians, ratios within a round)`)
  const results = []
  for (const benchCase of settings.cases) {
    const rounds = await measure(benchCase)
    const result = evaluate(benchCase, rounds)
    results.push({ ...result, rounds })
    say(caseLines(result))
  }
  const { seconds, rounds } = settings
  if (settings.json) console.log(JSON.stringify({ machine: host, command, seconds, rounds, results }, null, 2))
  say(`\nholdfast, ratios to Node's agent, or what a case names:\n${summaryLines(results)}`)
} finally {
  await cleanUp()
}

/** The clients take turns, so that whatever slows the machine for a while slows them alike. */
async function measure (benchCase) {
  const rounds = []
  const count = Math.min(benchCase.rounds ?? Infinity, settings.rounds)
  const isMemory = benchCase.kind === 'memory'
  let clients = {}
  for (let i = 0; i < count; i++) {
    if (!isMemory && (i === 0 || benchCase.isRenewed)) {
      await endAll(clients)
      clients = await startClients(benchCase)
    }
    const round = {}
    const names = clientsOf(benchCase)
    for (const name of i % 2 ? names.toReversed() : names) {
      progress(`${benchCase.name}: round ${i + 1} of ${count}, ${name}`)
      round[name] = await (isMemory ? measureMemory(name, benchCase) : clients[name].ask({ ms: settings.seconds * 1000 }))
    }
    rounds.push(round)
  }
  await endAll(clients)
  progress('')
  return rounds
}

/** Each in a process that lives for the whole case, or for a round of it, warmed up one after the other. */
async function startClients (benchCase) {
  const clients = {}
  for (const client of clientsOf(benchCase)) {
    progress(`${benchCase.name}: warming up ${client}`)
    clients[client] = startClient({ ...benchCase, client, ...serverOf(benchCase) })
    await clients[client].answer()
  }
  return clients
}

async function measureMemory (client, benchCase) {
  const limit = openFileLimit()
  const connections = Math.min(benchCase.connections, limit - 500)
  if (connections < benchCase.connections) console.error(`${connections} connections only: ${limit} open files`)
  const { ca, port: warmUpPort } = serverOf(benchCase)
  const holder = start('./holder.mjs', [JSON.stringify({ connections, ...ca && asText(identity) })])
  try {
    const [{ port }] = await once(holder, 'message')
    const plan = { client, kind: 'memory', connections, port, warmUpPort, ca }
    const running = startClient(plan, ['--expose-gc'])
    const first = await running.answer()
    if (!first.idle) return first
    holder.send('count')
    const [{ open }] = await once(holder, 'message')
    return await running.ask({ open })
  } finally {
    await end(holder)
  }
}

function serverOf (benchCase) {
  return isSecure(benchCase) ? { port: secureNginx.port, ca: identity.cert.toString() } : { port: nginx.port }
}

/** Node raises its own soft limit to the hard one, so the hard one counts. */
function openFileLimit () {
  const limit = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim()
  return limit === 'unlimited' ? Infinity : Number(limit)
}

/** A client that fails answers `{ error }` from then on: a line in the report, not the end. */
function startClient (plan, execArgv) {
  const child = start('./client.mjs', [JSON.stringify(plan)], execArgv)
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text) => { stderr += text })
  const ended = once(child, 'close').then(([code, signal]) => {
    const reason = /^\w*Error.*$/m.exec(stderr)?.[0] ?? stderr.trim().split('\n')[0]
    return { error: signal ? `ended by ${signal}` : reason || `ended with code ${code}` }
  })
  const answer = async () => {
    const limit = setTimeout(() => child.kill('SIGKILL'), (settings.seconds * 2 + 60) * 1000)
    const result = await Promise.race([once(child, 'message').then(([message]) => message), ended])
    clearTimeout(limit)
    return result
  }
  const ask = (message) => {
    if (child.connected) child.send(message)
    return answer()
  }
  return { child, answer, ask }
}

function start (file, args, execArgv = []) {
  const child = fork(new URL(file, import.meta.url), args, { execArgv, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

async function endAll (clients) {
  await Promise.all(Object.values(clients).map(({ child }) => end(child)))
}

async function end (child) {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill()
  await once(child, 'exit')
}

async function cleanUp () {
  await Promise.all([...children].map(end))
  await nginx.stop()
  await secureNginx?.stop()
}

function progress (text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

function settingsOf () {
  const { values, stop } = readArguments(USAGE, {
    only: { type: 'string', multiple: true },
    seconds: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '12' },
    json: { type: 'boolean', default: false }
  })
  const [seconds, rounds] = [Number(values.seconds), Number(values.rounds)]
  if (!(seconds > 0)) stop(`--seconds must be a number above 0, not ${values.seconds}`)
  if (!(Number.isInteger(rounds) && rounds > 0)) stop(`--rounds must be a whole number above 0, not ${values.rounds}`)
  const unknown = values.only?.find((name) => !CASES.some((benchCase) => benchCase.name === name))
  if (unknown !== undefined) stop(`no case is called ${unknown}`)
  const cases = CASES.filter(({ name }) => values.only?.includes(name) ?? true)
  return { seconds, rounds, json: values.json, cases }
}

// Runs one scenario of the catalogue with one client, and holds the outcome against what is expected.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { forget } from './network.mjs'

const { scenarios } = JSON.parse(readFileSync(new URL('../fixtures/catalogue.json', import.meta.url), 'utf8'))

export const SCENARIOS = scenarios

/** No scenario takes so long; one that does has failed. */
const LIMIT = 120_000

/**
 * Resolves with `{ requests, failures, codes, evidence, replays, lateReplays, twice, handshakes }`, or with `{ error }`. With
 * an `identity` (`{ key, cert }`) all of it runs over TLS.
 */
export async function runScenario (name, client, { seed, identity }) {
  const { server, plan, expect } = scenarios[name]
  const served = start('./server.mjs', [server, JSON.stringify(identity ?? null)])
  let user
  const limit = setTimeout(() => { for (const child of [served, user]) child?.kill('SIGKILL') }, LIMIT)
  try {
    const { port } = await message(served)
    const after = expect.replays?.after
    user = start('./client.mjs', [JSON.stringify({ client, port, plan, after, seed, ca: identity?.cert })])
    let told = await message(user)
    if (told.between) {
      await happen(told.between, { served, user, port })
      user.send({ go: true })
      told = await message(user)
    }
    const executed = await ask(served, 'executed')
    return { ...told, twice: executed.filter((times) => times > 1).length }
  } catch (error) {
    return { error: error.message }
  } finally {
    clearTimeout(limit)
    for (const child of [user, served]) child?.kill('SIGKILL')
  }
}

/** What is wrong with an outcome; nothing if it is as expected. */
export function judge ({ plan, expect: plainly }, outcome, isSecure) {
  const expect = { ...plainly, ...isSecure && plainly.tls }
  if (outcome.error) return [outcome.error]
  const { requests, failures, twice, replays, lateReplays, codes, evidence } = outcome
  const wrong = []
  const { failures: allowed, replays: most } = expect
  const limit = { all: requests, 'second wave': plan.connections }[allowed] ?? (allowed.share * requests || allowed)
  const exact = typeof allowed === 'string'
  if (exact ? failures !== limit : failures > limit) wrong.push(`${failures} failures, ${exact ? '' : 'at most '}${limit} expected`)
  if (codes.HUNG) wrong.push(`${codes.HUNG} requests never ended`)
  if (codes.WRONG_ANSWER) wrong.push(`${codes.WRONG_ANSWER} wrong answers`)
  if (twice > 0) wrong.push(`${twice} requests executed twice`)
  if (most?.share !== undefined) {
    if (lateReplays > most.share * (requests - most.after)) wrong.push(`${lateReplays} replays after the first ${most.after} requests`)
  } else if (most !== undefined && replays > most) wrong.push(`${replays} replays, at most ${most} expected`)
  const unproved = Object.entries(evidence).filter(([word]) => expect.evidence && !expect.evidence.includes(word))
  for (const [word, count] of unproved) wrong.push(`${count} failures with the evidence ${word}`)
  return wrong
}

async function happen (between, { served, user, port }) {
  if (between.restart) return ask(served, 'restart')
  if (between.down) return ask(served, 'down')
  if (between.stop) {
    user.kill('SIGSTOP')
    await sleep(between.stop)
    return user.kill('SIGCONT')
  }
  return forget({ port, clients: await ask(served, 'ports'), way: between.reset ? 'reset' : 'drop' })
}

async function ask (child, what) {
  child.send({ ask: what })
  return (await message(child)).answer
}

async function message (child) {
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`a process ended with ${signal ?? code}${child.told ? `: ${child.told.trim().split('\n').slice(0, 6).join(' ')}` : ''}`)
  })
  ended.catch(() => {})
  return Promise.race([once(child, 'message').then(([told]) => told), ended])
}

function start (file, args) {
  const child = fork(new URL(file, import.meta.url), args, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
  child.told = ''
  child.stderr.on('data', (chunk) => { child.told += chunk })
  return child
}

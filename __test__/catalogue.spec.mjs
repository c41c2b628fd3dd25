// Every scenario of fixtures/catalogue.json, as `npm run lab` runs it, with what is expected beside it.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { whyNoNetwork } from '../lab/network.mjs'
import { SUBJECTS } from '../lab/clients.mjs'
import { SCENARIOS } from '../lab/scenario.mjs'

const LAB = fileURLToPath(new URL('../lab/index.mjs', import.meta.url))
const noNetwork = await whyNoNetwork()

for (const [name, { network, expect }] of Object.entries(SCENARIOS)) {
  const skip = network && noNetwork ? `no network namespace with nftables here: ${noNetwork}` : false
  for (const tls of [[], ['--tls']]) run(`${name}${tls.length ? '_over_tls' : ''}`, skip, ['--only', name, ...tls], Object.values(expect))
}

async function wrongs (what) {
  const options = [...what, ...SUBJECTS.flatMap((client) => ['--client', client]), '--json']
  const { stdout } = await promisify(execFile)(process.execPath, [LAB, ...options]).catch((error) => error)
  const { results } = JSON.parse(stdout)
  assert.equal(results.length, SUBJECTS.length)
  return results.filter(({ wrong }) => wrong.length > 0)
}

// A share is a statistic, which a busy machine can miss: it has to be missed three times. Nothing else is let pass once.
const isMissedShare = ({ wrong }) => wrong.every((line) => /failures, at most|replays after/.test(line))

function run (name, skip, what, expected) {
  const times = expected.some(({ share }) => share !== undefined) ? 3 : 1
  test(name, { skip, timeout: times * 120_000 }, async (t) => {
    for (let left = times; left > 0; left--) {
      const failed = await wrongs(what)
      if (failed.length === 0) return
      if (left === 1 || !failed.every(isMissedShare)) assert.fail(JSON.stringify(failed, null, 2))
      t.diagnostic(`missed a share, and runs again: ${JSON.stringify(failed)}`)
    }
  })
}

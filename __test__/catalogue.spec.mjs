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

for (const [name, { network }] of Object.entries(SCENARIOS)) {
  const skip = network && noNetwork ? `no network namespace with nftables here: ${noNetwork}` : false
  for (const tls of [[], ['--tls']]) run(`${name}${tls.length ? '_over_tls' : ''}`, skip, ['--only', name, ...tls])
}

function run (name, skip, what) {
  test(name, { skip, timeout: 120_000 }, async () => {
    const options = [...what, ...SUBJECTS.flatMap((client) => ['--client', client]), '--json']
    const { stdout } = await promisify(execFile)(process.execPath, [LAB, ...options]).catch((error) => error)
    const { results } = JSON.parse(stdout)
    assert.equal(results.length, SUBJECTS.length)
    for (const outcome of results) assert.deepEqual(outcome.wrong, [], JSON.stringify(outcome))
  })
}

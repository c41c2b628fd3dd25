// npm run fuzz -- --seconds n: so long in all for the parser of hints, the replay decision and the options of an agent.
//
// The Rust targets are built for libFuzzer by the stable compiler: `cargo fuzz` would want a nightly one.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { setup } from './setup.mjs'
import { ask, ROOT, run, runAsScript } from './support/run.mjs'

const TARGETS = ['hint', 'retry']

// What cargo-fuzz passes, less the address sanitizer, which is nightly's: there is no unsafe code in what is fuzzed.
const COVERAGE = ['-Cpasses=sancov-module', '-Cllvm-args=-sanitizer-coverage-level=4',
  '-Cllvm-args=-sanitizer-coverage-inline-8bit-counters', '-Cllvm-args=-sanitizer-coverage-pc-table',
  '-Cllvm-args=-sanitizer-coverage-trace-compares', '-Ccodegen-units=1']

await runAsScript(import.meta.url, async (args) => {
  const { values } = parseArgs({ args, options: { seconds: { type: 'string', default: '60' } } })
  const seconds = Number(values.seconds)
  if (!(seconds >= 3)) {
    console.error(`fuzz: --seconds must be a number of at least 3, not ${values.seconds}`)
    return false
  }
  await setup()
  const each = Math.floor(seconds / (TARGETS.length + 1))
  // The target is named so that the flags are not for build scripts.
  const triple = /^host: (.*)$/m.exec(ask('rustc', ['-vV']).stdout)[1]
  const target = join(ROOT, 'target', 'fuzz')
  const build = ['build', '--locked', '--release', '--manifest-path', 'fuzz/Cargo.toml', '--target', triple]
  let passed = await run('cargo', build, { env: { CARGO_TARGET_DIR: target, RUSTFLAGS: COVERAGE.join(' ') } })
  for (const name of passed ? TARGETS : []) {
    // What is found goes elsewhere: the corpus in the repository grows by hand.
    const found = mkdtempSync(join(tmpdir(), `holdfast-fuzz-${name}-`))
    const options = [`-max_total_time=${each}`, '-max_len=256', '-verbosity=0', '-print_final_stats=1', `-artifact_prefix=${target}/`]
    passed = await run(join(target, triple, 'release', name), [...options, found, join('fuzz', 'corpus', name)]) && passed
    rmSync(found, { recursive: true })
  }
  return await run(process.execPath, ['fuzz/options.mjs', String(each)]) && passed
})

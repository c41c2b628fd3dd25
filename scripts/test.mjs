// npm test: sets up, then runs the tests of the engine and those of the package.
//
// `npm test -- --rust` and `npm test -- --js` run one half. Any other word is a filter: of Rust tests by name; of
// JavaScript suites by file name, and where no file is called so, of tests by name.
import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import process from 'node:process'
import { runtimes } from './runtimes.mjs'
import { setup } from './setup.mjs'
import { ROOT, run, runAsScript } from './support/run.mjs'

const SUITE = '.spec.mjs'

// Without the N-API skin: its symbols exist only inside Node, where the suites in JavaScript test it.
const engine = (words) => run('cargo', ['test', '--no-default-features', '--', ...words])

// Built apart: under this flag the doorbell is made of loom's types.
const doorbell = () => run('cargo', ['test', '--release', '--no-default-features', '--test', 'doorbell'], {
  env: { RUSTFLAGS: '--cfg doorbell_loom', CARGO_TARGET_DIR: join(ROOT, 'target', 'loom') }
})

const rust = async (words) => await engine(words) && (words.length > 0 || await doorbell())

// What a caller sees differs from Node to Node, so these are held against each; the others run on the current one, and
// `lifecycle` starts every Node by itself.
const ON_EVERY_NODE = /^(context|handover|parity|replay|retry|socket|tls|fetch)/

// Written for plain HTTP, and run over TLS once more.
const OVER_TLS = /^retry\.spec/

const javaScript = async (words) => {
  // Named one by one, for Node 20 knows no patterns.
  const suites = readdirSync(join(ROOT, '__test__')).filter((name) => name.endsWith(SUITE))
  const named = suites.filter((suite) => words.some((word) => suite.slice(0, -SUITE.length).includes(word)))
  const patterns = named.length ? [] : words.map((word) => `--test-name-pattern=${word}`)
  const files = (named.length ? named : suites).map((suite) => join('__test__', suite))
  // One at a time: some load the machine on purpose, and some hold what they see against Node's own agent.
  const options = ['--test', '--test-concurrency=1', '--test-reporter=spec', ...patterns]
  let passed = await run(process.execPath, [...options, ...files])
  const overTls = files.filter((file) => OVER_TLS.test(basename(file)))
  if (overTls.length > 0) {
    console.log('test: js over TLS')
    passed = await run(process.execPath, [...options, ...overTls], { env: { HOLDFAST_TLS: '1' } }) && passed
  }
  const everywhere = files.filter((file) => ON_EVERY_NODE.test(basename(file)))
  for (const { version, path } of await runtimes()) {
    if (version === process.version || everywhere.length === 0) continue
    console.log(`test: js on ${version}`)
    passed = await run(path, [...options, ...everywhere]) && passed
  }
  return passed
}

const HALVES = { '--rust': rust, '--js': javaScript }

await runAsScript(import.meta.url, async (args) => {
  const words = args.filter((arg) => !Object.hasOwn(HALVES, arg))
  const chosen = Object.keys(HALVES).filter((half) => args.includes(half))
  const halves = chosen.length ? chosen : Object.keys(HALVES)
  await setup({ runtimes: halves.includes('--js') })
  const failed = []
  for (const half of halves) {
    console.log(`test: ${half.slice(2)}`)
    if (!await HALVES[half](words)) failed.push(half.slice(2))
  }
  if (failed.length) console.error(`test: failed: ${failed.join(', ')}`)
  return failed.length === 0
})

// npm test: sets up, then runs the tests of the engine and those of the package.
//
// `npm test -- --rust` and `npm test -- --js` run one half. Any other word is a filter: of Rust tests by name; of
// JavaScript suites by file name, and where no file is called so, of tests by name.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { setup } from './setup.mjs'
import { ROOT, run, runAsScript } from './support/run.mjs'

const SUITE = '.spec.mjs'

// Without the N-API skin: its symbols exist only inside Node, where the suites in JavaScript test it.
const rust = (words) => run('cargo', ['test', '--no-default-features', '--', ...words])

const javaScript = (words) => {
  // Named one by one, for Node 20 knows no patterns.
  const suites = readdirSync(join(ROOT, '__test__')).filter((name) => name.endsWith(SUITE))
  const named = suites.filter((suite) => words.some((word) => suite.slice(0, -SUITE.length).includes(word)))
  const patterns = named.length ? [] : words.map((word) => `--test-name-pattern=${word}`)
  const files = (named.length ? named : suites).map((suite) => join('__test__', suite))
  // One at a time: some load the machine on purpose, and some hold what they see against Node's own agent.
  return run(process.execPath, ['--test', '--test-concurrency=1', '--test-reporter=spec', ...patterns, ...files])
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

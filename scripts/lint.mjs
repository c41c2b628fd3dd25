// npm run lint: every check runs, the failed ones are named at the end.
import process from 'node:process'
import { setup } from './setup.mjs'
import { ask, npm, run, runAsScript } from './support/run.mjs'

const DENY = 'cargo-deny@0.20.2'

const cargo = (...args) => () => run('cargo', args)
/** A tool that npm installed. */
const tool = (path, ...args) => () => run(process.execPath, [`node_modules/${path}`, ...args])

const warningsDenied = ['--', '-D', 'warnings']
const engineAlone = '--no-default-features'

const installDeny = () => {
  if (ask('cargo', ['deny', '--version']).ok) return true
  console.log(`lint: cargo-deny is missing: building ${DENY}, which takes a few minutes`)
  // Unoptimised it is built in half the time, and quick enough for the few crates here.
  return run('cargo', ['install', '--locked', '--debug', '--quiet', DENY], { env: { CARGO_PROFILE_DEV_DEBUG: '0' } })
}

const deny = async () => {
  if (!await installDeny()) return false
  const known = await run('cargo', ['deny', 'check', 'licenses', 'bans', 'sources'])
  const { ok, stdout, stderr } = ask('cargo', ['deny', 'check', 'advisories'])
  const unreachable = stderr.match(/failed to fetch advisory database.*|unable to access .*/g)
  if (ok || unreachable === null) {
    console.log(stdout + stderr)
    return known && ok
  }
  console.log(`lint: advisories were not checked: ${unreachable.at(-1)}`)
  return known
}

const CHECKS = {
  'cargo fmt': cargo('fmt', '--check'),
  'cargo check of the engine alone': cargo('check', engineAlone),
  'cargo clippy': cargo('clippy', '--all-targets', ...warningsDenied),
  'cargo clippy of the engine alone': cargo('clippy', '--all-targets', engineAlone, ...warningsDenied),
  'cargo deny': deny,
  eslint: tool('eslint/bin/eslint.js', '--max-warnings', '0', '.'),
  'tsc of lib': tool('typescript/bin/tsc', '--project', 'tsconfig.json', '--pretty', 'false'),
  'npm audit': () => npm(['audit', '--omit=dev']),
}

await runAsScript(import.meta.url, async () => {
  await setup()
  const failed = []
  for (const [name, check] of Object.entries(CHECKS)) {
    console.log(`lint: ${name}`)
    const passed = await check()
    console.log(`lint: ${name}: ${passed ? 'ok' : 'FAILED'}`)
    if (!passed) failed.push(name)
  }
  console.log(failed.length ? `lint: failed: ${failed.join(', ')}` : 'lint: all ok')
  return failed.length === 0
})

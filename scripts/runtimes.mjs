// The Nodes that the tests run on: this one, and on Linux x64 those of __test__/runtimes, which `npm test` installs.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { PLATFORM } from './support/platform.mjs'
import { ROOT, ask, runAsScript } from './support/run.mjs'

const FOLDER = join(ROOT, '__test__', 'runtimes')
const SETUP = 'node scripts/setup.mjs --runtimes'

const others = () => {
  const { dependencies } = JSON.parse(readFileSync(join(FOLDER, 'package.json'), 'utf8'))
  return Object.keys(dependencies).map((name) => join(FOLDER, 'node_modules', name, 'bin', 'node'))
}

/** Resolves with `[{ version, path }]`, this Node first, each version once. */
export const runtimes = async () => {
  const found = [{ version: process.version, path: process.execPath }]
  if (PLATFORM !== 'linux-x64-gnu') {
    console.error(`# only ${process.version}: the other Nodes come as packages for linux-x64-gnu, and this is ${PLATFORM}`)
    return found
  }
  for (const path of others()) {
    if (!existsSync(path)) throw new Error(`${path} is missing: ${SETUP}`)
    const { ok, stdout, stderr } = ask(path, ['--version'])
    if (!ok) throw new Error(`${path} does not run: ${stderr}`)
    const version = stdout.trim()
    if (found.every((one) => one.version !== version)) found.push({ version, path })
  }
  return found
}

await runAsScript(import.meta.url, async () => console.table(await runtimes()))

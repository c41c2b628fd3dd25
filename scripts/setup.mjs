// Installs and builds what is missing or stale; silent when nothing is. It runs before there is any node_modules, so it
// uses nothing but Node.
import { existsSync, readFileSync, readdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { PLATFORM, addonOf } from './support/platform.mjs'
import { Refusal, ROOT, ask, npm, runAsScript } from './support/run.mjs'

const OLDEST_NODE = 20
const SOURCES = ['src', 'Cargo.toml', 'Cargo.lock', 'build.rs']
const RUNTIMES = join(ROOT, '__test__', 'runtimes')

const packagesOf = (file) => JSON.parse(readFileSync(file, 'utf8')).packages

/** Whether node_modules holds what the lock file asks for; npm writes down there what it has installed. */
const isInstalled = (folder) => {
  const list = join(folder, 'node_modules', '.package-lock.json')
  if (!existsSync(list)) return false
  const installed = packagesOf(list)
  return Object.entries(packagesOf(join(folder, 'package-lock.json'))).every(([path, { version, integrity, ...wanted }]) =>
    path === '' || wanted.optional || wanted.devOptional ||
    (installed[path]?.version === version && installed[path].integrity === integrity))
}

const install = async (folder, what) => {
  if (isInstalled(folder)) return
  console.log(`setup: installing ${what}`)
  if (!await npm(['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder })) {
    throw new Refusal(`setup: npm could not install ${what}`)
  }
}

const newest = (path) => {
  const entry = statSync(path)
  const inside = entry.isDirectory() ? readdirSync(path).map((name) => newest(join(path, name))) : []
  return Math.max(entry.mtimeMs, ...inside)
}

const versionOf = (text) => text.match(/(\d+)\.(\d+)/)?.slice(1).map(Number)

const requireTools = () => {
  const manifest = readFileSync(join(ROOT, 'Cargo.toml'), 'utf8')
  const oldest = manifest.match(/^rust-version = "([\d.]+)"/m)[1]
  const missing = []
  const [major, minor] = versionOf(oldest)
  for (const tool of ['cargo', 'rustc']) {
    const { ok, stdout } = ask(tool, ['--version'])
    const [has, hasMinor] = versionOf(stdout) ?? []
    if (ok && (has > major || (has === major && hasMinor >= minor))) continue
    missing.push(`${tool} ${oldest} or newer${ok ? ` (this is ${stdout.trim()})` : ''}: install Rust stable, see https://rustup.rs`)
  }
  // Rust's linker; on Windows rustup asks for Visual Studio's itself.
  if (process.platform !== 'win32' && !ask('cc', ['--version']).ok) {
    const how = process.platform === 'darwin' ? 'xcode-select --install' : 'apt-get install build-essential, or your system\'s like'
    missing.push(`cc, a C toolchain: ${how}`)
  }
  // What OpenSSL is configured and built with.
  for (const [tool, args] of [['perl', ['-MFindBin', '-MIPC::Cmd', '-e1']], ['make', ['--version']]]) {
    if (process.platform !== 'win32' && !ask(tool, args).ok) missing.push(`${tool}, to build OpenSSL: apt-get install ${tool}, or your system's like`)
  }
  if (missing.length) throw new Refusal(['setup: to build holdfast this machine lacks', ...missing].join('\n  - '))
}

const build = async () => {
  const addon = join(ROOT, addonOf(PLATFORM))
  const changed = Math.max(...SOURCES.map((name) => newest(join(ROOT, name))))
  const isFresh = existsSync(addon) && existsSync(join(ROOT, 'native.js')) && statSync(addon).mtimeMs >= changed
  if (isFresh) return
  requireTools()
  console.log('setup: building the addon (the first time takes a few minutes)')
  if (!await npm(['run', '--silent', 'build'])) throw new Refusal('setup: the build failed')
  // cargo leaves a file alone that would not change.
  utimesSync(addon, new Date(), new Date())
}

/** `runtimes`: also the other Nodes that the tests run on. */
export const setup = async ({ runtimes = false } = {}) => {
  if (versionOf(process.version)[0] < OLDEST_NODE) {
    throw new Refusal(`setup: this is Node ${process.version}; holdfast needs Node ${OLDEST_NODE} or newer, see https://nodejs.org`)
  }
  await install(ROOT, 'npm packages')
  await build()
  if (runtimes && PLATFORM === 'linux-x64-gnu') await install(RUNTIMES, 'the other Nodes to test on')
}

await runAsScript(import.meta.url, (args) => setup({ runtimes: args.includes('--runtimes') }))

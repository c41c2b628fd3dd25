// Runs the tools that the scripts are made of, from the project's folder.
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, realpathSync } from 'node:fs'
import { basename, delimiter, dirname, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

const started = (command, args, { cwd = ROOT, env = {}, ...options }) =>
  [command, args, { cwd, env: { ...process.env, ...env }, ...options }]

/** Resolves with whether the command succeeded; what it prints is seen at once. */
export const run = (command, args, options = {}) => new Promise((resolve) => {
  const child = spawn(...started(command, args, { stdio: ['ignore', 'inherit', 'inherit'], ...options }))
  child.on('error', ({ message }) => {
    console.error(message)
    resolve(false)
  })
  child.on('close', (code) => resolve(code === 0))
})

/** `{ ok, stdout, stderr }` of a short command; `ok` is false where there is no such command. */
export const ask = (command, args, options = {}) => {
  const { status, stdout, stderr } = spawnSync(...started(command, args, { encoding: 'utf8', maxBuffer: 2 ** 26, ...options }))
  return { ok: status === 0, stdout: stdout ?? '', stderr: stderr ?? '' }
}

const inPath = (name) => {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      return realpathSync(path)
    } catch {
      // Not in this one.
    }
  }
}

/** npm's own program: run by this Node it needs no shell, not even on Windows. */
export const npmCli = () => {
  const isNpm = (path) => path !== undefined && basename(path) === 'npm-cli.js'
  const { npm_execpath: running } = process.env
  if (isNpm(running)) return running
  const found = inPath('npm')
  if (isNpm(found)) return found
  const beside = process.platform === 'win32' ? '.' : join('..', 'lib')
  return join(dirname(process.execPath), beside, 'node_modules', 'npm', 'bin', 'npm-cli.js')
}

export const npm = (args, options) => run(process.execPath, [npmCli(), ...args], options)

/** A failure that a message explains; its stack would not. */
export class Refusal extends Error {}

/** Runs a script's main function, unless its module was imported by another. */
export const runAsScript = async (url, main) => {
  if (realpathSync(process.argv[1] ?? '.') !== fileURLToPath(url)) return
  try {
    if (await main(process.argv.slice(2)) === false) process.exitCode = 1
  } catch (error) {
    console.error(error instanceof Refusal ? error.message : error)
    process.exitCode = 1
  }
}

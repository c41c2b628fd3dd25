// A server program on a free port of the loopback, with a folder of its own, ended by its id.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { refusedPort } from './servers.mjs'

const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`

const answers = (port) => new Promise((resolve) => {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('connect', () => { socket.destroy(); resolve(true) })
  socket.on('error', () => resolve(false))
})

// A port is free until its program has it: those that start at the same time must not be given the same one.
const given = new Set()
const ownPort = async () => {
  let port = await refusedPort()
  while (given.has(port)) port = await refusedPort()
  given.add(port)
  return port
}

/**
 * Writes `files({ folder, port })`, runs `command` with `args({ folder, port })`, and resolves when it answers, with
 * `{ port, folder, stop }`. `from` is the package that has the program, `env` what its environment has more.
 */
export const startDaemon = async ({ command, args, files = () => ({}), from = command, env = {} }) => {
  const folder = await mkdtemp(join(tmpdir(), `holdfast-${command}-`))
  await chmod(folder, 0o755) // started by root, some serve it as nobody
  const port = await ownPort()
  for (const [name, text] of Object.entries(files({ folder, port }))) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), text)
  }
  const child = spawn(command, args({ folder, port }), { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PATH, ...env } })
  const kill = () => child.kill()
  process.once('exit', kill)
  let said = ''
  let failure
  child.stderr.on('data', (chunk) => { said += chunk })
  child.on('error', (error) => { failure = error })
  child.on('exit', (code) => { failure ??= new Error(`${command} ended with ${code}: ${said}`) })
  while (!failure && !await answers(port)) await new Promise((resolve) => setTimeout(resolve, 5))
  if (failure) {
    await rm(folder, { recursive: true })
    if (failure.code === 'ENOENT') throw Object.assign(new Error(`${command} is missing: apt-get install ${from}`), { isMissing: true })
    throw failure
  }
  const stop = async () => {
    process.removeListener('exit', kill)
    if (!failure) {
      const ended = once(child, 'exit')
      child.kill()
      await ended
    }
    await rm(folder, { recursive: true })
  }
  return { port, folder, stop }
}

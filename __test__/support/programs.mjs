// Runs a program of fixtures/ in its own process and tells how it ended.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** A running program: `lines` so far, `line(text)` to wait for one, `ended` for `{ code, signal, lines, errors }`. */
export const run = (name, args = [], { path = process.execPath, flags = [], limit = 60_000 } = {}) => {
  const program = fileURLToPath(new URL(`../fixtures/${name}.mjs`, import.meta.url))
  const child = spawn(path, [...flags, program, ...args.map(String)], { stdio: ['pipe', 'pipe', 'pipe'] })
  const lines = []
  const waiting = []
  let errors = ''
  let late = false
  const timer = setTimeout(() => { late = true; child.kill('SIGKILL') }, limit)
  child.stderr.on('data', (chunk) => { errors += chunk })
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    for (const one of waiting) if (one.text === line) one.resolve()
  })
  const ended = new Promise((resolve) => child.on('close', (code, signal) => {
    clearTimeout(timer)
    resolve({ code, signal: late ? `hung for ${limit} ms` : signal, lines, errors })
    for (const one of waiting) one.resolve()
  }))
  const line = (text) => lines.includes(text)
    ? Promise.resolve()
    : new Promise((resolve) => waiting.push({ text, resolve }))
  return { child, lines, line, ended }
}

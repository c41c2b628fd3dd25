// The hand-written types, seen by programs of each kind: TypeScript's own verdict, nothing is run.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import process from 'node:process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
const cwd = fileURLToPath(new URL('./fixtures/types/', import.meta.url))

const FLAGS = ['--ignoreConfig', '--noEmit', '--strict', '--target', 'es2022', '--types', 'node', '--pretty', 'false']
const NODENEXT = ['--module', 'nodenext']
// Without the resolution of `nodenext` only this one knows a package by its own name.
const COMMONJS = ['--module', 'commonjs', '--moduleResolution', 'bundler', '--esModuleInterop', '--skipLibCheck']

const verdict = (flags, files) => new Promise((resolve) => {
  execFile(process.execPath, [tsc, ...FLAGS, ...flags, ...files], { cwd }, (error, stdout) => {
    resolve(error ? stdout || error.message : 'accepted')
  })
})

const accepts = (name, flags, ...files) => test(name, async () => assert.equal(await verdict(flags, files), 'accepted'))

// `refused.mts` is accepted if every wrong line in it is refused, so one compilation proves both.
accepts('types_fit_every_kind_of_program_under_nodenext', NODENEXT,
  'required.cts', 'defaulted.cts', 'imported.mts', 'refused.mts')
accepts('types_fit_require_and_default_import_under_commonjs', COMMONJS, 'required.cts', 'defaulted.cts')

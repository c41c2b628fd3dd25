// What users get: both packages made, installed where there is no Rust and no registry, and used by programs of each kind.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { pack } from '../scripts/pack.mjs'
import { PLATFORM, addonOf } from '../scripts/support/platform.mjs'
import { ROOT, ask, npmCli } from '../scripts/support/run.mjs'
import { isHoldfast } from './support/agents.mjs'
import { httpServer } from './support/servers.mjs'

const FIXTURES = fileURLToPath(new URL('./fixtures/package/', import.meta.url))
const TSC = createRequire(import.meta.url).resolve('typescript/bin/tsc')
const limits = { timeout: 60_000, skip: !isHoldfast && 'another agent is under test' }

const PUBLIC = ['index.d.mts', 'index.d.ts', 'index.js', 'index.mjs', 'native.d.ts', 'native.js', 'package.json']
const ABOUT = ['CHANGELOG.md', 'LICENSE', 'README.md', 'docs/architecture.md', 'docs/migrating.md']

/** What a tarball holds, without npm's leading `package/`. */
const contentsOf = (tarball) => {
  const { ok, stdout, stderr } = ask('tar', ['--list', '--gzip', '--file', tarball])
  assert.ok(ok, stderr)
  return stdout.trim().split(/\r?\n/).map((path) => path.replace(/^package\//, ''))
}

const manifestOf = async (folder) => JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))

describe('package', limits, () => {
  let folder, project, environment, packed, server

  const node = (args) => new Promise((resolve, reject) => {
    execFile(process.execPath, args, { cwd: project, env: environment }, (error, stdout, stderr) =>
      error ? reject(new Error(`node ${args.join(' ')}\n${stdout}${stderr}`)) : resolve(stdout.trim()))
  })

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-package-'))
    project = join(folder, 'project')
    server = await httpServer((req, res) => res.end('x'), { keepAliveTimeout: 0, listen: { port: 0, host: 'localhost' } })
    packed = pack(join(folder, 'tarballs'))
    await mkdir(project)
    await writeFile(join(project, 'package.json'), '{ "private": true }')
    for (const program of await readdir(FIXTURES)) await copyFile(join(FIXTURES, program), join(project, program))
    // A path with this Node and nothing else; and no cache that could help.
    const bin = join(folder, 'bin')
    await mkdir(bin)
    await symlink(process.execPath, join(bin, 'node'))
    environment = { PATH: bin, HOME: folder, npm_config_cache: join(folder, 'cache') }
    for (const name of ['SystemRoot', 'TEMP']) if (process.env[name]) environment[name] = process.env[name]
    await node([npmCli(), 'install', '--offline', '--no-audit', '--no-fund', '--no-update-notifier', packed.main, packed.platform])
  }, limits)

  after(async () => {
    await server?.stop()
    if (folder) await rm(folder, { recursive: true })
  })

  /** One connection for all three requests of a program. */
  const assertUses = async (args) => {
    const before = server.accepted.length
    assert.equal(await node([...args, server.port]), 'true true 1')
    assert.equal(server.accepted.length - before, 1)
  }

  test('package_installed_without_rust_runs_a_commonjs_program', limits, () => assertUses(['program.cjs']))

  test('package_installed_without_rust_runs_an_es_module', limits, () => assertUses(['program.mjs']))

  test('package_installed_without_rust_compiles_and_runs_a_typescript_program', limits, async () => {
    await node([TSC, '--strict', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2023', '--skipLibCheck', 'false',
      '--types', 'node', '--typeRoots', join(ROOT, 'node_modules', '@types'), 'typed.mts'])
    await assertUses(['typed.mjs'])
  })

  test('package_install_adds_the_two_packages_and_no_other', limits, async () => {
    const installed = (await readdir(join(project, 'node_modules'))).filter((name) => !name.startsWith('.'))
    assert.deepEqual(installed.sort(), ['holdfast', `holdfast-${PLATFORM}`])
  })

  test('package_main_holds_the_public_face_lib_and_docs_alone', limits, async () => {
    const found = await readdir(join(ROOT, 'lib'), { recursive: true })
    const lib = found.filter((name) => name.endsWith('.js')).map((name) => `lib/${name}`)
    assert.deepEqual(contentsOf(packed.main).sort(), [...PUBLIC, ...ABOUT, ...lib].sort())
  })

  test('package_of_this_platform_holds_the_addon_alone', limits, () => {
    assert.deepEqual(contentsOf(packed.platform).sort(), ['LICENSE', 'README.md', addonOf(PLATFORM), 'package.json'].sort())
  })

  test('package_main_names_every_platform_in_its_own_version', limits, async () => {
    const { version, optionalDependencies, scripts, devDependencies } = await manifestOf(join(project, 'node_modules', 'holdfast'))
    const platforms = await readdir(join(ROOT, 'npm'))
    assert.deepEqual(Object.keys(optionalDependencies).sort(), platforms.map((platform) => `holdfast-${platform}`).sort())
    for (const platform of platforms) {
      const { name, version: own, main } = await manifestOf(join(ROOT, 'npm', platform))
      assert.deepEqual([name, own, main], [`holdfast-${platform}`, version, addonOf(platform)])
      assert.equal(optionalDependencies[name], version)
    }
    assert.deepEqual([scripts, devDependencies], [undefined, undefined])
    const { napi } = await manifestOf(ROOT)
    assert.equal(platforms.length, napi.targets.length)
  })

  for (const name of ['holdfast', `holdfast-${PLATFORM}`]) {
    test(`package_${name}_is_clean_to_publint`, limits, async () => {
      const pkgDir = join(project, 'node_modules', name)
      const { messages } = await publint({ pkgDir, strict: true, level: 'suggestion', pack: false })
      const manifest = await manifestOf(pkgDir)
      assert.deepEqual(messages.map((message) => formatMessage(message, manifest)), [])
    })
  }
})

test('addon_that_is_missing_is_told_with_what_to_do', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-'))
  try {
    await mkdir(join(folder, 'lib'))
    await copyFile(join(ROOT, 'lib', 'addon.js'), join(folder, 'lib', 'addon.js'))
    await copyFile(join(ROOT, 'native.js'), join(folder, 'native.js'))
    assert.throws(() => createRequire(join(folder, 'x.js'))('./lib/addon.js'), (error) => {
      assert.match(error.message, new RegExp(`no binary for ${process.platform}-${process.arch}.*optional`))
      return error.cause instanceof Error
    })
  } finally {
    await rm(folder, { recursive: true })
  }
})

const addon = join(ROOT, addonOf(PLATFORM))
const unreadable = process.platform !== 'linux'
  ? 'the addon is an ELF file on Linux alone'
  : !ask('readelf', ['--version']).ok && 'readelf is missing: apt-get install binutils'

// A worker that ends must not unmap code whose threads and hooks still run.
test('addon_stays_loaded_when_its_last_environment_ends', { skip: unreadable }, () => {
  const { stdout } = ask('readelf', ['--dynamic', '--wide', addon])
  assert.match(stdout, /\(FLAGS_1\).*\bNODELETE\b/)
})

test('addon_exports_the_entry_of_node_api_alone', { skip: unreadable }, () => {
  const { stdout } = ask('readelf', ['--dyn-syms', '--wide', addon])
  const symbols = stdout.split('\n').map((line) => line.trim().split(/\s+/)).filter(([number]) => /^\d+:$/.test(number))
  const exported = symbols.filter(([,,,, binding,, section]) => binding !== 'LOCAL' && section !== 'UND').map((symbol) => symbol[7])
  assert.ok(exported.includes('napi_register_module_v1'))
  assert.deepEqual(exported.filter((name) => !name.startsWith('napi_')), [])
})

// Node exports the OpenSSL that it has; this one's must never be mixed with it.
test('addon_takes_nothing_of_openssl_from_its_host', { skip: unreadable }, () => {
  const { stdout } = ask('readelf', ['--dyn-syms', '--wide', addon])
  assert.doesNotMatch(stdout, /\b(SSL|EVP|X509|BIO|CRYPTO|OPENSSL|ERR)_\w+/)
})

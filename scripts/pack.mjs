// Makes the tarballs that are published: `node scripts/pack.mjs [folder]`.
//
// The main package names the platforms' packages only here, in a copy: in the repository's own package.json, `npm ci`
// would ask for packages that are published after it.
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { PLATFORM, addonOf } from './support/platform.mjs'
import { Refusal, ROOT, ask, npmCli, runAsScript } from './support/run.mjs'

const ALWAYS = ['README.md', 'LICENSE']
const NPM = join(ROOT, 'npm')

const manifestOf = (folder) => JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))

const tarball = (stage, folder) => {
  const { ok, stdout, stderr } = ask(process.execPath, [npmCli(), 'pack', '--json', '--pack-destination', folder], { cwd: stage })
  if (!ok) throw new Refusal(`pack: npm pack failed\n${stderr}`)
  return join(folder, JSON.parse(stdout)[0].filename)
}

const packPlatform = (platform, version, stage, folder) => {
  const source = join(NPM, platform)
  const manifest = manifestOf(source)
  if (manifest.version !== version) throw new Refusal(`pack: ${manifest.name} is ${manifest.version}, not ${version}: npx napi version`)
  cpSync(source, stage, { recursive: true })
  copyFileSync(join(ROOT, 'LICENSE'), join(stage, 'LICENSE'))
  copyFileSync(join(ROOT, addonOf(platform)), join(stage, addonOf(platform)))
  return tarball(stage, folder)
}

const packMain = (stage, folder) => {
  const { scripts, devDependencies, napi, ...manifest } = manifestOf(ROOT)
  const names = readdirSync(NPM).map((platform) => manifestOf(join(NPM, platform)).name)
  manifest.optionalDependencies = Object.fromEntries(names.map((name) => [name, manifest.version]))
  mkdirSync(stage)
  writeFileSync(join(stage, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  for (const file of [...ALWAYS, ...manifest.files].filter((name) => existsSync(join(ROOT, name)))) {
    cpSync(join(ROOT, file), join(stage, file), { recursive: true })
  }
  return tarball(stage, folder)
}

/** Packs the main package and each platform whose addon was built; returns where each went. */
export const pack = (folder) => {
  if (!existsSync(join(ROOT, addonOf(PLATFORM)))) throw new Refusal('pack: the addon is not built: npm run setup')
  mkdirSync(folder, { recursive: true })
  const { version } = manifestOf(ROOT)
  const stages = mkdtempSync(join(tmpdir(), 'holdfast-pack-'))
  try {
    const built = readdirSync(NPM).filter((platform) => existsSync(join(ROOT, addonOf(platform))))
    const platforms = Object.fromEntries(built.map((platform) =>
      [platform, packPlatform(platform, version, join(stages, platform), folder)]))
    return { main: packMain(join(stages, 'main'), folder), platform: platforms[PLATFORM], platforms }
  } finally {
    rmSync(stages, { recursive: true })
  }
}

await runAsScript(import.meta.url, ([folder = '.']) => {
  const { main, platforms } = pack(resolve(folder))
  for (const path of [main, ...Object.values(platforms)]) console.log(path)
})

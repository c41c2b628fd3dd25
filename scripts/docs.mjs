// npm run docs: builds the Rust documentation, and follows every relative link of the pages for people.
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { ROOT, run, runAsScript } from './support/run.mjs'

const LINK = /!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\s*\[[^\]]+\]:\s*<?([^\s>]+)/gm
const CODE = /^(```|~~~)[\s\S]*?^\1|`[^`\n]*`/gm

const pages = () => {
  const inDocs = readdirSync(join(ROOT, 'docs'), { recursive: true }).map((name) => join('docs', name))
  return ['README.md', 'CHANGELOG.md', ...inDocs].filter((name) => name.endsWith('.md')).map((name) => join(ROOT, name))
}

/** The ids that GitHub gives to a page's headings. */
const anchorsOf = (page) => {
  const seen = new Map()
  const prose = readFileSync(page, 'utf8').replace(/^(```|~~~)[\s\S]*?^\1/gm, '')
  return new Set([...prose.matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)].map(([, heading]) => {
    const id = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-')
    const count = seen.get(id) ?? 0
    seen.set(id, count + 1)
    return count ? `${id}-${count}` : id
  }))
}

const brokenLinks = (page) => {
  const links = [...readFileSync(page, 'utf8').replace(CODE, '').matchAll(LINK)].map(([, inline, reference]) => inline ?? reference)
  return links.filter((link) => !/^[a-z][a-z+.-]*:/i.test(link)).filter((link) => {
    const [path, anchor] = link.split('#')
    const target = path ? join(dirname(page), decodeURIComponent(path)) : page
    if (!existsSync(target)) return true
    return anchor !== undefined && target.endsWith('.md') && !anchorsOf(target).has(anchor)
  })
}

const checkLinks = () => {
  const missing = ['README.md', 'CHANGELOG.md'].filter((name) => !existsSync(join(ROOT, name)))
  const broken = pages().filter((page) => existsSync(page)).flatMap((page) =>
    brokenLinks(page).map((link) => `${relative(ROOT, page)}: ${link}`))
  for (const name of missing) console.error(`docs: ${name} is missing`)
  for (const link of broken) console.error(`docs: broken link in ${link}`)
  return missing.length + broken.length === 0
}

await runAsScript(import.meta.url, async () => {
  const documented = await run('cargo', ['doc', '--no-deps', '--no-default-features', '--document-private-items'],
    { env: { RUSTDOCFLAGS: '-D warnings' } })
  const linked = checkLinks()
  if (documented && linked) console.log('docs: all ok')
  return documented && linked
})

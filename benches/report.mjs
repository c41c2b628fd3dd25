// Medians, ratios with their spread (from the 10th to the 90th percentile of the rounds), and the table.
import { arch, cpus, release, type } from 'node:os'
import { clientsOf, reaches, SUBJECT } from './cases.mjs'

export function machine () {
  const all = cpus()
  const cpu = all[0]?.model.trim() ?? 'unknown'
  return { cpu, cores: all.length, system: `${type()} ${release()} ${arch()}`, node: process.version }
}

/** `rounds` is an array of `{ node: run, holdfast: run, … }`; ratios are taken within a round, then their median. */
export function evaluate (benchCase, rounds) {
  const clients = {}
  const names = clientsOf(benchCase)
  const [baseline] = names
  for (const client of names) {
    const runs = rounds.map((round) => round[client]).filter((run) => run && !run.error)
    const errors = rounds.map((round) => round[client]?.error).filter(Boolean)
    const pairs = rounds.filter((round) => usable(round[client]) && usable(round[baseline]))
    const ratio = (read) => spread(pairs.map((round) => read(round[client]) / read(round[baseline])))
    clients[client] = {
      value: spread(runs.map(benchCase.read)),
      ratio: ratio(benchCase.read),
      p50: spread(runs.map((run) => run.p50)),
      p99: spread(runs.map((run) => run.p99)),
      p99Ratio: ratio((run) => run.p99),
      cpuPerRequest: spread(runs.map((run) => run.cpuPerRequest)),
      errors
    }
  }
  const { name, title, unit, target, better } = benchCase
  return { name, title, unit, better, baseline, target: target ?? null, clients, verdict: verdict(benchCase, clients[SUBJECT]) }
}

const usable = (run) => run !== undefined && !run.error

function spread (numbers) {
  const sorted = numbers.filter(Number.isFinite).sort((a, b) => a - b)
  if (sorted.length === 0) return undefined
  const middle = sorted.length >> 1
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  const at = (share) => sorted[Math.round((sorted.length - 1) * share)]
  return { median, low: at(0.1), high: at(0.9) }
}

function verdict (benchCase, subject) {
  if (!subject.ratio) return 'not measured'
  const reached = reaches(benchCase, subject.ratio.median)
  if (reached === undefined) return 'no target'
  if (!reached) return 'below target'
  if (benchCase.p99 === 'no worse' && subject.p99Ratio.median > 1) return 'below target: p99 is worse'
  return 'ok'
}

/** Prints one case as soon as it is done. */
export function caseLines (result) {
  const lines = [`\n${result.title}${result.target === null ? '' : ` (target: ${limit(result)} times ${result.baseline}'s)`}`]
  const rows = [['', result.unit, `ratio to ${result.baseline} (10 %..90 %)`, 'p50 ms', 'p99 ms', 'CPU us/req']]
  for (const [client, numbers] of Object.entries(result.clients)) {
    if (!numbers.value) rows.push([client, 'failed', '', '', '', ''])
    else {
      rows.push([
        client,
        whole(numbers.value.median),
        client === result.baseline ? '1' : ratioText(numbers.ratio),
        fixed(numbers.p50?.median), fixed(numbers.p99?.median), whole(numbers.cpuPerRequest?.median)
      ])
    }
  }
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)))
  const fit = (cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])
  for (const row of rows) lines.push(`  ${row.map(fit).join('   ')}`)
  for (const [client, { errors }] of Object.entries(result.clients)) {
    for (const error of new Set(errors)) lines.push(`  ${client}: ${error}`)
  }
  return lines.join('\n')
}

/** The whole run in a few lines: what was asked, what came out. */
export function summaryLines (results) {
  const width = Math.max(...results.map(({ title }) => title.length))
  return results.map((result) => {
    const ratio = result.clients[SUBJECT].ratio
    const target = `target ${limit(result).padEnd(7)}`
    return `  ${[result.title.padEnd(width), target, ratioText(ratio).padStart(20), result.verdict].join('   ')}`
  }).join('\n')
}

const limit = ({ target, better }) => target === null ? '-' : `${better === 'lower' ? '<=' : '>='} ${target.toFixed(2)}`
const ratioText = (ratio) => ratio ? `${two(ratio.median)} (${two(ratio.low)}..${two(ratio.high)})` : '-'
const two = (number) => number.toFixed(2)
const whole = (number) => number === undefined ? '-' : Math.round(number).toLocaleString('en-US')
const fixed = (number) => number === undefined ? '-' : number.toFixed(number < 10 ? 2 : 1)

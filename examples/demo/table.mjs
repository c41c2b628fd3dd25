// Numbers per lane, and the plain-text table of them.
import { SCENARIOS } from './servers.mjs'

/** Joins what the client saw with what the server saw. */
export function summarise (lane, ledger) {
  const failures = lane.outcomes.filter((outcome) => outcome.code)
  const codes = {}
  for (const { code } of failures) codes[code] = (codes[code] ?? 0) + 1
  // The server closed while the POST was on its way: it may have been executed, so nobody may send it again.
  const undecidable = failures.filter(({ method, start, firstPort }) => {
    return method === 'POST' && ledger.closedAt.get(firstPort) > start
  })
  return {
    requests: lane.outcomes.length,
    failures: failures.length,
    undecidable: undecidable.length,
    codes,
    replays: lane.outcomes.reduce((sum, { retries }) => sum + retries, 0),
    opened: ledger.events.filter(({ kind }) => kind === 'open').length,
    twice: [...ledger.executed.values()].filter((count) => count > 1).length
  }
}

const COLUMNS = [
  ['server', (lane) => lane.scenario],
  ['client', (lane) => lane.client],
  ['requests', (lane) => lane.summary.requests],
  ['failures', (lane) => lane.summary.failures],
  ['replays', (lane) => lane.summary.replays],
  ['connections opened', (lane) => lane.summary.opened],
  ['executed twice', (lane) => lane.summary.twice],
  ['errors', (lane) => Object.entries(lane.summary.codes).map(([code, count]) => `${count} ${code}`).join(', ')]
]

/** `color(style, text)` paints or returns the text as it is. */
export function table (lanes, color) {
  const cells = lanes.map((lane) => COLUMNS.map(([, read]) => String(read(lane))))
  const numeric = COLUMNS.map((_, i) => cells.every((row) => /^\d+$/.test(row[i])))
  const widths = COLUMNS.map(([title], i) => Math.max(title.length, ...cells.map((row) => row[i].length)))
  const fit = (text, i) => numeric[i] ? text.padStart(widths[i]) : text.padEnd(widths[i])
  const line = (left, middle, right) => left + widths.map((width) => '─'.repeat(width + 2)).join(middle) + right
  const row = (texts) => `│ ${texts.join(' │ ')} │`

  const rows = []
  let scenario
  for (const [i, lane] of lanes.entries()) {
    if (i > 0 && lane.scenario !== scenario) rows.push(line('├', '┼', '┤'))
    const texts = cells[i].map(fit)
    if (lane.scenario === scenario) texts[0] = ' '.repeat(widths[0])
    texts[3] = color(lane.summary.failures > 0 ? 'red' : 'green', texts[3])
    if (lane.summary.replays > 0) texts[4] = color('yellow', texts[4])
    if (lane.isSubject) texts[1] = color('bold', texts[1])
    scenario = lane.scenario
    rows.push(row(texts))
  }
  return [
    line('┌', '┬', '┐'),
    row(COLUMNS.map(([title], i) => color('bold', fit(title, i)))),
    line('├', '┼', '┤'),
    ...rows,
    line('└', '┴', '┘')
  ].join('\n')
}

/** What each server does, for below the table. */
export function scenarioNotes () {
  const width = Math.max(...SCENARIOS.map(({ name }) => name.length))
  return SCENARIOS.map(({ name, about }) => `  ${name.padEnd(width)}  ${about}`).join('\n')
}

// The picture: one lane per server and client, every request a mark at its time.
import { CONCURRENCY } from './traffic.mjs'
import { SCENARIOS } from './servers.mjs'

const WIDTH = 1280
const LEFT = 216
const RIGHT = 32
const TOP = 132
const MARK = { width: 5, height: 4, pitch: 5 }
const ROWS = CONCURRENCY * MARK.pitch
const STRIP = 26
const LANE = ROWS + STRIP
const LANE_GAP = 10
const HEADING = 34
const BIN_MS = 40

const STYLE = `
  text { font: 12px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; fill: #57606a }
  .page { fill: #ffffff }
  .lane { fill: #f6f8fa }
  .subject-lane { stroke: #afb8c1; stroke-width: 1 }
  .title { font-size: 21px; font-weight: 600; fill: #1f2328 }
  .heading { font-size: 14px; font-weight: 600; fill: #1f2328 }
  .client { font-size: 13px; fill: #1f2328 }
  .subject { font-weight: 700 }
  .small { font-size: 11px }
  .good { fill: #1a7f37; font-weight: 600 }
  .bad { fill: #cf222e; font-weight: 600 }
  .axis { stroke: #d0d7de; stroke-width: 1 }
  .grid { stroke: #d0d7de; stroke-width: 1; stroke-dasharray: 1 4 }
  .blocked { fill: #8250df; fill-opacity: .10 }
  .edge { stroke: #8250df; stroke-opacity: .55; stroke-width: 1 }
  .note { fill: #8250df; font-weight: 600 }
  .reused { fill: #2da44e }
  .fresh { fill: #94d3a2 }
  .replayed { fill: #e3a008 }
  .failed { fill: #cf222e }
  .open { fill: #6e7781 }
  .server { fill: #bc4c00 }
  .own { fill: #afb8c1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 }
    .page { fill: #0d1117 }
    .lane { fill: #161b22 }
    .subject-lane { stroke: #565e67 }
    .title, .heading, .client { fill: #f0f6fc }
    .good { fill: #3fb950 }
    .bad { fill: #ff7b72 }
    .axis, .grid { stroke: #3d444d }
    .blocked { fill: #ab7df8; fill-opacity: .16 }
    .edge { stroke: #ab7df8 }
    .note { fill: #ab7df8 }
    .reused { fill: #2ea043 }
    .fresh { fill: #a2dfb0 }
    .replayed { fill: #f2cc60 }
    .failed { fill: #ff6b63 }
    .open { fill: #9198a1 }
    .server { fill: #f0883e }
    .own { fill: #565e67 }
  }`

/** Draws the finished lanes; all times are those of one clock. */
export function picture (lanes, { startedAt, endedAt, blocked }, subtitle) {
  const span = endedAt - startedAt
  const x = (at) => LEFT + 8 + (at - startedAt) / span * (WIDTH - LEFT - RIGHT - 16)
  const body = []
  let y = TOP
  for (const scenario of SCENARIOS) {
    body.push(text(24, y + 12, 'heading', scenario.name), text(LEFT, y + 12, 'about', scenario.about))
    y += HEADING - 10
    for (const lane of lanes.filter((candidate) => candidate.scenario === scenario.name)) {
      body.push(drawLane(lane, y, x))
      y += LANE + LANE_GAP
    }
    y += 18
  }
  const bottom = y - 18
  const height = bottom + 56
  const size = `viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">
<title>The same requests through three agents</title>
<style>${STYLE}
</style>
<rect class="page" width="${WIDTH}" height="${height}"/>
${text(24, 40, 'title', 'The same requests, the same moments, three agents')}
${text(24, 62, 'about', subtitle)}
${legend(24, 90)}
${body.join('\n')}
${blocked.map((pause) => drawBlocked(pause, x, bottom)).join('\n')}
${drawAxis(span, startedAt, x, bottom)}
</svg>
`
}

function drawLane (lane, y, x) {
  const { summary } = lane
  const verdict = text(24, y + 36, summary.failures ? 'bad' : 'good', `${summary.failures} failed`)
  const facts = `${summary.requests} requests${summary.replays ? `, ${plural(summary.replays, 'replay')}` : ''}`
  return [
    '<g>',
    rect(lane.isSubject ? 'lane subject-lane' : 'lane', LEFT, y, WIDTH - LEFT - RIGHT, LANE),
    text(24, y + 18, lane.isSubject ? 'client subject' : 'client', lane.client),
    verdict,
    text(24, y + 52, 'small', facts),
    text(24, y + 66, 'small', `${plural(summary.opened, 'connection')} opened`),
    ...drawRequests(lane.outcomes, y, x),
    ...drawConnections(lane.events, y + ROWS, x),
    '</g>'
  ].join('\n')
}

/** Answers come within a millisecond, less than a mark's width: marks of one slot stand side by side in their order. */
function drawRequests (outcomes, y, x) {
  const free = new Array(CONCURRENCY).fill(0)
  return outcomes.toSorted((a, b) => a.start - b.start).map((outcome) => {
    const left = Math.max(x(outcome.start), free[outcome.slot])
    free[outcome.slot] = left + MARK.width + 1
    const top = y + 4 + outcome.slot * MARK.pitch
    return rect(kindOf(outcome), left, top, MARK.width, MARK.height, `${outcome.method} ${outcome.code ?? 'ok'}`)
  })
}

function kindOf ({ code, retries, reused }) {
  if (code) return 'failed'
  if (retries) return 'replayed'
  return reused ? 'reused' : 'fresh'
}

/** Opened connections stand above the lane's base line, closed ones hang below it. */
function drawConnections (events, y, x) {
  const base = y + 15
  const bins = new Map()
  for (const { at, kind, byServer } of events) {
    const bin = Math.round(at / BIN_MS)
    const counts = bins.get(bin) ?? { open: 0, server: 0, own: 0 }
    counts[kind === 'open' ? 'open' : byServer ? 'server' : 'own']++
    bins.set(bin, counts)
  }
  const size = (count) => count === 0 ? 0 : Math.min(9, 1.9 * Math.sqrt(count) + 0.8)
  const bars = [...bins].flatMap(([bin, counts]) => {
    const left = x(bin * BIN_MS)
    const [up, server, own] = [size(counts.open), size(counts.server), size(counts.own)]
    return [
      up && rect('open', left, base - up - 0.5, 5, up, `${counts.open} opened`),
      server && rect('server', left, base + 0.5, 5, server, `${counts.server} closed by the server`),
      own && rect('own', left + (server ? 5.5 : 0), base + 0.5, 5, own, `${counts.own} closed by the client`)
    ].filter(Boolean)
  })
  return [line('axis', LEFT + 8, base, WIDTH - RIGHT - 8, base), ...bars]
}

function drawBlocked ({ from, to }, x, bottom) {
  const [left, right] = [x(from), x(to)]
  return [
    rect('blocked', left, TOP - 16, right - left, bottom - TOP + 16),
    line('edge', left, TOP - 16, left, bottom),
    line('edge', right, TOP - 16, right, bottom),
    text((left + right) / 2, TOP - 22, 'note', 'client loop blocked', 'middle')
  ].join('\n')
}

function drawAxis (span, startedAt, x, bottom) {
  const seconds = Array.from({ length: Math.floor(span / 1000) + 1 }, (_, second) => second)
  return seconds.map((second) => {
    const at = x(startedAt + second * 1000)
    return line('grid', at, TOP + 20, at, bottom) + text(at, bottom + 20, 'small', `${second} s`, 'middle')
  }).join('\n')
}

function legend (left, y) {
  const entries = [
    ['reused', 'answered, reused connection'],
    ['fresh', 'answered, new connection'],
    ['replayed', 'answered after a replay'],
    ['failed', 'failed'],
    ['open', 'opened'],
    ['server', 'closed by the server'],
    ['own', 'closed by the client']
  ]
  let at = left
  return entries.map(([name, label]) => {
    const entry = rect(name, at, y - 9, 10, 10) + text(at + 16, y, 'small', label)
    at += 34 + label.length * 6.1
    return entry
  }).join('\n')
}

const plural = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`
const round = (number) => Math.round(number * 10) / 10
const escape = (string) => string.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

function rect (name, x, y, width, height, title) {
  const inside = title ? `<title>${escape(title)}</title>` : ''
  const place = `x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}"`
  return `<rect class="${name}" ${place} rx="1">${inside}</rect>`
}

function line (name, x1, y1, x2, y2) {
  return `<line class="${name}" x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}"/>`
}

function text (x, y, name, content, anchor) {
  const where = anchor ? ` text-anchor="${anchor}"` : ''
  return `<text class="${name}" x="${round(x)}" y="${round(y)}"${where}>${escape(content)}</text>`
}

// What is measured, in which unit, and what it should reach.
export const MIB = 1024 * 1024
export const CLIENTS = ['node', 'holdfast', 'agentkeepalive']
export const SUBJECT = 'holdfast'

/** The client that has no network (ceiling.mjs): what it reaches is the most that a case can. */
export const CEILING = 'ceiling'

/** By TLS, beside Node's `https.Agent`. */
const secure = { secure: true, clients: ['node', 'holdfast'] }

export const clientsOf = (benchCase) => benchCase.clients ?? CLIENTS

const rate = { kind: 'get', unit: 'req/s', better: 'higher', read: (run) => run.perSecond }
/** A process has luck with its memory and its one connection, or has not, for as long as it lives: a new one each round. */
const bytes = { isRenewed: true, unit: 'MiB/s', better: 'higher', read: (run) => run.bytesPerSecond / MIB }

const burst = { ...secure, kind: 'burst', connections: 500 }

/** Small GETs by one of fetch's callers: over its own dispatcher, and over holdfast. */
function viaFetch (via, baseline, targets, more = {}) {
  return [1, 50].map((inFlight, at) => ({
    name: `${via.toLowerCase().replace(/\W+/g, '-')}-${inFlight}`,
    title: `${via}: small GET, ${inFlight} in flight`,
    via,
    clients: [baseline, 'holdfast'],
    inFlight,
    target: targets[at],
    ...more,
    ...rate
  }))
}

/**
 * `target` is a limit on the median of the ratios to the first of the clients, Node's agent if a case does not name
 * others; without one a case is reported only.
 */
export const CASES = [
  { name: 'get-1', title: 'small GET, 1 in flight', inFlight: 1, target: 1.0, ...rate },
  { name: 'get-10', title: 'small GET, 10 in flight', inFlight: 10, target: 2.0, clients: [...CLIENTS, CEILING], ...rate },
  { name: 'get-50', title: 'small GET, 50 in flight', inFlight: 50, target: 2.5, p99: 'no worse', clients: [...CLIENTS, CEILING], ...rate },
  { name: 'get-queued', title: 'small GET, 50 at a time over 10 sockets', inFlight: 50, maxSockets: 10, target: 1.0, ...rate },
  {
    name: 'retry-cost',
    title: 'small GET, 50 in flight, against retry: false',
    inFlight: 50,
    clients: ['retry-off', 'holdfast'],
    target: 0.97,
    ...rate
  },
  { name: 'download', title: '64 MiB download', kind: 'download', inFlight: 1, size: 64 * MIB, target: 1.0, ...bytes },
  { name: 'upload', title: '64 MiB upload', kind: 'upload', inFlight: 1, size: 64 * MIB, target: 1.0, ...bytes },
  { name: 'new-connections', title: 'GET without keep-alive, 10 in flight', inFlight: 10, keepAlive: false, ...rate },
  {
    name: 'memory',
    title: '10,000 idle connections',
    kind: 'memory',
    connections: 10_000,
    rounds: 4,
    target: 1.0,
    unit: 'B/conn',
    better: 'lower',
    read: (run) => run.bytesPerConnection
  },
  { name: 'tls-get-1', title: 'TLS: small GET, 1 in flight', inFlight: 1, target: 1.0, ...secure, ...rate },
  { name: 'tls-get-50', title: 'TLS: small GET, 50 in flight', inFlight: 50, target: 2.5, p99: 'no worse', ...secure, ...rate },
  { name: 'tls-download', title: 'TLS: 64 MiB download', kind: 'download', inFlight: 1, size: 64 * MIB, target: 1.0, ...secure, ...bytes },
  { name: 'tls-upload', title: 'TLS: 64 MiB upload', kind: 'upload', inFlight: 1, size: 64 * MIB, target: 1.0, ...secure, ...bytes },
  {
    name: 'tls-burst-delay',
    title: 'TLS: 500 new connections at once, longest delay of the loop',
    unit: 'ms',
    better: 'lower',
    target: 0.25,
    read: (run) => run.loopDelay,
    ...burst
  },
  {
    name: 'tls-burst-time',
    title: 'TLS: 500 new connections at once, until all have answered',
    unit: 'ms',
    better: 'lower',
    target: 1.0,
    read: (run) => run.took,
    ...burst
  },
  ...viaFetch('fetch', 'fetch', [1.0, 2.0], { clients: ['fetch', 'holdfast', CEILING] }),
  ...viaFetch('own fetch', 'fetch', [1.0, 5.0]),
  ...viaFetch('request', 'undici Pool', [1.0, 1.0]),
  ...viaFetch('HTTP/2 request', 'undici Pool', [1.0, 1.0], { secure: true }),
  { name: 'fetch-download', title: 'fetch: 64 MiB download', kind: 'download', via: 'fetch', clients: ['fetch', 'holdfast'], inFlight: 1, size: 64 * MIB, target: 1.0, ...bytes },
  { name: 'fetch-upload', title: 'fetch: 64 MiB upload', kind: 'upload', via: 'fetch', clients: ['fetch', 'holdfast'], inFlight: 1, size: 64 * MIB, target: 1.0, ...bytes },
  {
    name: 'tls-memory',
    title: 'TLS: 2,000 idle connections',
    kind: 'memory',
    connections: 2000,
    rounds: 4,
    target: 1.0,
    unit: 'B/conn',
    better: 'lower',
    ...secure,
    read: (run) => run.bytesPerConnection
  }
]

/** Whether a median ratio is on the right side of the case's target; undefined without one. */
export function reaches ({ target, better }, ratio) {
  if (target === undefined || ratio === undefined) return undefined
  return better === 'lower' ? ratio <= target : ratio >= target
}

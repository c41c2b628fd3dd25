'use strict'
// `agent.stats()`: the engine's numbers by origin, and their sums.

const NUMBERS = ['connecting', 'idle', 'leased', 'closing', 'waiting', 'opened', 'requests', 'reused', 'unproven',
  'connectErrors', 'retries', 'queueFull', 'queueTimeouts']
const BY_WORD = ['closed', 'replays', 'refused']
const HISTOGRAMS = ['queueWait', 'connect', 'idleAge', 'requestsPerConnection']

const add = (sums, numbers) => {
  for (const [word, number] of Object.entries(numbers)) sums[word] = (sums[word] ?? 0) + number
}

/** `forgotten` are earlier sums of origins that nobody names any more. */
const collect = (native, forgotten = []) => {
  const total = { ...Object.fromEntries(NUMBERS.map((name) => [name, 0])), ...Object.fromEntries(BY_WORD.map((name) => [name, {}])) }
  const origins = {}
  for (const stats of native) {
    const view = origins[stats.name] = { learned: { idleTimeout: stats.learnedIdleTimeout, maxRequests: stats.learnedMaxRequests } }
    for (const name of [...NUMBERS, ...BY_WORD, ...HISTOGRAMS]) view[name] = stats[name]
  }
  for (const stats of [...native, ...forgotten]) {
    for (const name of NUMBERS) total[name] += stats[name]
    for (const name of BY_WORD) add(total[name], stats[name])
  }
  return { ...total, origins }
}

module.exports = { collect }

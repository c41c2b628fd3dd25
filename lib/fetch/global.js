'use strict'
// The dispatcher of this process' `fetch`: undici's copies find it by these symbols, the older ones by the first.
const SYMBOLS = ['undici.globalDispatcher.1', 'undici.globalDispatcher.2'].map(Symbol.for)

/** What each symbol held before, by agent. */
const before = new Map()

const set = (symbol, value) => Object.defineProperty(globalThis, symbol, {
  value, writable: true, enumerable: false, configurable: true
})

const install = (agent) => {
  if (before.has(agent)) return
  // Node makes its own on first use, and keeps the one that is there.
  before.set(agent, SYMBOLS.map((symbol) => Object.getOwnPropertyDescriptor(globalThis, symbol)))
  for (const symbol of SYMBOLS) set(symbol, agent)
}

const uninstall = (agent) => {
  const descriptors = before.get(agent)
  if (descriptors === undefined) return
  before.delete(agent)
  for (const [at, symbol] of SYMBOLS.entries()) {
    // Somebody else's by now.
    if (globalThis[symbol] !== agent) continue
    if (descriptors[at]) Object.defineProperty(globalThis, symbol, descriptors[at])
    else delete globalThis[symbol]
  }
}

module.exports = { install, uninstall }

'use strict'
// The dispatcher of this process' `fetch`: undici's copies find it by these symbols, the older ones by the first.
const SYMBOLS = ['undici.globalDispatcher.1', 'undici.globalDispatcher.2'].map(Symbol.for)

/** What each symbol held before, by agent. */
const before = new Map()

// Node's own may not be defined anew, only assigned.
const set = (symbol, value) => {
  if (Object.hasOwn(globalThis, symbol)) globalThis[symbol] = value
  else Object.defineProperty(globalThis, symbol, { value, writable: true, enumerable: false, configurable: true })
}

const install = (agent) => {
  if (before.has(agent)) return
  before.set(agent, SYMBOLS.map((symbol) => globalThis[symbol]))
  for (const symbol of SYMBOLS) set(symbol, agent)
}

const uninstall = (agent) => {
  const held = before.get(agent)
  if (held === undefined) return
  before.delete(agent)
  // Whoever was installed over it gives back what it would have.
  for (const others of before.values()) for (const at of SYMBOLS.keys()) if (others[at] === agent) others[at] = held[at]
  for (const [at, symbol] of SYMBOLS.entries()) {
    // Somebody else's by now.
    if (globalThis[symbol] !== agent) continue
    // Where there was none, Node makes its own on next use.
    if (held[at] === undefined) delete globalThis[symbol]
    else globalThis[symbol] = held[at]
  }
}

module.exports = { install, uninstall }

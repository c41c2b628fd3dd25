'use strict'
// The origins of one agent: named as Node names them, numbered by the engine.
const http = require('node:http')
const { collect } = require('./stats.js')
const { interned } = require('./maps.js')

const { getName: nodeGetName } = http.Agent.prototype

/** So many names are remembered before those that nobody uses are forgotten; twice the rest, if the rest is more. */
const MOST = 1024

/** A request's options under its agent's, as Node merges them. */
const merge = (options, own) => {
  const merged = { __proto__: null, ...options, ...own }
  if (merged.socketPath) merged.path = merged.socketPath
  return merged
}

class Origins {
  #agent
  #native
  #number
  #known = new Map()
  /** The last answer, and what it was the answer to: most programs ask for one origin again and again. */
  #last
  /** Numbers of origins that were forgotten. */
  #forgotten = []
  #most = MOST

  constructor (agent, native, number) {
    this.#agent = agent
    this.#native = native
    this.#number = number
  }

  /** The origin of a request with these options: `{ name, number }`. */
  of (options) {
    const own = this.#agent.options
    const last = this.#last
    const host = own.host ?? options.host
    const port = own.port ?? options.port
    const localAddress = own.localAddress ?? options.localAddress
    const family = own.family ?? options.family
    const socketPath = own.socketPath ?? options.socketPath
    if (last && last.host === host && last.port === port && last.localAddress === localAddress &&
      last.family === family && last.socketPath === socketPath) return last.origin
    const origin = this.#named(this.#agent.getName(merge(options, own)))
    // Another way of naming may ask for more than these.
    const isNodes = this.#agent.getName === nodeGetName
    this.#last = isNodes ? { host, port, localAddress, family, socketPath, origin } : undefined
    return origin
  }

  stats () {
    return collect(this.#native.stats(this.#number), this.#forgotten)
  }

  #named (name) {
    const known = this.#known.get(name)
    if (known) return known
    if (this.#known.size >= this.#most) this.#forget()
    name = interned(name)
    const origin = { name, number: this.#native.addOrigin(this.#number, name) }
    this.#known.set(name, origin)
    return origin
  }

  #forget () {
    this.#last = undefined
    const stats = new Map(this.#native.stats(this.#number).map((one) => [one.name, one]))
    const forgotten = [...this.#known.values()].filter(({ number }) => this.#native.removeOrigin(this.#number, number))
    for (const { name } of forgotten) this.#known.delete(name)
    this.#most = Math.max(MOST, 2 * this.#known.size)
    this.#forgotten = [collect(forgotten.map(({ name }) => stats.get(name)), this.#forgotten)]
  }
}

module.exports = { merge, Origins }

'use strict'
// The origins of one agent: named as Node names them, numbered by the engine. Of one that has neither connections nor waiters
// the number may be another's after any call here, so each checkout asks for it anew.
const { collect } = require('./stats.js')
const { interned } = require('./maps.js')
const { watchValues } = require('./options.js')

/** So many names are remembered before those that nobody uses are forgotten; twice the rest, if the rest is more. */
const MOST = 1024

/** A request's options under its agent's, as Node merges them; `servername` is its derived one. */
const merge = (options, own, servername) => {
  const merged = { __proto__: null, ...options, ...own }
  if (servername !== undefined) merged.servername = servername
  if (merged.socketPath) merged.path = merged.socketPath
  return merged
}

/** Origins by name. */
class NamedOrigins {
  #native
  #number
  #whenForgetting
  #known = new Map()
  /** Numbers of origins that were forgotten. */
  #forgotten = []
  #most = MOST

  constructor (native, number, whenForgetting) {
    this.#native = native
    this.#number = number
    this.#whenForgetting = whenForgetting
  }

  /** The origin of that name: `{ name, number }`, and what `make(number)` adds to a new one. */
  of (name, make = undefined) {
    const known = this.#known.get(name)
    if (known) return known
    if (this.#known.size >= this.#most) this.#forget()
    name = interned(name)
    const number = this.#native.addOrigin(this.#number, name)
    const origin = { name, number, ...make?.(number) }
    this.#known.set(name, origin)
    return origin
  }

  /** Whether `name` is known, or one of fewer than `most`; those that nobody uses do not count. */
  fits (name, most) {
    if (this.#known.has(name) || this.#known.size < most) return true
    this.#forget()
    return this.#known.size < most
  }

  stats () {
    return collect(this.#native.stats(this.#number), this.#forgotten)
  }

  #forget () {
    this.#whenForgetting()
    const stats = new Map(this.#native.stats(this.#number).map((one) => [one.name, one]))
    const forgotten = [...this.#known.values()].filter(({ number }) => this.#native.removeOrigin(this.#number, number))
    for (const { name } of forgotten) this.#known.delete(name)
    this.#most = Math.max(MOST, 2 * this.#known.size)
    this.#forgotten = [collect(forgotten.map(({ name }) => stats.get(name)), this.#forgotten)]
  }
}

class Origins {
  #agent
  #named
  /** The last answer, and what it was the answer to: most programs ask for one origin again and again. */
  #last
  /** How often the agent's own options about TLS have changed. */
  #changes = 0
  #fields
  #getName

  /** `fields` are those by which a name differs beside host and port, as long as it is `agent.getName` that gives it. */
  constructor (agent, native, number, fields) {
    this.#fields = new Set(fields)
    this.#getName = agent.getName
    watchValues(agent.options, fields, () => { this.#changes++ })
    this.#agent = agent
    this.#named = new NamedOrigins(native, number, () => { this.#last = undefined })
  }

  /** The origin of a request with these options: `{ name, number }`. `suffix` tells it apart whatever its name. */
  of (options, servername, suffix = '') {
    const own = this.#agent.options
    const last = this.#last
    const host = own.host ?? options.host
    const port = own.port ?? options.port
    const localAddress = own.localAddress ?? options.localAddress
    const family = own.family ?? options.family
    const socketPath = own.socketPath ?? options.socketPath
    const isUsual = this.#fields.size === 0 || !this.#hasFields(options)
    if (isUsual && last && last.host === host && last.port === port && last.localAddress === localAddress &&
      last.family === family && last.socketPath === socketPath && last.servername === servername && last.suffix === suffix &&
      last.changes === this.#changes) return last.origin
    const origin = this.#named.of(this.#agent.getName(merge(options, own, servername)) + suffix)
    // Another way of naming may ask for more than these.
    const isKnown = isUsual && this.#agent.getName === this.#getName
    const changes = this.#changes
    this.#last = isKnown ? { host, port, localAddress, family, socketPath, servername, suffix, changes, origin } : undefined
    return origin
  }

  /** Whether a request has options of its own about TLS. To ask for each by name would cost a tenth of a request. */
  #hasFields (options) {
    for (const name in options) {
      if (this.#fields.has(name) && options[name] !== undefined) return true
    }
    return false
  }

  stats () { return this.#named.stats() }
}

module.exports = { merge, NamedOrigins, Origins }

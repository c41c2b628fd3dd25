'use strict'
// The origins of one agent: named as Node names them, numbered by the engine.
const { collect } = require('./stats.js')
const { interned } = require('./maps.js')

/** So many names are remembered before those that nobody uses are forgotten; twice the rest, if the rest is more. */
const MOST = 1024

/** What tells plain origins apart. */
const FIELDS = ['host', 'port', 'localAddress', 'family', 'socketPath']

/** A request's options under its agent's, as Node merges them; `servername` is its derived one. */
const merge = (options, own, servername) => {
  const merged = { __proto__: null, ...options, ...own }
  if (servername !== undefined) merged.servername = servername
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
  #fields
  #getName
  /** Numbers of origins that were forgotten. */
  #forgotten = []
  #most = MOST

  /** `fields` are those by which a name differs beside host and port, as long as it is `agent.getName` that gives it. */
  constructor (agent, native, number, fields) {
    this.#fields = [...FIELDS, ...fields]
    this.#getName = agent.getName
    this.#agent = agent
    this.#native = native
    this.#number = number
  }

  /** The origin of a request with these options: `{ name, number }`. */
  of (options, servername) {
    const own = this.#agent.options
    const last = this.#last
    if (last && last.servername === servername && this.#isSame(last.values, options, own)) return last.origin
    const origin = this.#named(this.#agent.getName(merge(options, own, servername)))
    // Another way of naming may ask for more than these.
    const isKnown = this.#agent.getName === this.#getName
    this.#last = isKnown ? { servername, values: this.#fields.map((field) => own[field] ?? options[field]), origin } : undefined
    return origin
  }

  #isSame (values, options, own) {
    const fields = this.#fields
    for (let n = 0; n < fields.length; n++) {
      if ((own[fields[n]] ?? options[fields[n]]) !== values[n]) return false
    }
    return true
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

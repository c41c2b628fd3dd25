'use strict'
// What an agent tells of its connections: events, diagnostics channels, NODE_DEBUG. Without a listener it costs nothing.
const { channel } = require('node:diagnostics_channel')
const { debuglog } = require('node:util')

const KINDS = ['connect', 'reuse', 'replay', 'close']
const channels = Object.fromEntries(KINDS.map((kind) => [kind, channel(`holdfast:${kind}`)]))

const debug = debuglog('holdfast')
const isDebugging = debug.enabled

const rounded = (milliseconds) => milliseconds === undefined ? undefined : Math.round(milliseconds * 1000) / 1000

/** The facts of one connection, as every listener gets them. */
const factsOf = (place, kind, given) => {
  const { age, connect, requests = 0, reason } = place.native.facts(place.number) ?? {}
  return {
    origin: place.origin.name,
    socket: place.socket,
    age: rounded(age),
    requests,
    connectTime: kind === 'connect' ? rounded(connect) : undefined,
    reason: kind === 'close' ? place.reason ?? reason : given
  }
}

const report = (place, kind, reason) => {
  const { agent } = place
  const isHeard = agent.listenerCount(kind) > 0
  const { hasSubscribers } = channels[kind]
  if (!isHeard && !hasSubscribers && !isDebugging) return
  const facts = factsOf(place, kind, reason)
  if (isDebugging) {
    const { origin, age, requests, reason } = facts
    debug('%s %s age=%dms requests=%d%s', kind, origin, age ?? 0, requests, reason ? ` reason=${reason}` : '')
  }
  if (hasSubscribers) channels[kind].publish({ agent: agent.facade ?? agent, ...facts })
  if (isHeard) agent.emit(kind, facts)
}

module.exports = { report }

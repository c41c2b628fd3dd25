// The two agents of every side-by-side test. `HOLDFAST_UNDER_TEST=node` puts Node's own agent on both sides, which
// proves the scripts themselves; any other value is a module whose HttpAgent takes holdfast's place.
import http from 'node:http'

class KeepAliveAgent extends http.Agent {
  constructor (options) {
    super({ keepAlive: true, ...options })
  }
}

const given = process.env.HOLDFAST_UNDER_TEST

export const isHoldfast = !given
export const subject = given || 'holdfast'

export const NodeAgent = KeepAliveAgent
export const AgentUnderTest = given === 'node'
  ? KeepAliveAgent
  : (await import(given || '../../index.mjs')).HttpAgent

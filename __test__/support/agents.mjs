// The two agents of every side-by-side test. `HOLDFAST_UNDER_TEST=node` puts Node's own agent on both sides, which
// proves the scripts themselves; any other value is a module whose HttpAgent takes holdfast's place.
import http from 'node:http'
import https from 'node:https'

class KeepAliveAgent extends http.Agent {
  constructor (options) {
    super({ keepAlive: true, ...options })
  }
}

class KeepAliveSecureAgent extends https.Agent {
  constructor (options) {
    super({ keepAlive: true, ...options })
  }
}

const given = process.env.HOLDFAST_UNDER_TEST

export const isHoldfast = !given
export const subject = given || 'holdfast'

const underTest = given === 'node'
  ? { HttpAgent: KeepAliveAgent, HttpsAgent: KeepAliveSecureAgent }
  : await import(given || '../../index.mjs')

export const NodeAgent = KeepAliveAgent
export const AgentUnderTest = underTest.HttpAgent
export const SecureNodeAgent = KeepAliveSecureAgent
export const SecureAgentUnderTest = underTest.HttpsAgent

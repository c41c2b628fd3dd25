// The two agents of every side-by-side test. `HOLDFAST_UNDER_TEST=node` puts Node's own agent on both sides, which
// proves the scripts themselves; any other value is a module whose HttpAgent takes holdfast's place. `HOLDFAST_TLS=1` has
// them speak TLS, with servers that do.
import http from 'node:http'
import https from 'node:https'

const given = process.env.HOLDFAST_UNDER_TEST

export const isHoldfast = !given
export const subject = given || 'holdfast'
export const isSecure = Boolean(process.env.HOLDFAST_TLS)

const keepAlive = (Agent, more) => class extends Agent {
  constructor (options) {
    super({ keepAlive: true, ...more, ...options })
  }
}

const underTest = given === 'node'
  ? { HttpAgent: keepAlive(http.Agent), HttpsAgent: keepAlive(https.Agent) }
  : await import(given || '../../index.mjs')

export const SecureNodeAgent = keepAlive(https.Agent)
export const SecureAgentUnderTest = underTest.HttpsAgent

const { trust } = isSecure ? await import('./tls/everywhere.mjs') : {}
export const NodeAgent = isSecure ? keepAlive(https.Agent, trust) : keepAlive(http.Agent)
export const AgentUnderTest = isSecure ? keepAlive(underTest.HttpsAgent, trust) : underTest.HttpAgent

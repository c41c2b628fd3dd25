'use strict'
// holdfast: `new HttpAgent()` where `new http.Agent({ keepAlive: true })` stood. `index.d.ts` documents everything.
const http = require('node:http')
const { pooledAgent } = require('./lib/agent.js')
const constants = require('./lib/constants.js')

class HttpAgent extends pooledAgent(http.Agent) {}

// http.Agent may be called without `new`, so its replacement may too.
const callable = new Proxy(HttpAgent, { apply: (Agent, self, args) => new Agent(...args) })
HttpAgent.prototype.constructor = callable

module.exports = callable
module.exports.HttpAgent = callable
module.exports.constants = constants

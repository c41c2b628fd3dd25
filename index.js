'use strict'
// holdfast: `new HttpAgent()` where `new http.Agent({ keepAlive: true })` stood, `new HttpsAgent()` where `new https.Agent`
// stood. `index.d.ts` documents everything.
const http = require('node:http')
const https = require('node:https')
const { pooledAgent } = require('./lib/agent.js')
const constants = require('./lib/constants.js')
const { FetchAgent } = require('./lib/fetch/agent.js')
require('./lib/fetch/platform.js')
const { Socket } = require('./lib/socket.js')
const { securedAgent } = require('./lib/tls/agent.js')

class HttpAgent extends pooledAgent(http.Agent, { protocol: 'http:', Socket }) {}
class HttpsAgent extends securedAgent(https.Agent) {}

// Node's agents may be called without `new`, so their replacements may too.
const callable = (Class) => {
  const agent = new Proxy(Class, { apply: (Agent, self, args) => new Agent(...args) })
  Class.prototype.constructor = agent
  return agent
}

module.exports = callable(HttpAgent)
module.exports.HttpAgent = module.exports
module.exports.HttpsAgent = callable(HttpsAgent)
module.exports.FetchAgent = FetchAgent
// With it comes the platform's own fetch, which takes longer to load than all of this: once it is asked for.
const createFetch = (options) => require('./lib/fetch/fetch.js').createFetch(options)
module.exports.createFetch = createFetch
let usual
module.exports.fetch = (input, init) => (usual ??= createFetch())(input, init)
module.exports.constants = constants

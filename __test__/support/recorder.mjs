// Writes down, in order, what a client program can see of its requests, responses and sockets.
import http from 'node:http'
import { turns } from './wait.mjs'
import { httpServer, rawServer, scripted } from './servers.mjs'

const REQUEST_EVENTS = ['finish', 'continue', 'timeout', 'abort', 'drain', 'close']
const SOCKET_EVENTS = ['connect', 'ready', 'end', 'free', 'agentRemove', 'timeout']

const lengths = (map) => Object.keys(map).map((name) => `${name}=${map[name].length}`).join(',') || '-'

/** One side of a side-by-side run: an agent class, its servers, and the log of events. */
export class Recorder {
  events = []
  wire = []
  #agents = []
  #servers = []
  #sockets = new Map()
  #requests = []
  #names = []

  constructor (Agent) {
    this.Agent = Agent
  }

  agent (options, Agent = this.Agent) {
    const agent = new Agent(options)
    this.#agents.push(agent)
    return agent
  }

  async #serve (starting) {
    const server = await starting
    this.#servers.push(server)
    if (server.port) this.mask(server.port, '<port>')
    return server
  }

  http (handler, options) { return this.#serve(httpServer(handler, options)) }
  raw (handler, options) { return this.#serve(rawServer(handler, options)) }
  scripted (answer, options) { return this.#serve(scripted(answer, options)) }

  /** From now on `text` is written as `name`: ports and paths differ between the sides. */
  mask (text, name) { this.#names.push([String(text), name]) }

  #plain (text) {
    return this.#names.reduce((plain, [from, to]) => plain.replaceAll(from, to), String(text))
  }

  note (...words) { this.events.push(this.#plain(words.join(' '))) }

  describe (error) {
    const { name, code, syscall, message, address, port, hostname, errno, reason, bytesParsed, rawPacket } = error
    const facts = { name, code, syscall, message, address, port, hostname, errno, reason }
    // How a long answer falls into reads is the kernel's affair.
    if (rawPacket?.length < 4096) Object.assign(facts, { bytesParsed, rawPacket: rawPacket.length })
    const kept = Object.entries(facts).filter(([, value]) => value !== undefined)
    return kept.map(([key, value]) => `${key}=${this.#plain(value)}`).join(' ')
  }

  /** Notes what the agent says of itself at this moment. */
  pool (agent, moment) {
    const { sockets, freeSockets, requests, totalSocketCount } = agent
    this.note(`pool ${moment}: sockets ${lengths(sockets)} free ${lengths(freeSockets)}`,
      `requests ${lengths(requests)} total ${totalSocketCount}`)
  }

  /** Starts a request whose every event is noted under `name`; the script ends it. */
  request (name, options, { handover = false, respond, events = [] } = {}) {
    return this.watch(name, http.request(options), { handover, respond, events })
  }

  get (name, options, how) { return this.request(name, options, how).end() }

  watch (name, req, { handover = false, respond, events = [] } = {}) {
    this.#requests.push(req)
    for (const event of [...REQUEST_EVENTS, ...events]) req.on(event, () => this.note(name, 'req', event))
    req.on('socket', (socket) => {
      this.note(name, 'req socket', this.#watchSocket(socket), `connecting=${socket.connecting}`)
    })
    req.on('information', ({ statusCode, headers }) => {
      this.note(name, 'req information', statusCode, JSON.stringify(headers))
    })
    req.on('error', (error) => {
      this.note(name, 'req error', this.describe(error), `reused=${req.reusedSocket} destroyed=${req.destroyed}`)
    })
    req.on('response', (res) => {
      this.note(name, `req response ${res.httpVersion} ${res.statusCode} reused=${req.reusedSocket}`)
      this.#watchResponse(name, res)
      if (respond) respond(res)
      else res.resume()
    })
    if (handover) {
      for (const event of ['upgrade', 'connect']) {
        req.on(event, (res, socket, head) => {
          this.note(name, 'req', event, res.statusCode, `head=${head.toString('latin1')}`,
            `req.socket=${req.socket === socket} destroyed=${socket.destroyed}`)
        })
      }
    }
    return req
  }

  #watchResponse (name, res) {
    let size = 0
    const note = (...words) => {
      if (size) this.note(name, `res data ${size}`)
      size = 0
      this.note(name, 'res', ...words)
    }
    const push = res.push
    res.push = function (chunk, encoding) {
      if (chunk) size += chunk.length
      return push.call(this, chunk, encoding)
    }
    res.on('end', () => note('end', JSON.stringify(res.trailers)))
    res.on('aborted', () => note('aborted'))
    res.on('error', (error) => note('error', this.describe(error)))
    res.on('close', () => note(`close complete=${res.complete} aborted=${res.aborted} ended=${res.readableEnded}`))
  }

  #watchSocket (socket) {
    const known = this.#sockets.get(socket)
    if (known) return known
    const name = `s${this.#sockets.size + 1}`
    this.#sockets.set(socket, name)
    for (const event of SOCKET_EVENTS) socket.on(event, () => this.note(name, event))
    socket.on('lookup', (error, address, family, host) => {
      this.note(name, `lookup ${error?.code ?? null} ${address} ${family} ${host}`)
    })
    socket.on('error', (error) => this.note(name, 'error', this.describe(error)))
    socket.on('close', (hadError) => this.note(name, `close ${hadError}`))
    return name
  }

  /** Names the socket of a request as the log does. */
  nameOf (socket) { return this.#sockets.get(socket) }

  /** Resolves when every request so far was closed. */
  async done (...requests) {
    for (const req of requests.length ? requests : this.#requests) {
      if (!req.closed) await new Promise((resolve) => req.once('close', resolve))
    }
  }

  /** Resolves when `socket` is back in the pool or gone. */
  async released (socket) {
    if (socket.destroyed || socket._httpMessage === null) return turns(2)
    await new Promise((resolve) => {
      socket.once('free', resolve)
      socket.once('close', resolve)
    })
    await turns(2)
  }

  async finish () {
    for (const agent of this.#agents) agent.destroy()
    for (const socket of this.#sockets.keys()) {
      if (!socket.closed && !socket._handedOver) await new Promise((resolve) => socket.once('close', resolve))
    }
    await turns(3)
    for (const agent of this.#agents) this.pool(agent, 'at the end')
    for (const server of this.#servers) await server.stop()
  }

  async abandon () {
    for (const agent of this.#agents) agent.destroy()
    for (const server of this.#servers) await server.stop()
  }
}

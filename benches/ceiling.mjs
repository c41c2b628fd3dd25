// What no agent and no dispatcher can beat: requests that are answered out of memory, without a connection or a system call.
import http from 'node:http'
import { Duplex } from 'node:stream'

const BODY = Buffer.from('Hello from nginx, in a few bytes.\n')
const HEADERS = {
  Server: 'nginx',
  Date: 'Tue, 01 Dec 2026 12:00:00 GMT',
  'Content-Type': 'text/plain',
  'Content-Length': String(BODY.length),
  Connection: 'keep-alive'
}
const lines = Object.entries(HEADERS).map(([name, value]) => `${name}: ${value}\r\n`)
const ANSWER = Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\n${lines.join('')}\r\n`), BODY])
const RAW_HEADERS = Object.entries(HEADERS).flat().map((text) => Buffer.from(text))

/** Has an answer for whatever is written to it, in the loop's next turn. */
class Echo extends Duplex {
  constructor () {
    super({ decodeStrings: false })
  }

  _read () {}

  _write (chunk, encoding, done) {
    setImmediate(() => this.push(ANSWER))
    done()
  }
}

export class CeilingAgent extends http.Agent {
  #free = []

  addRequest (req) {
    req.onSocket(this.#free.pop() ?? this.#connect())
  }

  #connect () {
    const socket = new Echo()
    return socket.on('free', () => {
      socket._httpMessage = null
      this.#free.push(socket)
    })
  }
}

const asked = []

/** For handlers of both generations. What is asked in one turn is answered in the next, and told together. */
export const ceilingDispatcher = {
  dispatch (options, handler) {
    if (asked.push(handler) === 1) setImmediate(tellAll)
    return true
  }
}

function tellAll () {
  for (const handler of asked.splice(0)) handler.onRequestStart ? tellController(handler) : tellHandler(handler)
}

const nothing = () => {}
const controller = { abort: nothing, pause: nothing, resume: nothing, rawHeaders: RAW_HEADERS }

function tellController (handler) {
  handler.onRequestStart(controller, {})
  handler.onResponseStart(controller, 200, HEADERS, 'OK')
  handler.onResponseData(controller, BODY)
  handler.onResponseEnd(controller, {})
}

function tellHandler (handler) {
  handler.onConnect(nothing)
  handler.onHeaders(200, RAW_HEADERS, nothing, 'OK')
  handler.onData(BODY)
  handler.onComplete([])
}

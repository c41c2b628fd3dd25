// Plays a list of steps on one connection; fixtures/README.md tells what they mean.
import { once } from 'node:events'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const HEAD_END = '\r\n\r\n'

/** The script is over: its connection is closed already, or will be. */
class Over extends Error {}

/** A reset, below TLS if there is any. */
export const reset = (socket) => (socket._parent ?? socket).resetAndDestroy()

export class Player {
  #socket
  #steps
  #executed
  #unread = Buffer.alloc(0)
  #closed
  #hasEnded = false
  #hasServed = false
  /** Of the request being read: its id, and how much of it is still to come. */
  #id
  #body = 0

  constructor (socket, steps, executed) {
    this.#socket = socket
    this.#steps = steps
    this.#executed = executed
    socket.on('end', () => { this.#hasEnded = true })
    this.#closed = new Promise((resolve) => socket.once('close', resolve))
  }

  async play () {
    try {
      for (let at = 0; at < this.#steps.length; at++) {
        if (this.#steps[at] === 'again') at = 0
        else await this.#do(this.#steps[at])
      }
    } catch (error) {
      if (!(error instanceof Over)) throw error
    }
    this.#socket.destroy()
  }

  async #do (step) {
    const [word, argument] = typeof step === 'string' ? [step] : Object.entries(step)[0]
    switch (word) {
      case 'accept': return
      case 'read_head': return this.#readHead()
      case 'read_head_within': return this.#readHeadWithin(argument, step.else)
      case 'read_body': return this.#readBody()
      case 'read_bytes': return this.#until(() => this.#unread.length >= argument)
      case 'ok': return this.#write(OK)
      case 'respond':
      case 'garbage':
      case 'late_bytes': return this.#write(argument)
      case 'slow_bytes':
        for (const byte of argument) {
          this.#write(byte)
          await turn()
        }
        return
      case 'wait': return this.#unlessClosed(sleep(argument))
      case 'stall': return this.#unlessClosed(new Promise(() => {}))
      case 'fin':
        this.#socket.end()
        return
      case 'rst':
        reset(this.#socket)
        throw new Over()
      case 'close':
        this.#socket.destroy()
        throw new Over()
      case 'await_close':
        for (;;) {
          this.#unread = Buffer.alloc(0)
          await this.#more()
        }
      default: throw new Error(`the README knows no step ${word}`)
    }
  }

  #write (text) {
    if (this.#socket.destroyed) throw new Over()
    this.#socket.write(text, 'latin1')
  }

  async #unlessClosed (work) {
    if (this.#socket.destroyed) throw new Over()
    await Promise.race([work, this.#closed])
    if (this.#socket.destroyed) throw new Over()
  }

  async #more () {
    // Read by hand, so that what nobody reads stays in the kernel.
    const chunk = this.#socket.read()
    if (chunk) {
      this.#unread = Buffer.concat([this.#unread, chunk])
      return
    }
    if (this.#hasEnded || this.#socket.destroyed) throw new Over()
    const abort = new AbortController()
    const heard = ['readable', 'end', 'close'].map((event) => once(this.#socket, event, { signal: abort.signal }).catch(() => {}))
    await Promise.race(heard)
    abort.abort()
  }

  async #until (holds) {
    while (!holds()) await this.#more()
  }

  async #readHead () {
    await this.#until(() => this.#unread.includes(HEAD_END))
    this.#hasServed = true
    const end = this.#unread.indexOf(HEAD_END) + HEAD_END.length
    const head = this.#unread.subarray(0, end).toString('latin1')
    this.#unread = this.#unread.subarray(end)
    this.#id = /^x-id: (.*)\r$/im.exec(head)?.[1]
    // A request that may be repeated is none that must not be executed twice.
    if (!/^(POST|PATCH) /.test(head) || /^(x-)?idempotency-key:/im.test(head)) this.#id = undefined
    this.#body = Number(/^content-length: (\d+)\r$/im.exec(head)?.[1] ?? 0)
    this.#isRead()
  }

  async #readHeadWithin (ms, otherwise = 'close') {
    // A new connection is not idle: on a busy machine its first request may take long.
    if (!this.#hasServed) return this.#readHead()
    const abort = new AbortController()
    const late = sleep(ms, 'late', { signal: abort.signal }).catch(() => {})
    const begun = this.#until(() => this.#unread.length > 0)
    begun.catch(() => {}) // when it is late, nobody waits for this
    const first = await Promise.race([late, begun])
    abort.abort()
    if (first === 'late') {
      await this.#do(otherwise)
      throw new Over()
    }
    await this.#readHead()
  }

  #isRead () {
    if (this.#body === 0 && this.#id !== undefined) this.#executed(this.#id)
  }

  async #readBody () {
    if (this.#body === 0) return
    await this.#until(() => this.#unread.length >= this.#body)
    this.#unread = this.#unread.subarray(this.#body)
    this.#body = 0
    this.#isRead()
  }
}

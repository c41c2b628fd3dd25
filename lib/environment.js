'use strict'
// The engine of this JavaScript environment, the places of its sockets, and the delivery of its events.
const { Buffer } = require('node:buffer')
const process = require('node:process')
const { NativeEnvironment } = require('./addon.js')

const SLAB_BYTES = 64 * 1024
const ROWS = 512

/** From here on bytes are handed out where they were read (src/node/slabs.rs). */
const LARGE = 16 * 1024

// What net.Socket makes of a reset that comes together with bytes, until libuv 1.52 (src/unix/stream.c).
const [, uvMinor] = process.versions.uv.split('.').map(Number)
const HANG_UP_IS_END = uvMinor < 52

// The table's layout and kinds are those of src/node/events.rs.
const HEADER = 3
const ROW = 4
const CURSOR = 0
const COUNT = 1
const WANTED = 2
const DATA = 1
const END = 2
const READ_FAILED = 3
const WRITTEN = 4
const WRITE_FAILED = 5
const FOUND = 6
const CONNECTED = 7
const CONNECT_FAILED = 8
const SHUT_DOWN = 9
const ENDED = 10
const REPLAYING = 11
const GONE = 12
const GAVE_UP = 13
const SWAPPED = 14
const SECURED = 15
const SESSION = 16
const HEAD = 17
const COMPLETE = 18
const BROKEN = 19
const RESET = 20
const ROOM = 21
const FELL_BACK = 22
const NOTHING = 0

// Undocumented, and there from Node 20 to 26: runs ticks and microtasks, as Node does between two of its callbacks.
const tickCallback = process._tickCallback ?? (() => {})

const dropped = new FinalizationRegistry(({ environment, number }) => {
  environment.agents.delete(number)
  environment.native.removeAgent(number)
})

class Environment {
  /** By the number of the connection: `{ socket, agent, … }`. */
  places = []
  /** By number; weak, for an agent that nobody uses is collected. */
  agents = new Map()
  #table = new Int32Array(HEADER + ROW * ROWS)
  #slabs = []

  constructor () {
    this.native = new NativeEnvironment(new Uint8Array(this.#table.buffer), this, this.#deliver, HANG_UP_IS_END)
    this.calls = this.native.calls()
    this.#lendSlabs()
  }

  /** `agent` is told of waiters that gave up; the engine forgets it when nobody has `owner` any more. */
  register (number, agent, owner = agent) {
    this.agents.set(number, new WeakRef(agent))
    dropped.register(owner, { environment: this, number })
  }

  // Called by the engine, again after each exception: the cursor moves before each delivery, so none comes twice.
  #deliver () {
    const table = this.#table
    const count = table[COUNT]
    let isFirst = true
    let wasForHandler = false
    let wasLarge = false
    while (table[CURSOR] < count) {
      const at = HEADER + ROW * table[CURSOR]++
      const kind = table[at]
      const isForHandler = this.#isForHandler(kind, table[at + 1])
      // A large piece is a read of its own, but for the end of its answer.
      const goesOn = wasForHandler && isForHandler && (!wasLarge || kind === COMPLETE)
      if (!isFirst && !goesOn) this.#runTicks()
      isFirst = false
      wasForHandler = isForHandler
      wasLarge = kind === DATA && table[at + 3] >= LARGE
      this.#dispatch(kind, table[at + 1], table[at + 2], table[at + 3])
    }
    // Only now has everybody seen what the old ones hold.
    if (table[WANTED]) this.#lendSlabs()
  }

  /**
   * Whether a row is for a dispatcher's handler. What there is for those is told together, as what they set off is then of one
   * kind, and much faster (docs/architecture.md, section 2); who listens to a socket hears each by itself, as in Node.
   */
  #isForHandler (kind, number) {
    if (kind === GAVE_UP || kind === ROOM) return false // the number is an agent's
    return this.places[number]?.socket?.isSpoken === true
  }

  #runTicks () {
    try {
      tickCallback()
    } catch (error) {
      // Told from here: Node checks its stack of async ids when a callback returns, and a tick that threw is still on it.
      this.native.throwUncaught(error)
    }
  }

  #dispatch (kind, number, a, b) {
    if (kind === GAVE_UP) return this.agents.get(number)?.deref()?._gaveUp(a >>> 0, b >>> 0)
    if (kind === ROOM) return this.agents.get(number)?.deref()?._hasRoom()
    const place = this.places[number]
    if (place === undefined) return
    switch (kind) {
      case DATA: return place.socket._received(this.#slice(a, b))
      case END: return place.socket._ended()
      case READ_FAILED: return place.socket._failed('read', a)
      case WRITTEN: return place.socket._wrote()
      case WRITE_FAILED: return place.socket._writeFailed(a)
      case FOUND: return place.socket._found()
      case CONNECTED: return place.socket._connected()
      case CONNECT_FAILED: return place.connectFailed()
      case SECURED: return place.socket._secured()
      case SESSION: return place.socket._sessions()
      case HEAD: return place.socket._head(a, b !== 0)
      case COMPLETE: return place.socket._completed(a !== 0, b !== 0)
      case BROKEN: return place.socket._broken(a)
      case RESET: return place.socket._reset(a)
      case SHUT_DOWN: return place.socket._shutDown()
      case ENDED: return place.idleEnded(a)
      case REPLAYING: return place.replaying(a)
      case SWAPPED: return place.swapped()
      case FELL_BACK: return place.fellBack()
      case GONE: return place.gone()
    }
  }

  #slice (packed, length) {
    const slab = this.#slabs[packed >>> 16]
    const offset = packed & 0xffff
    if (length >= LARGE) return slab.subarray(offset, offset + length)
    const chunk = Buffer.allocUnsafe(length)
    chunk.set(new Uint8Array(slab.buffer, offset, length)) // half the time of `slab.copy`
    return chunk
  }

  /** Takes the undelivered bytes of a connection that leaves the engine: those of this batch, then `rows`. */
  takeChunks (number, rows) {
    const table = this.#table
    const chunks = []
    for (let row = table[CURSOR]; row < table[COUNT]; row++) {
      const at = HEADER + ROW * row
      if (table[at + 1] !== number || table[at] === GAVE_UP || table[at] === ROOM) continue
      if (table[at] === DATA) chunks.push(this.#slice(table[at + 2], table[at + 3]))
      table[at] = NOTHING
    }
    for (let at = 0; at < rows.length; at += 2) chunks.push(this.#slice(rows[at], rows[at + 1]))
    return chunks
  }

  #lendSlabs () {
    for (let number = this.native.vacantSlab(); number >= 0; number = this.native.vacantSlab()) {
      const slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      this.#slabs[number] = slab
      this.native.lendSlab(number, slab)
    }
  }
}

let environment

/** The one of this thread, started on first use. */
module.exports = () => (environment ??= new Environment())

'use strict'
// An answer's body on its way to whoever reads it: held back, collected, or as a stream.
const { Buffer } = require('node:buffer')

/** So much is kept for a reader who has not come yet. */
const MOST_HELD = 64 * 1024

/** `flow(isFlowing)` holds the sender back, and `cancel(reason)` ends it. */
class Incoming {
  #chunks = []
  #held = 0
  #isFlowing = true
  #hasEnded = false
  #error
  /** `{ resolve, reject }` of who collects all of it. */
  #collector
  /** The controller of the stream, once there is one. */
  #stream
  #flow
  #cancel
  /** Somebody reads it, or has. */
  isUsed = false

  constructor (flow, cancel) {
    this.#flow = flow
    this.#cancel = cancel
  }

  push (chunk) {
    if (this.#stream) {
      // A copy: the stream takes the memory for itself, and others have theirs in the same piece.
      this.#stream.enqueue(new Uint8Array(chunk))
      if (this.#stream.desiredSize <= 0) this.#hold(false)
      return
    }
    this.#chunks.push(chunk)
    this.#held += chunk.length
    if (!this.#collector && this.#held >= MOST_HELD) this.#hold(false)
  }

  end () {
    this.#hasEnded = true
    if (this.#collector) this.#collector.resolve(this.#take())
    this.#stream?.close()
  }

  fail (error) {
    this.#error = error
    this.#collector?.reject(error)
    this.#stream?.error(error)
  }

  /** All of it, once it is there. */
  collect () {
    this.isUsed = true
    if (this.#error) return Promise.reject(this.#error)
    if (this.#hasEnded) return Promise.resolve(this.#take())
    return new Promise((resolve, reject) => {
      this.#collector = { resolve, reject }
      this.#hold(true)
    })
  }

  stream () {
    return new ReadableStream({
      type: 'bytes',
      start: (controller) => {
        this.#stream = controller
        for (const chunk of this.#chunks.splice(0)) this.push(chunk)
        if (this.#error) controller.error(this.#error)
        else if (this.#hasEnded) controller.close()
        else if (this.#held > 0) this.#hold(false)
      },
      pull: () => this.#hold(true),
      cancel: (reason) => this.#cancel(reason)
    })
  }

  #take () {
    const chunks = this.#chunks
    this.#chunks = []
    return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)
  }

  #hold (isFlowing) {
    if (this.#isFlowing === isFlowing || this.#hasEnded) return
    this.#isFlowing = isFlowing
    this.#flow(isFlowing)
  }
}

module.exports = { Incoming }

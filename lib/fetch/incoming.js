'use strict'
// An answer's body on its way to whoever reads it: held back, collected, or as a stream.
const { Buffer } = require('node:buffer')

/** So much is kept for a reader who is not there yet. */
const MOST_HELD = 64 * 1024

class Incoming {
  /** Where it comes from, `{ flow(isFlowing), cancel(reason) }`: `flow` holds the sender back, `cancel` ends it. */
  source
  #chunks = []
  #held = 0
  #isFlowing = true
  /** Nothing more comes: it is all here, has failed, or is not wanted. */
  #hasEnded = false
  /** `{ error }`, for that may be anything. */
  #failure
  /** `{ resolve, reject }` of who collects all of it. */
  #collector
  /** The controller of the stream, once there is one. */
  #stream
  /** The stream's reader waits. */
  #isAwaited = false
  #done
  /** Somebody collects it, or has. */
  isUsed = false

  /** `done` is called when there is nothing left to read: all was read, it has failed, or is not wanted. */
  constructor (done) {
    this.#done = done
  }

  /** All of it has come, and is read. */
  get isSpent () { return this.#hasEnded && this.#chunks.length === 0 }

  push (chunk) {
    if (this.#hasEnded || chunk.length === 0) return
    this.#chunks.push(chunk)
    this.#held += chunk.length
    if (this.#isAwaited) this.#feed()
    if (!this.#collector && this.#held >= MOST_HELD) this.#hold(false)
  }

  end () {
    if (this.#hasEnded) return
    this.#hasEnded = true
    if (this.#collector) this.#collector.resolve(this.#take())
    else this.#closeIfDrained()
  }

  /** The first failure counts, also after the end, as long as there is something to read. */
  fail (error) {
    this.#hasEnded = true
    this.#failure ??= { error }
    this.#chunks = []
    this.#collector?.reject(error)
    this.#stream?.error(error)
    this.#done()
  }

  /** All of it, once it is there. */
  collect () {
    this.isUsed = true
    if (this.#failure) return Promise.reject(this.#failure.error)
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
        if (this.#failure) controller.error(this.#failure.error)
        else this.#closeIfDrained()
      },
      pull: () => {
        this.#isAwaited = true
        this.#feed()
      },
      cancel: (reason) => this.#cancel(reason)
    })
  }

  /** Nobody will read it, unless somebody does already. */
  abandon () {
    if (!this.isUsed && !this.#stream) this.#cancel()
  }

  #cancel (reason) {
    this.#hasEnded = true
    this.#chunks = []
    this.source.cancel(reason)
    this.#done()
  }

  /** The waiting reader gets what is there, or the sender goes on. */
  #feed () {
    if (this.#chunks.length === 0) return this.#hold(true)
    // A copy: the stream takes the memory for itself, and others have theirs in the same piece.
    const piece = new Uint8Array(this.#held)
    let at = 0
    for (const chunk of this.#chunks) {
      piece.set(chunk, at)
      at += chunk.length
    }
    this.#chunks = []
    this.#held = 0
    this.#isAwaited = false
    this.#stream.enqueue(piece)
    this.#closeIfDrained()
  }

  #closeIfDrained () {
    if (!this.#stream || !this.#hasEnded || this.#chunks.length > 0) return
    try {
      this.#stream.close()
      // A reader that brought its own memory waits until it gets that back.
      this.#stream.byobRequest?.respond(0)
    } catch {
      // It wanted larger pieces than bytes, and the stream has told it that one is cut.
    }
    this.#done()
  }

  #take () {
    const chunks = this.#chunks
    this.#chunks = []
    this.#done()
    return chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)
  }

  #hold (isFlowing) {
    if (this.#isFlowing === isFlowing || this.#hasEnded) return
    this.#isFlowing = isFlowing
    this.source.flow(isFlowing)
  }
}

module.exports = { Incoming }

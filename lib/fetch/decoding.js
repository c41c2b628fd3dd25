'use strict'
// What `Content-Encoding` says, undone by the platform's zlib.
const zlib = require('node:zlib')

// A body that is cut short is as long as it is, as browsers have it.
const LENIENT = { flush: zlib.constants.Z_SYNC_FLUSH, finishFlush: zlib.constants.Z_SYNC_FLUSH }
const BROTLI = { flush: zlib.constants.BROTLI_OPERATION_FLUSH, finishFlush: zlib.constants.BROTLI_OPERATION_FLUSH }

/** `deflate` comes with zlib's header or without: the first byte tells. */
const inflateOf = (first) => (first & 0x0f) === 0x08 ? zlib.createInflate(LENIENT) : zlib.createInflateRaw(LENIENT)

const DECODERS = {
  gzip: () => zlib.createGunzip(LENIENT),
  'x-gzip': () => zlib.createGunzip(LENIENT),
  deflate: inflateOf,
  br: () => zlib.createBrotliDecompress(BROTLI),
  // From Node 22.15 on.
  ...zlib.createZstdDecompress && { zstd: () => zlib.createZstdDecompress() }
}

/** More than these in a row is an attack. */
const MOST = 5

const ACCEPTED = `gzip, deflate, br${DECODERS.zstd ? ', zstd' : ''}`

/** The encodings of an answer, outermost first, if all are known. */
const encodingsOf = (pairs) => {
  const encodings = []
  for (let at = 0; at < pairs.length; at += 2) {
    if (pairs[at].length === 16 && pairs[at].toLowerCase() === 'content-encoding') {
      encodings.push(...pairs[at + 1].toLowerCase().split(',').map((word) => word.trim()))
    }
  }
  if (encodings.length > MOST) throw new Error(`too many content-encodings in response: ${encodings.length}, maximum allowed is ${MOST}`)
  return encodings.every((encoding) => Object.hasOwn(DECODERS, encoding)) ? encodings.reverse() : []
}

/**
 * `sink` with decoders before it: all are `{ push(chunk), end(), fail(error) }`, and have a `source`, the one before:
 * `{ flow(isFlowing), cancel(reason) }`. That of the first is the caller's to set.
 */
const decode = (encodings, sink) => encodings.reduceRight((next, encoding) => new Decoding(DECODERS[encoding], next), sink)

class Decoding {
  source
  #make
  #next
  #stream
  /** It has failed, or is not wanted. */
  #isOver = false

  constructor (make, next) {
    this.#make = make
    this.#next = next
    next.source = this
  }

  push (chunk) {
    if (this.#isOver || chunk.length === 0) return
    this.#stream ??= this.#start(this.#make(chunk[0]))
    if (!this.#stream.write(chunk)) this.source.flow(false)
  }

  end () {
    if (this.#isOver) return
    if (this.#stream) this.#stream.end()
    else this.#next.end()
  }

  fail (error) {
    this.#leave()
    this.#next.fail(error)
  }

  /** The reader wants more, or no more for now. */
  flow (isFlowing) {
    if (isFlowing) this.#stream?.resume()
    else this.#stream?.pause()
  }

  cancel (reason) {
    this.#leave()
    this.source.cancel(reason)
  }

  #leave () {
    this.#isOver = true
    this.#stream?.destroy()
  }

  #start (stream) {
    stream.on('data', (chunk) => this.#next.push(chunk))
    stream.on('drain', () => this.source.flow(true))
    stream.on('end', () => this.#next.end())
    stream.on('error', (error) => this.#broken(error))
    return stream
  }

  #broken (error) {
    this.#next.fail(new TypeError('terminated', { cause: error }))
    this.cancel(error)
  }
}

module.exports = { ACCEPTED, decode, encodingsOf }

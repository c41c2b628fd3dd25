'use strict'
// The platform's `Response`, whose headers and body are made when they are asked for: most callers want one of them, once.
const stream = require('node:stream')

/** @type {(stream: ReadableStream) => boolean} */
const isDisturbed = /** @type {any} */ (stream).isDisturbed

// What is overridden here is a field to the types.
/** @type {any} */
const PlatformResponse = Response
/** @type {any} */
const PlatformHeaders = Headers

const decoder = new TextDecoder()

/** Nobody will read what a lost response has not given out. Held weakly: an `Incoming` may know who holds the response. */
const lost = new FinalizationRegistry((incoming) => incoming.deref()?.abandon())

// To watch a response costs half of its request; most are read within the turn in which they come.
let fresh = []
const watchUnread = () => {
  for (const { response, incoming } of fresh) if (!incoming.isSpent) lost.register(response, new WeakRef(incoming))
  fresh = []
}

const watch = (response, incoming) => {
  if (fresh.length === 0) setImmediate(watchUnread)
  fresh.push({ response, incoming })
}

/** As fetch has it, the headers of an answer are not to be changed. */
class FetchHeaders extends PlatformHeaders {
  constructor (pairs) {
    super()
    for (let at = 0; at < pairs.length; at += 2) super.append(pairs[at], pairs[at + 1])
  }

  append () { throw new TypeError('immutable') }
  delete () { throw new TypeError('immutable') }
  set () { throw new TypeError('immutable') }
}

/** What is left of a body that was read without a stream. */
const spent = () => {
  const stream = new ReadableStream({ type: 'bytes', start: (controller) => controller.close() })
  stream.getReader().read()
  return stream
}

class FetchResponse extends PlatformResponse {
  #facts
  #headers
  /** What is still to be read of the body, until somebody asks for a stream. */
  #incoming
  #stream

  /** `facts`: `{ status, statusText, pairs, url, redirected }`, `pairs` being headers as they came. The body may be nothing. */
  constructor (facts, { incoming = undefined, stream = undefined }) {
    // Not with the status: that may be one which only servers are allowed.
    super(null)
    this.#facts = facts
    this.#incoming = incoming
    this.#stream = stream
    if (incoming !== undefined) watch(this, incoming)
  }

  get status () { return this.#facts.status }
  get statusText () { return this.#facts.statusText }
  get ok () { return this.#facts.status >= 200 && this.#facts.status <= 299 }
  get url () { return this.#facts.url }
  get redirected () { return this.#facts.redirected }
  get type () { return 'basic' }

  get headers () {
    this.#headers ??= new FetchHeaders(this.#facts.pairs)
    return this.#headers
  }

  get body () {
    if (this.#stream === undefined && this.#incoming !== undefined) {
      this.#stream = this.#incoming.isUsed ? spent() : this.#incoming.stream()
    }
    return this.#stream ?? null
  }

  get bodyUsed () {
    return (this.#incoming?.isUsed ?? false) || (this.#stream !== undefined && isDisturbed(this.#stream))
  }

  clone () {
    if (this.bodyUsed || this.#stream?.locked) throw new TypeError('Response.clone: Body has already been consumed.')
    const [mine, theirs] = this.body?.tee() ?? []
    this.#stream = mine
    return new FetchResponse(this.#facts, { stream: theirs })
  }

  async arrayBuffer () {
    const { buffer, byteOffset, byteLength } = await this.#bytes()
    return buffer.slice(byteOffset, byteOffset + byteLength)
  }

  // What a type is, of those that the headers name, is the platform's business.
  async blob () { return new Response(await this.#bytes(), { headers: this.headers }).blob() }
  async bytes () { return new Uint8Array(await this.arrayBuffer()) }
  async formData () { return new Response(await this.#bytes(), { headers: this.headers }).formData() }
  async json () { return JSON.parse(decoder.decode(await this.#bytes())) }
  async text () { return decoder.decode(await this.#bytes()) }

  #bytes () {
    if (this.bodyUsed || this.#stream?.locked) {
      return Promise.reject(new TypeError('Body is unusable: Body has already been read'))
    }
    if (this.#stream) return new Response(this.#stream).arrayBuffer().then((buffer) => new Uint8Array(buffer))
    return this.#incoming?.collect() ?? Promise.resolve(new Uint8Array(0))
  }
}

module.exports = { FetchResponse, isDisturbed }

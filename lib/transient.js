'use strict'
// A set and a map for what comes and goes with each request. V8's own are no good for that: the table of a set that has been
// there for a while is old, and so is each that takes its place; an outgrown one keeps what it held, and what an old one
// holds is not collected young.

/** Of objects, each with a field `transientIndex` that is the set's. */
class TransientSet {
  #members = []

  get size () { return this.#members.length }

  add (member) {
    member.transientIndex = this.#members.push(member) - 1
  }

  delete (member) {
    const index = member.transientIndex
    if (this.#members[index] !== member) return
    const last = this.#members.pop()
    if (last === member) return
    this.#members[index] = last
    last.transientIndex = index
  }

  [Symbol.iterator] () { return this.#members.values() }
}

/** From numbers, best of one row, to objects. */
class TransientMap {
  /** As many as a power of two; in each: number, object, number, object. */
  #buckets = [[]]
  #size = 0

  get size () { return this.#size }

  /** The number must not be there yet. */
  set (number, value) {
    if (this.#size === this.#buckets.length) this.#grow()
    this.#bucketOf(number).push(number, value)
    this.#size++
  }

  /** Takes out what that number has, if it has anything. */
  take (number) {
    const bucket = this.#bucketOf(number)
    const at = bucket.indexOf(number)
    if (at === -1) return undefined
    const value = bucket[at + 1]
    const lastValue = bucket.pop()
    const lastNumber = bucket.pop()
    if (at < bucket.length) {
      bucket[at] = lastNumber
      bucket[at + 1] = lastValue
    }
    this.#size--
    return value
  }

  /** In no order. */
  values () {
    return this.#buckets.flatMap((bucket) => bucket.filter((_, at) => at % 2 === 1))
  }

  #bucketOf (number) { return this.#buckets[number & (this.#buckets.length - 1)] }

  #grow () {
    const before = this.#buckets
    this.#buckets = Array.from({ length: 2 * before.length }, () => [])
    for (const bucket of before) {
      for (let at = 0; at < bucket.length; at += 2) this.#bucketOf(bucket[at]).push(bucket[at], bucket[at + 1])
    }
  }
}

module.exports = { TransientMap, TransientSet }

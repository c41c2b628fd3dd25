// The collections for what comes and goes with each request, beside the platform's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import v8 from 'node:v8'
import fc from 'fast-check'
import maps from '../lib/maps.js'
import transient from '../lib/transient.js'

const { TransientMap, TransientSet } = transient

const sorted = (values) => [...values].sort((a, b) => a.id - b.id)

test('TransientSet has what a Set has', () => {
  fc.assert(fc.property(fc.array(fc.nat(40)), (ids) => {
    const members = Array.from({ length: 41 }, (_, id) => ({ id, transientIndex: -1 }))
    const [ours, model] = [new TransientSet(), new Set()]
    for (const id of ids) {
      const kind = model.has(members[id]) ? 'delete' : 'add'
      for (const set of [ours, model]) set[kind](members[id])
      ours.delete({ transientIndex: 0 }) // which was never there
      assert.equal(ours.size, model.size)
      assert.deepEqual(sorted(ours), sorted(model))
    }
  }))
})

test('TransientMap has what a Map has', () => {
  // As of waiters, numbers begin beyond 32 bits, and are far from each other if the rest have gone.
  const number = fc.nat(200).map((n) => 2 ** 32 + n * (n % 3 === 0 ? 64 : 1))
  fc.assert(fc.property(fc.array(number, { maxLength: 300 }), (numbers) => {
    const [ours, model] = [new TransientMap(), new Map()]
    for (const id of numbers) {
      const value = { id }
      assert.equal(ours.take(id), model.get(id))
      if (!model.delete(id)) for (const map of [ours, model]) map.set(id, value)
      assert.equal(ours.size, model.size)
      assert.deepEqual(sorted(ours.values()), sorted(model.values()))
    }
  }))
})

test('removeFrom keeps the order of the rest, wherever it takes from', () => {
  fc.assert(fc.property(fc.nat(30), fc.nat(40), (length, item) => {
    const all = Array.from({ length: length + 1 }, (_, n) => n)
    const map = { name: [...all] }
    maps.removeFrom(map, 'name', item)
    const rest = all.filter((other) => other !== item)
    assert.deepEqual(map, rest.length > 0 ? { name: rest } : {})
  }))
})

test('what has come and gone is collected young', () => {
  const all = 30_000
  /** Bytes that grow old of `all` objects of about a kilobyte each, of which 50 are there at a time. */
  const growOld = (add, remove) => {
    const oldSpace = () => v8.getHeapSpaceStatistics().find((space) => space.space_name === 'old_space').space_used_size
    const members = []
    const pass = (id) => {
      const member = { id, transientIndex: -1, payload: new Array(125).fill(id) }
      members.push(member)
      add(member)
      if (members.length > 50) remove(members.shift())
    }
    for (let id = 0; id < 20; id++) pass(id)
    // What is there now grows old, as in a program that has had little to do.
    for (let n = 0; n < 60_000; n++) globalThis.litter = new Array(125).fill(n)
    let grown = 0
    for (let id = 20, before = oldSpace(); id < all; id++) {
      pass(id)
      if (id % 500 > 0) continue
      const now = oldSpace()
      grown += Math.max(0, now - before) // less: a full collection
      before = now
    }
    return grown
  }
  const limit = all * 1000 / 10
  const set = new TransientSet()
  assert.ok(growOld((member) => set.add(member), (member) => set.delete(member)) < limit)
  const map = new TransientMap()
  assert.ok(growOld((member) => map.set(member.id, member), (member) => map.take(member.id)) < limit)
})

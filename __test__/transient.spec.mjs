// The collections for what comes and goes with each request, beside the platform's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
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

'use strict'
// Node's maps of arrays: `sockets`, `freeSockets`, `requests`; and texts that come again and again.

const addTo = (map, name, item) => {
  const list = map[name]
  if (list === undefined) map[name] = [item]
  else list.push(item)
}

/** Takes `item` out of the list of that name, and an empty list out of the map. */
const removeFrom = (map, name, item) => {
  const list = map[name]
  if (list === undefined) return
  const at = list[0] === item ? 0 : list.lastIndexOf(item)
  if (at === -1) return
  if (at === 0) list.shift() // V8 moves the front of a long one, and not the rest
  else {
    // In order, as in Node, and without the array that `splice` makes.
    for (let next = at + 1; next < list.length; next++) list[next - 1] = list[next]
    list.pop()
  }
  if (list.length === 0) delete map[name]
}

/** The same where the order says nothing: the last one takes its place. */
const takeFrom = (map, name, item) => {
  const list = map[name]
  const at = list === undefined ? -1 : list.lastIndexOf(item)
  if (at === -1) return
  const last = list.pop()
  if (at < list.length) list[at] = last
  else if (at === 0) delete map[name]
}

/** The same text as the engine's property tables hold it: a made-up string is looked up there at every use. */
const interned = (name) => Object.keys({ [name]: 0 })[0]

/** What `make` answers for a text, which is kept for the next time; past `most`, all are forgotten. */
const remembering = (most, make) => {
  const known = new Map()
  return (text) => {
    let made = known.get(text)
    if (made === undefined) {
      made = make(text)
      if (known.size >= most) known.clear()
      known.set(text, made)
    }
    return made
  }
}

module.exports = { addTo, interned, remembering, removeFrom, takeFrom }

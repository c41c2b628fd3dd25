'use strict'
// Node's maps of arrays: `sockets`, `freeSockets`, `requests`.

const addTo = (map, name, item) => {
  const list = map[name]
  if (list === undefined) map[name] = [item]
  else list.push(item)
}

/** Takes `item` out of the list of that name, and an empty list out of the map. */
const removeFrom = (map, name, item) => {
  const list = map[name]
  if (list === undefined) return
  const at = list.lastIndexOf(item)
  if (at === -1) return
  if (at === list.length - 1) list.pop()
  else list.splice(at, 1)
  if (list.length === 0) delete map[name]
}

module.exports = { addTo, removeFrom }

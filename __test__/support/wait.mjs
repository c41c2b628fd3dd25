import { once } from 'node:events'

export { once }

/** Lets `count` turns of the loop pass: for events that must not come, never for events that must. */
export const turns = async (count = 5) => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Resolves as soon as `holds()` is true, asking once a turn; the test's own timeout bounds it. */
export const until = async (holds) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1))
}

/** A promise with its handles outside, for all Nodes from 20 on. */
export const deferred = () => {
  const handles = {}
  handles.promise = new Promise((resolve, reject) => Object.assign(handles, { resolve, reject }))
  return handles
}

/** Resolves with the rest of a readable as one Buffer. */
export const collect = async (readable) => {
  const chunks = []
  for await (const chunk of readable) chunks.push(chunk)
  return Buffer.concat(chunks)
}

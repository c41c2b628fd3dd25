// The Nodes that the lifecycle tests run on: `[{ version, path }]`.
import { existsSync } from 'node:fs'

const list = new URL('../../scripts/runtimes.mjs', import.meta.url)

const only = (reason) => {
  console.error(`# lifecycle tests run on ${process.version} only: ${reason}`)
  return [{ version: process.version, path: process.execPath }]
}

const find = async () => {
  if (process.env.HOLDFAST_RUNTIMES === 'current') return only('HOLDFAST_RUNTIMES=current')
  if (!existsSync(list)) return only('scripts/runtimes.mjs is not there')
  const { runtimes } = await import(list)
  return runtimes()
}

export const RUNTIMES = await find()

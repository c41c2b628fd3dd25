// Tests of one dispatcher against one server: holdfast's and, where it has an opinion, undici's own.
import { test } from 'node:test'
import undici from 'undici'
import { FetchAgent } from '../../index.mjs'
import { scripted } from './servers.mjs'

export const limits = { timeout: 20_000 }
const silent = () => scripted(() => {})

const forEach = (Agents) => (claim, run, { start = silent, options } = {}) => {
  for (const Agent of Agents) {
    const name = Agent === FetchAgent ? 'holdfast' : 'undici'
    test(`${claim} (${name})`, limits, async () => {
      const server = await start()
      const agent = new Agent(options)
      try {
        await run({ agent, server, origin: `http://127.0.0.1:${server.port}` })
      } finally {
        await agent.destroy()
        await server.stop()
      }
    })
  }
}

/** `run({ agent, origin, server })` with an agent of each kind and a server of its own. */
export const both = forEach([undici.Agent, FetchAgent])

/** The same with holdfast's alone. */
export const own = forEach([FetchAgent])

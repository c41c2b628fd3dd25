// Tests of one secured agent against one server that it trusts.
import { test } from 'node:test'
import { SecureAgentUnderTest, isHoldfast } from '../agents.mjs'
import { Authority } from './authority.mjs'

export const root = new Authority('holdfast test root')

/** Runs `body` with a server and an agent, and takes both down. */
export const withinSecured = (claim, starting, body, agentOptions) => {
  test(claim, { timeout: 30_000, skip: !isHoldfast && 'of holdfast alone' }, async () => {
    const server = await starting()
    const agent = new SecureAgentUnderTest({ ca: root.cert, servername: 'localhost', ...agentOptions })
    try {
      await body({ server, agent })
    } finally {
      agent.destroy()
      await server.stop()
    }
  })
}

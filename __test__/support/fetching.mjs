// Tests of holdfast's own fetch against one server.
import { test } from 'node:test'
import { createFetch } from '../../index.mjs'

/** Runs `body` with a server and a fetch of its own, and takes both down. */
export const withinFetch = (claim, start, body, { options, skip, timeout = 20_000 } = {}) => test(claim, { timeout, skip }, async () => {
  const server = await start()
  const own = createFetch(options)
  try {
    await body({ server, origin: `http://127.0.0.1:${server.port}`, own })
  } finally {
    await own.agent.destroy()
    await server.stop()
  }
})

// What a replay costs: the time that it adds to an exchange, against that of a whole exchange on a new connection.
import { once } from 'node:events'
import http, { createServer } from 'node:http'

const COUNT = 200

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]

/** Resolves with medians in milliseconds: `{ added, plain, ratio, count }`. */
export async function replayCost () {
  const { HttpAgent } = await import('../index.mjs')
  const seen = new WeakMap()
  const server = createServer((req, res) => {
    const number = (seen.get(req.socket) ?? 0) + 1
    seen.set(req.socket, number)
    if (req.url === '/broken' && number > 1) req.socket.resetAndDestroy()
    else res.end('ok')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const agent = new HttpAgent({ learnIdleTimeout: false, retry: { budget: { ratio: Infinity } } })
  const timed = async (path) => {
    const began = performance.now()
    const req = http.get({ host: '127.0.0.1', port: server.address().port, path, agent })
    const closed = once(req, 'close')
    const [res] = await once(req, 'response')
    await once(res.resume(), 'end')
    const took = performance.now() - began
    await closed
    return took
  }
  const plain = []
  const reused = []
  const replayed = []
  for (let n = 0; n < COUNT + 20; n++) {
    const round = [await timed('/'), await timed('/'), await timed('/broken')]
    agent.destroy()
    await new Promise((resolve) => setImmediate(resolve))
    if (n < 20) continue // until V8 has compiled what it will
    plain.push(round[0])
    reused.push(round[1])
    replayed.push(round[2])
  }
  agent.destroy()
  server.close()
  const added = median(replayed) - median(reused)
  return { added, plain: median(plain), ratio: added / median(plain), count: COUNT }
}

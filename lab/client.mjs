// One client in a process of its own: works off a scenario's plan against a port, and tells how it went.
import { setTimeout as sleep } from 'node:timers/promises'
import { CLIENTS, handshakes } from './clients.mjs'
import { seeded } from './seeded.mjs'

const { client, port, plan, after, seed, ca } = JSON.parse(process.argv[2])
const { method = 'GET', body = method === 'GET' ? 0 : 2, status = 200, headers = {}, deadline = 10_000 } = plan

process.once('disconnect', () => process.exit())

const random = seeded(seed)
const { send, replays = () => 0 } = await CLIENTS[client]({ ...plan.agent, ...ca && { ca } })
const told = { requests: 0, failures: 0, lateReplays: 0, codes: {}, evidence: {}, replays: 0, handshakes }
let earlyReplays = 0
let nextId = 0

const kinds = { steady, waves }
await kinds[plan.kind]()
told.replays = replays()
told.lateReplays = told.replays - earlyReplays
process.send(told, () => process.exit())

/** Each worker sends one request after the other, with pauses. */
async function steady () {
  const { requests, concurrency = 1, gap } = plan
  let left = requests
  const worker = async () => {
    while (left-- > 0) {
      await exchange()
      if (gap) await sleep(gap[0] + random() * (gap[1] - gap[0]))
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
}

/** As many requests at once as there shall be connections; then something happens; then as many again. */
async function waves () {
  const { connections, then = connections, between } = plan
  await Promise.all(Array.from({ length: connections }, exchange))
  if (between.block) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, between.block)
  else if (between.wait !== undefined) await sleep(between.wait)
  else {
    const done = new Promise((resolve) => process.once('message', resolve))
    process.send({ between })
    await done
  }
  await Promise.all(Array.from({ length: then }, exchange))
}

async function exchange () {
  const id = nextId++
  const request = { port, method, headers: { ...headers, 'X-Id': id }, signal: AbortSignal.timeout(deadline) }
  if (body > 0) Object.assign(request, { body: Buffer.alloc(body, 'x') }, { headers: { ...request.headers, 'Content-Length': body } })
  try {
    const answer = await send(request)
    if (answer.status !== status || answer.text === 'poison') throw Object.assign(new Error('not its answer'), { code: 'WRONG_ANSWER' })
  } catch (error) {
    told.failures++
    const code = request.signal.aborted ? 'HUNG' : error.code ?? error.name
    told.codes[code] = (told.codes[code] ?? 0) + 1
    if (error.evidence) told.evidence[error.evidence] = (told.evidence[error.evidence] ?? 0) + 1
  }
  if (++told.requests === after) earlyReplays = replays()
}

// What is measured of fetch and of undici's callers: `plan.via` says which, `plan.client` over what.
import { CEILING } from './cases.mjs'
import { ceilingDispatcher } from './ceiling.mjs'
import { closedLoop, transfers } from './measuring.mjs'

const CHUNK = new Uint8Array(64 * 1024)

/** `(url, init) => Promise<Response>` of the platform's kind, or a look-alike. */
async function caller ({ via, client, inFlight, ca }) {
  const { FetchAgent, createFetch } = await import('../index.mjs')
  if (via === 'own fetch' && client === 'holdfast') return createFetch({ connections: inFlight })
  if (!via.endsWith('request')) {
    const dispatchers = { holdfast: () => new FetchAgent({ connections: inFlight }), [CEILING]: () => ceilingDispatcher }
    const dispatcher = dispatchers[client]?.()
    return (url, init) => fetch(url, { ...init, ...dispatcher && { dispatcher } })
  }
  const { Pool, request } = await import('undici')
  // Of HTTP/2 one connection is enough for either.
  const options = ca ? { connections: 1, allowH2: true, connect: { ca } } : { connections: inFlight }
  let dispatcher = client === 'holdfast' ? new FetchAgent(options) : undefined
  return async (url) => {
    dispatcher ??= new Pool(new URL(url).origin, options)
    const { statusCode, body } = await request(url, { dispatcher })
    return { status: statusCode, text: () => body.text() }
  }
}

export async function fetching (plan) {
  const call = await caller(plan)
  const at = (path) => `${plan.ca ? 'https' : 'http'}://127.0.0.1:${plan.port}${path}`

  const get = () => (ms) => closedLoop(ms, plan.inFlight, async () => {
    const res = await call(at('/small'))
    if (res.status !== 200) throw new Error(`HTTP ${res.status}`)
    await res.text()
  })

  const download = () => (ms) => transfers(ms, plan.size, async () => {
    let bytes = 0
    for await (const chunk of (await call(at('/download'))).body) bytes += chunk.length
    if (bytes !== plan.size) throw new Error(`got ${bytes} of ${plan.size} bytes`)
  })

  const upload = () => (ms) => transfers(ms, plan.size, async () => {
    let left = plan.size
    const body = new ReadableStream({
      pull (controller) {
        if (left === 0) return controller.close()
        left -= CHUNK.length
        controller.enqueue(CHUNK)
      }
    })
    const res = await call(at('/upload'), { method: 'POST', body, duplex: 'half' })
    await res.text()
    if (!(Number(res.headers.get('x-request-length')) > plan.size)) throw new Error('nginx did not read all')
  })

  return { get, download, upload }
}

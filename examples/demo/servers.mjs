// The demo's servers, in a worker thread: they must keep time, and close, while the client's loop is blocked.
import http from 'node:http'
import net from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

export const SCENARIOS = [
  {
    name: 'idle timeout',
    about: 'a Node server with a short keepAliveTimeout',
    // No Keep-Alive hint goes out, as behind most proxies and load balancers.
    idleMs: 300
  },
  { name: 'silent close', about: 'closes right after each answer, without Connection: close' },
  { name: 'idle reset', about: 'resets a connection that was idle for 400 ms', idleMs: 400 },
  { name: 'forgotten', about: 'resets the first byte after 500 ms idle, like a load balancer that forgot', idleMs: 500 }
]

const BODY = 'holdfast demo\n'
const ANSWER = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`

/** Milliseconds on the one clock that all threads share; `performance` has an origin per thread. */
export const now = () => Number(process.hrtime.bigint()) / 1e6

/** Starts one server per lane and scenario; `ports[i]` belongs to `lanes[i]`. */
export async function startServers (lanes) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { demoLanes: lanes.map((lane) => lane.scenario) } })
  const { ports } = await once(worker)
  return {
    ports,
    /** What each server saw: connection events, when it closed each connection, how often it executed each request. */
    async report () {
      worker.postMessage('report')
      return (await once(worker)).ledgers
    },
    stop: () => worker.terminate()
  }
}

function once (worker) {
  return new Promise((resolve, reject) => {
    const settle = (act) => (value) => {
      worker.off('message', onMessage)
      worker.off('error', onError)
      act(value)
    }
    const onMessage = settle(resolve)
    const onError = settle(reject)
    worker.on('message', onMessage)
    worker.on('error', onError)
  })
}

class Ledger {
  events = []
  executed = new Map()
  closedAt = new Map()

  execute (id) {
    this.executed.set(id, (this.executed.get(id) ?? 0) + 1)
  }

  watch (socket) {
    const { remotePort } = socket
    let ended = false
    socket.setNoDelay(true)
    this.events.push({ at: now(), kind: 'open' })
    socket.on('end', () => { ended = true })
    socket.on('error', () => {}) // a client that went away is counted by its close
    socket.on('close', () => {
      const at = socket.closedAt ?? now()
      this.closedAt.set(remotePort, at)
      this.events.push({ at, kind: 'close', byServer: !ended })
    })
  }
}

const makers = {
  'idle timeout': ({ idleMs }, ledger) => {
    const server = http.createServer((req, res) => {
      req.resume()
      req.on('end', () => {
        ledger.execute(req.headers['x-demo-id'])
        res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': BODY.length, Connection: 'keep-alive' })
        res.end(BODY)
      })
    })
    server.keepAliveTimeout = idleMs // Node adds a second of its own
    server.on('connection', (socket) => ledger.watch(socket))
    return server
  },
  'silent close': (_, ledger) => rawServer(ledger, {
    // Not end(): its FIN waits for the next turn of this loop, and requests would cross it.
    answered: (socket) => close(socket, 'destroy')
  }),
  'idle reset': ({ idleMs }, ledger) => rawServer(ledger, {
    answered (socket) {
      socket.idleTimer = setTimeout(() => close(socket, 'resetAndDestroy'), idleMs)
    },
    data (socket) {
      clearTimeout(socket.idleTimer)
    }
  }),
  forgotten: ({ idleMs }, ledger) => rawServer(ledger, {
    answered (socket) {
      socket.idleSince = now()
    },
    data (socket) {
      if (now() - (socket.idleSince ?? Infinity) > idleMs) close(socket, 'resetAndDestroy')
    }
  })
}

function close (socket, how) {
  socket.closedAt = now()
  socket[how]()
}

/** Just enough HTTP to answer one whole request at a time. */
function rawServer (ledger, { answered, data = () => {} }) {
  return net.createServer((socket) => {
    ledger.watch(socket)
    let text = ''
    socket.setEncoding('latin1')
    socket.on('close', () => clearTimeout(socket.idleTimer))
    socket.on('data', (chunk) => {
      text += chunk
      const request = parse(text)
      data(socket)
      if (socket.closedAt || !request.complete) return
      text = ''
      ledger.execute(request.id)
      socket.write(ANSWER)
      answered(socket)
    })
  })
}

function parse (text) {
  const id = /^x-demo-id: (\S+)\r$/im.exec(text)?.[1]
  const headEnd = text.indexOf('\r\n\r\n')
  if (headEnd < 0) return { id, complete: false }
  const length = Number(/^content-length: (\d+)\r$/im.exec(text)?.[1] ?? 0)
  return { id, complete: text.length >= headEnd + 4 + length }
}

async function serve (scenarioNames) {
  const ledgers = scenarioNames.map(() => new Ledger())
  const ports = await Promise.all(scenarioNames.map((name, i) => new Promise((resolve, reject) => {
    const scenario = SCENARIOS.find((candidate) => candidate.name === name)
    const server = makers[name](scenario, ledgers[i])
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => resolve(server.address().port))
  })))
  parentPort.on('message', () => {
    parentPort.postMessage({ ledgers: ledgers.map((ledger) => ({ ...ledger })) })
  })
  parentPort.postMessage({ ports })
}

if (!isMainThread && workerData?.demoLanes) await serve(workerData.demoLanes)

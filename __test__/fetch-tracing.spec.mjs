// Tracing: undici's channels, and OpenTelemetry's instrumentation for undici, which lives on them.
import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { test } from 'node:test'
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import undici from 'undici'
import { FetchAgent } from '../index.mjs'
import { httpServer, refusedPort } from './support/servers.mjs'
import { collect } from './support/wait.mjs'

const limits = { timeout: 20_000 }
const CHANNELS = ['request:create', 'request:bodySent', 'request:headers', 'request:trailers', 'request:error',
  'client:beforeConnect', 'client:connected', 'client:connectError', 'client:sendHeaders']

const serving = () => httpServer(async (req, res) => res.end(await collect(req)))

/** Everything that the channels tell while `work` runs: `[name, the message's fields, what was in them]`. */
const heard = async (work) => {
  const messages = []
  const requests = new Set()
  const listeners = CHANNELS.map((name) => {
    const listener = (message) => {
      if (message.request) requests.add(message.request)
      messages.push([name, Object.keys(message).sort().join(), {
        request: message.request && [message.request.method, message.request.path, message.request.origin],
        status: message.response?.statusCode,
        port: message.connectParams && message.connectParams.protocol,
        error: message.error?.code,
        remote: message.socket?.remoteAddress
      }])
    }
    subscribe(`undici:${name}`, listener)
    return [`undici:${name}`, listener]
  })
  try {
    await work()
  } finally {
    for (const [name, listener] of listeners) unsubscribe(name, listener)
  }
  return { messages, requests: requests.size }
}

const sides = async (work) => {
  const outcomes = []
  for (const Agent of [undici.Agent, FetchAgent]) {
    const agent = new Agent({ connections: 1 })
    outcomes.push(await heard(() => work(agent)))
    await agent.destroy()
  }
  return outcomes
}

test('channels_tell_what_undicis_own_agent_tells', limits, async () => {
  const server = await serving()
  try {
    const [theirs, ours] = await sides(async (dispatcher) => {
      for (const body of [undefined, 'hello']) {
        const res = await undici.request(`http://127.0.0.1:${server.port}/a?b`, { dispatcher, method: body ? 'POST' : 'GET', body })
        await res.body.text()
      }
    })
    assert.deepEqual(ours.messages, theirs.messages)
    assert.equal(ours.requests, theirs.requests)
  } finally {
    await server.stop()
  }
})

test('channels_tell_of_a_connection_that_is_refused', limits, async () => {
  const port = await refusedPort()
  const [theirs, ours] = await sides((dispatcher) => undici.request(`http://127.0.0.1:${port}/`, { dispatcher }).catch(() => {}))
  const names = ({ messages }) => messages.map(([name, , { error }]) => `${name} ${error}`).sort()
  assert.deepEqual(names(ours), names(theirs))
})

test('opentelemetry_makes_a_span_and_sends_its_traceparent', limits, async () => {
  const exporter = new InMemorySpanExporter()
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  provider.register()
  const instrumentation = new UndiciInstrumentation()
  instrumentation.setTracerProvider(provider)
  instrumentation.enable()
  const parents = []
  const server = await httpServer((req, res) => {
    parents.push(req.headers.traceparent)
    res.end('ok')
  })
  const agent = new FetchAgent()
  try {
    for (let n = 0; n < 2; n++) await (await fetch(`http://127.0.0.1:${server.port}/traced`, { dispatcher: agent })).text()
    const spans = exporter.getFinishedSpans()
    assert.equal(spans.length, 2)
    for (const [n, span] of spans.entries()) {
      assert.equal(span.name, 'GET')
      assert.equal(span.attributes['http.response.status_code'], 200)
      assert.equal(span.attributes['network.peer.address'], '127.0.0.1')
      assert.equal(span.attributes['network.peer.port'], server.port)
      assert.match(parents[n], new RegExp(span.spanContext().spanId))
    }
  } finally {
    instrumentation.disable()
    await agent.destroy()
    await server.stop()
    await provider.shutdown()
  }
})

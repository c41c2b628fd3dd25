// Each client of the wild, reduced to one call: `send({ agent, url, method, body })` resolves with the body's text.
import http from 'node:http'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import axios from 'axios'
import followRedirects from 'follow-redirects'
import got from 'got'
import httpProxy from 'http-proxy'
import needle from 'needle'
import fetch3 from 'node-fetch'
import fetch2 from 'node-fetch-2'
import superagent from 'superagent'
import { httpServer } from './servers.mjs'
import { collect } from './wait.mjs'

const text = async (res) => {
  if (res.statusCode !== 200) throw new Error(`status ${res.statusCode}`)
  return (await collect(res)).toString()
}

const fetched = (fetch) => async ({ agent, url, method, body }) => {
  const res = await fetch(url, { agent, method, body })
  if (!res.ok) throw new Error(`status ${res.status}`)
  return res.text()
}

const requested = (request, options) => ({ agent, url, method, body }) => new Promise((resolve, reject) => {
  const req = request(url, { ...options(agent), method }, (res) => text(res).then(resolve, reject))
  req.on('error', reject).end(body)
})

export const CLIENTS = {
  'http.request': requested(http.request, (agent) => ({ agent })),
  'follow-redirects': requested(followRedirects.http.request, (agent) => ({ agents: { http: agent } })),
  'node-fetch 2': fetched(fetch2),
  'node-fetch 3': fetched(fetch3),
  axios: async ({ agent, url, method, body }) => {
    const options = { url, method, data: body, httpAgent: agent, proxy: false, responseType: 'text' }
    return (await axios.request(options)).data
  },
  got: async ({ agent, url, method, body }) =>
    (await got(url, { agent: { http: agent }, method, body, retry: { limit: 0 } })).body,
  superagent: async ({ agent, url, method, body }) => {
    const res = await superagent(method, url).agent(agent).type('text/plain').buffer(true).send(body)
    return res.text
  },
  needle: async ({ agent, url, method, body }) => {
    const res = await needle(method.toLowerCase(), url, body ?? null, { agent, parse: false, follow_max: 3 })
    if (res.statusCode !== 200) throw new Error(`status ${res.statusCode}`)
    return res.body.toString()
  },
  '@smithy/node-http-handler': async ({ agent, url, method, body }) => {
    const { protocol, hostname, port, pathname: path } = new URL(url)
    const handler = new NodeHttpHandler({ httpAgent: agent })
    const headers = body ? { 'content-length': String(body.length) } : {}
    const { response } = await handler.handle({ protocol, hostname, port: Number(port), path, method, headers, body })
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
    return (await collect(response.body)).toString()
  },
  'http-proxy': async ({ agent, url, method, body }) => {
    const { origin, pathname } = new URL(url)
    const proxy = httpProxy.createProxyServer({ target: origin, agent })
    const front = await httpServer((req, res) => proxy.web(req, res, {}, (error) => res.writeHead(502).end(error.code)))
    try {
      const at = `http://127.0.0.1:${front.port}${pathname}`
      return await requested(http.request, () => ({}))({ url: at, method, body })
    } finally {
      await front.stop()
    }
  },
}

/** Those that follow a redirect by themselves. */
export const FOLLOWING = new Set([
  'follow-redirects', 'node-fetch 2', 'node-fetch 3', 'axios', 'got', 'superagent', 'needle'
])

// Proxies: tinyproxy and microsocks from Debian, and one in this process that says what it was asked.
import net from 'node:net'
import { startDaemon } from './daemon.mjs'
import { httpServer } from './servers.mjs'
import { secureServer } from './tls/servers.mjs'

const tinyproxyConfig = ({ port, credentials }) => `
Port ${port}
Listen 127.0.0.1
Timeout 60
MaxClients 50
Allow 127.0.0.1
LogLevel Critical
${credentials ? `BasicAuth ${credentials.user} ${credentials.password}` : ''}
`

export const tinyproxy = (credentials) => startDaemon({
  command: 'tinyproxy',
  files: (where) => ({ 'tinyproxy.conf': tinyproxyConfig({ ...where, credentials }) }),
  args: ({ folder }) => ['-d', '-c', `${folder}/tinyproxy.conf`]
})

export const microsocks = (credentials) => startDaemon({
  command: 'microsocks',
  args: ({ port }) => ['-i', '127.0.0.1', '-p', String(port), ...credentials ? ['-u', credentials.user, '-P', credentials.password] : []]
})

const forward = (req, res) => {
  res.setHeader('X-Asked', `${req.method} ${req.url}`)
  res.setHeader('X-Headers', JSON.stringify(req.headers))
  req.resume()
  res.end('from the proxy')
}

/** Has `server` open tunnels to anywhere on the loopback; `told(req)` hears of each. */
export const openTunnels = (server, told) => server.on('connect', (req, client, head) => {
  told(req)
  const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(req.url)
  const target = net.connect(Number(port), host === 'localhost' ? '127.0.0.1' : host, () => {
    client.write('HTTP/1.1 200 Connection established\r\n\r\n')
    target.write(head)
    client.pipe(target).pipe(client)
  })
  const stop = () => { client.destroy(); target.destroy() }
  client.on('error', stop).on('close', stop)
  target.on('error', stop).on('close', stop)
})

/**
 * In this process: `asked` has the targets of its tunnels. With an identity it speaks TLS itself; with an `answer` it gives
 * that and opens nothing.
 */
export const ownProxy = async (identity, { answer } = {}) => {
  const server = await (identity ? secureServer(identity, forward) : httpServer(forward))
  server.asked = []
  const note = ({ url: target, headers }) => server.asked.push({ target, headers })
  if (answer === undefined) return openTunnels(server, note)
  return server.on('connect', (req, client) => {
    note(req)
    client.on('error', () => {}).end(answer)
  })
}

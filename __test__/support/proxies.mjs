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

/** In this process: `asked` has the targets of its tunnels. With an identity it speaks TLS itself. */
export const ownProxy = async (identity, { answer } = {}) => {
  const server = await (identity ? secureServer(identity, forward) : httpServer(forward))
  server.asked = []
  server.on('connect', (req, client, head) => {
    server.asked.push({ target: req.url, headers: req.headers })
    client.on('error', () => {})
    if (answer !== undefined) return client.end(answer)
    const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(req.url)
    const target = net.connect(Number(port), host === 'localhost' || host.endsWith('.test') ? '127.0.0.1' : host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      target.write(head)
      client.pipe(target).pipe(client)
    })
    const stop = () => { client.destroy(); target.destroy() }
    client.on('error', stop).on('close', stop)
    target.on('error', stop).on('close', stop)
  })
  return server
}

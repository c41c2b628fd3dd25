// Servers that people run, each of which closes connections after a second of idleness without being asked. `started`
// resolves with `{ port, executed, stop }`; `executed()` has a line with method and id for each request it executed.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import express from 'express'
import { startDaemon } from './daemon.mjs'
import { startNginx } from './nginx.mjs'
import { httpServer } from './servers.mjs'

const BACKLOG = 1024

const logged = ({ port, folder, stop }) => ({
  port,
  executed: async () => (await readFile(join(folder, 'requests.log'), 'utf8')).trim().split('\n'),
  stop
})

const counting = async (handler, options) => {
  const lines = []
  const server = await httpServer((req, res) => {
    req.resume().on('end', () => {
      lines.push(`${req.method} ${req.headers['x-id']}`)
      handler(req, res)
    })
  }, { listen: { port: 0, host: '127.0.0.1', backlog: BACKLOG }, ...options })
  return { port: server.port, executed: async () => lines, stop: server.stop }
}

const answer = (req, res) => res.end('ok')

const haproxy = async () => {
  const backend = await counting(answer, {})
  const proxy = await startDaemon({
    command: 'haproxy',
    files: ({ port }) => ({
      'haproxy.cfg': `
global
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  timeout http-keep-alive 1s
frontend all
  bind 127.0.0.1:${port} backlog ${BACKLOG}
  default_backend node
backend node
  server node 127.0.0.1:${backend.port}
`
    }),
    args: () => ['-db', '-f', 'haproxy.cfg']
  }).catch(async (error) => {
    await backend.stop()
    throw error
  })
  const stop = async () => {
    await proxy.stop()
    await backend.stop()
  }
  return { port: proxy.port, executed: backend.executed, stop }
}

const apache = async () => logged(await startDaemon({
  command: 'apache2',
  files: ({ folder, port }) => ({
    'www/index.html': 'ok',
    'apache2.conf': `
ServerName localhost
ServerRoot ${folder}
PidFile ${folder}/apache2.pid
DefaultRuntimeDir ${folder}
Mutex file:${folder} default
ErrorLog ${folder}/error.log
Listen 127.0.0.1:${port}
ListenBacklog ${BACKLOG}
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
StartServers 2
ThreadsPerChild 64
MaxRequestWorkers 512
ServerLimit 8
User nobody
Group nogroup
DocumentRoot ${folder}/www
DirectoryIndex index.html
KeepAlive On
KeepAliveTimeout 1
MaxKeepAliveRequests 3
LogFormat "%m %{X-Id}i" id
CustomLog ${folder}/requests.log id
<Directory ${folder}/www>
  Require all granted
</Directory>
`
  }),
  args: ({ folder }) => ['-D', 'FOREGROUND', '-f', `${folder}/apache2.conf`]
}))

const gunicorn = async () => logged(await startDaemon({
  command: 'gunicorn',
  files: () => ({
    'app.py': `
log = open("requests.log", "a", buffering=1)
def app(environ, start):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    log.write(environ["REQUEST_METHOD"] + " " + environ["HTTP_X_ID"] + "\\n")
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
`
  }),
  args: ({ port }) => ['--bind', `127.0.0.1:${port}`, '--backlog', String(BACKLOG), '--worker-class', 'gthread', '--threads', '32',
    '--worker-connections', '2000', '--keep-alive', '1', 'app:app']
}))

const overExpress = async () => {
  const app = express()
  app.all('/', answer)
  return counting(app, { keepAliveTimeout: 1000, maxRequestsPerSocket: 5 })
}

export const REAL_SERVERS = {
  nginx: async () => logged(await startNginx()),
  haproxy,
  apache,
  node: () => counting(answer, { keepAliveTimeout: 1000 }),
  express: overExpress,
  gunicorn
}

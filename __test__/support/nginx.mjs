// nginx on a free port of the loopback, with its own folder, killed by its id.
import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { refusedPort } from './servers.mjs'

const config = ({ folder, port }) => `
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  keepalive_timeout 1s;
  keepalive_requests 3;
  server {
    listen 127.0.0.1:${port};
    location = /redirect { return 302 http://127.0.0.1:${port}/; }
    location / { default_type text/plain; return 200 "$connection $connection_requests"; }
  }
}
`

const answers = (port) => new Promise((resolve) => {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('connect', () => { socket.destroy(); resolve(true) })
  socket.on('error', () => resolve(false))
})

/** Resolves with `{ port, stop }`. */
export const startNginx = async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-nginx-'))
  const port = await refusedPort()
  await writeFile(join(folder, 'nginx.conf'), config({ folder, port }))
  const path = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`
  const child = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, PATH: path } })
  const kill = () => child.kill()
  process.once('exit', kill)
  let said = ''
  let failure
  child.stderr.on('data', (chunk) => { said += chunk })
  child.on('error', (error) => { failure = error })
  child.on('exit', (code) => { failure ??= new Error(`nginx ended with ${code}: ${said}`) })
  while (!failure && !await answers(port)) await new Promise((resolve) => setTimeout(resolve, 5))
  if (failure) {
    await rm(folder, { recursive: true })
    if (failure.code === 'ENOENT') throw new Error('nginx is missing: apt-get install nginx-light')
    throw new Error(`${failure.message} ${await readFile(join(folder, 'error.log'), 'utf8').catch(() => '')}`)
  }
  const stop = async () => {
    const ended = once(child, 'exit')
    process.removeListener('exit', kill)
    child.kill()
    await ended
    await rm(folder, { recursive: true })
  }
  return { port, stop }
}

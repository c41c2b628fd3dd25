// nginx on a free loopback port with a config of its own, in a temporary folder that goes with it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { MIB } from './cases.mjs'

const SEARCH_PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`

/** Starts nginx; `stop()` ends it and removes its folder. `size` is the download's, and the most an upload may have. */
export async function startNginx ({ size }) {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-'))
  await chmod(folder, 0o755) // as root, nginx's worker runs as nobody
  try {
    await mkdir(join(folder, 'www'))
    await writeSparse(join(folder, 'www', 'download'), size)
    const port = await freePort()
    const config = join(folder, 'nginx.conf')
    await writeFile(config, configuration({ folder, port, size }))
    const child = spawn('nginx', ['-p', folder, '-c', config, '-e', join(folder, 'error.log')], {
      stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, PATH: SEARCH_PATH }
    })
    const stop = () => stopChild(child, folder)
    await Promise.race([untilAnswers(port), failed(child)]).catch(async (error) => {
      await stop()
      throw error
    })
    return { port, stop }
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

// `return` answers before the body was read. An upload therefore goes through a proxy that buffers the whole body in
// memory and passes none of it on: the answer comes after the last byte, and says how many nginx has read.
const configuration = ({ folder, port, size }) => `
daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid ${folder}/nginx.pid;
events { worker_connections 4096; multi_accept on; }
http {
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  client_max_body_size 0;
  default_type text/plain;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    root ${folder}/www;
    location = /small { return 200 "Hello from nginx, in a few bytes.\\n"; }
    location = /download { }
    location = /upload {
      client_body_buffer_size ${size + MIB};
      proxy_pass http://127.0.0.1:${port}/small;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_method GET;
      add_header X-Request-Length $request_length;
    }
  }
}
`

async function writeSparse (path, size) {
  const file = await open(path, 'w')
  await file.truncate(size)
  await file.close()
}

export async function freePort () {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

async function untilAnswers (port) {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (await answers(port)) return
    await sleep(50)
  }
  throw new Error(`nginx did not answer on port ${port}`)
}

function answers (port) {
  return new Promise((resolve) => {
    const req = http.get({ host: '127.0.0.1', port, path: '/small', agent: false }, (res) => {
      res.resume()
      resolve(res.statusCode === 200)
    })
    req.on('error', () => resolve(false))
  })
}

async function failed (child) {
  const [reason] = await Promise.race([
    once(child, 'exit').then(([code]) => [new Error(`nginx ended with code ${code}`)]),
    new Promise((resolve) => child.once('error', (error) => resolve([error])))
  ])
  if (reason.code !== 'ENOENT') throw reason
  throw new Error('the benchmark needs nginx: apt-get install nginx-light', { cause: reason })
}

async function stopChild (child, folder) {
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  await rm(folder, { recursive: true, force: true })
}

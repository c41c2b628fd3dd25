// nginx on a free loopback port with a config of its own, in a temporary folder that goes with it.
import { truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { startDaemon } from '../__test__/support/daemon.mjs'
import { MIB } from './cases.mjs'

// A body that is kept in memory would be new memory each time, and an upload's speed that of the server's page faults, which
// are half of its time: glibc keeps what was freed.
const KEEPS_MEMORY = { GLIBC_TUNABLES: 'glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=8589934592' }

/**
 * Starts nginx; `stop()` ends it and removes its folder. `size` is the download's, and the most an upload may have. With
 * an `identity` (`{ key, cert }`) it speaks TLS.
 */
export async function startNginx ({ size, identity }) {
  const nginx = await startDaemon({
    command: 'nginx',
    from: 'nginx-light',
    env: KEEPS_MEMORY,
    files: ({ folder, port }) => ({
      'nginx.conf': configuration({ folder, port, size, isSecure: Boolean(identity) }),
      'www/download': '',
      ...identity && { 'key.pem': identity.key, 'cert.pem': identity.cert }
    }),
    args: ({ folder }) => ['-p', folder, '-c', `${folder}/nginx.conf`, '-e', `${folder}/error.log`]
  })
  await truncate(join(nginx.folder, 'www', 'download'), size) // sparse
  return nginx
}

// `return` answers before the body was read. An upload therefore goes through a proxy that buffers the whole body in
// memory and passes none of it on: the answer comes after the last byte, and says how many nginx has read.
const configuration = ({ folder, port, size, isSecure }) => `
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
    listen 127.0.0.1:${port} ${isSecure ? 'ssl http2 ' : ''}backlog=4096;
    ${isSecure ? `ssl_certificate ${folder}/cert.pem; ssl_certificate_key ${folder}/key.pem;` : ''}
    ${isSecure ? 'ssl_session_cache shared:all:10m; ssl_session_tickets on; proxy_ssl_verify off;' : ''}
    root ${folder}/www;
    location = /small { return 200 "Hello from nginx, in a few bytes.\\n"; }
    location = /download { }
    location = /upload {
      client_body_buffer_size ${size + MIB};
      proxy_pass ${isSecure ? 'https' : 'http'}://127.0.0.1:${port}/small;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_method GET;
      add_header X-Request-Length $request_length;
    }
  }
}
`

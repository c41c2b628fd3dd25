// nginx that closes connections after a second of idleness, and after three requests.
import { startDaemon } from './daemon.mjs'

const config = ({ folder, port }) => `
daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  log_format id "$request_method $http_x_id";
  access_log ${folder}/requests.log id;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  keepalive_timeout 1s;
  keepalive_requests 3;
  server {
    listen 127.0.0.1:${port} backlog=1024;
    location = /redirect { return 302 http://127.0.0.1:${port}/; }
    location / { default_type text/plain; return 200 "$connection $connection_requests"; }
  }
}
`

/** Resolves with `{ port, folder, stop }`; `requests.log` has the method and the `X-Id` of each request. */
export const startNginx = () => startDaemon({
  command: 'nginx',
  from: 'nginx-light',
  files: (where) => ({ 'nginx.conf': config(where) }),
  args: ({ folder }) => ['-p', folder, '-c', `${folder}/nginx.conf`, '-e', `${folder}/error.log`]
})

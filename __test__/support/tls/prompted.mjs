// OpenSSL's own server, which does what it is told on its standard input: Node's cannot ask for new keys.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** `say(text)` goes to the client, but for a line that is a command; `heard(pattern)` waits for what it prints. */
export const promptedServer = async ({ key, cert }) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-prompted-'))
  writeFileSync(join(folder, 'key.pem'), key)
  writeFileSync(join(folder, 'cert.pem'), cert)
  const child = spawn('openssl', ['s_server', '-accept', '127.0.0.1:0', '-key', 'key.pem', '-cert', 'cert.pem', '-msg'], { cwd: folder })
  let printed = ''
  let waiting = []
  child.stdout.on('data', (chunk) => {
    printed += chunk
    waiting = waiting.filter(({ pattern, resolve }) => {
      const found = pattern.exec(printed)
      if (!found) return true
      printed = printed.slice(found.index + found[0].length)
      resolve(found)
      return false
    })
  })
  const heard = (pattern) => new Promise((resolve) => {
    waiting.push({ pattern, resolve })
    child.stdout.emit('data', '')
  })
  const [, port] = await heard(/ACCEPT 127\.0\.0\.1:(\d+)/)
  return {
    host: '127.0.0.1',
    port: Number(port),
    say: (text) => child.stdin.write(text),
    heard,
    async stop () {
      const ended = once(child, 'exit')
      child.kill()
      await ended
      rmSync(folder, { recursive: true })
    }
  }
}

// A self-signed certificate for localhost, made by the openssl command line when a test asks for one.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const certificate = () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-cert-'))
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  try {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
      '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=localhost',
      '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'], { stdio: 'pipe' })
    return { key: readFileSync(key), cert: readFileSync(cert) }
  } catch (error) {
    if (error.code === 'ENOENT') throw new Error('the openssl command is missing: apt-get install openssl')
    throw error
  } finally {
    rmSync(folder, { recursive: true })
  }
}

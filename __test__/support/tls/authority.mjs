// Certificates for tests, made by the openssl command line: authorities, what they sign, and what they revoke.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const EC = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
const RSA_WEAK = ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024']

const CONFIG = `
[ca]
default_ca = it
[it]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
default_days = 30
default_crl_days = 30
policy = anything
copy_extensions = copy
unique_subject = no
[anything]
commonName = optional
[req]
distinguished_name = name
[name]
`

const DAY = 86_400_000
const stamp = (time) => `${new Date(time).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`

const folders = new Set()
process.on('exit', () => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })))

const folder = () => {
  const made = mkdtempSync(join(tmpdir(), 'holdfast-cert-'))
  folders.add(made)
  return made
}

const openssl = (cwd, ...args) => {
  try {
    return execFileSync('openssl', args, { cwd, stdio: 'pipe' })
  } catch (error) {
    if (error.code === 'ENOENT') throw new Error('the openssl command is missing: apt-get install openssl')
    throw error
  }
}

const newKey = (cwd, isWeak) => openssl(cwd, 'genpkey', ...isWeak ? RSA_WEAK : EC, '-out', 'key.pem')

/** One that signs; `parent` signs it, or it signs itself. */
export class Authority {
  #folder = folder()

  constructor (name, parent) {
    const at = (file) => join(this.#folder, file)
    writeFileSync(at('index.txt'), '')
    writeFileSync(at('serial'), '1000')
    writeFileSync(at('config'), CONFIG)
    newKey(this.#folder)
    openssl(this.#folder, 'req', '-new', '-config', 'config', '-key', 'key.pem', '-out', 'request.pem', '-subj', `/CN=${name}`,
      '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign')
    if (parent) writeFileSync(at('cert.pem'), parent.sign(readFileSync(at('request.pem'))))
    else {
      openssl(this.#folder, 'ca', '-config', 'config', '-batch', '-notext', '-selfsign', '-keyfile', 'key.pem',
        '-in', 'request.pem', '-out', 'cert.pem')
    }
    this.cert = readFileSync(at('cert.pem'))
  }

  /** Signs a request; times are in days from now. */
  sign (request, { from = -1, to = 30 } = {}) {
    writeFileSync(join(this.#folder, 'incoming.pem'), request)
    openssl(this.#folder, 'ca', '-config', 'config', '-batch', '-notext', '-cert', 'cert.pem', '-keyfile', 'key.pem',
      '-startdate', stamp(Date.now() + from * DAY), '-enddate', stamp(Date.now() + to * DAY),
      '-in', 'incoming.pem', '-out', 'signed.pem')
    return readFileSync(join(this.#folder, 'signed.pem'))
  }

  /** A key and a certificate for it. `names` as in subjectAltName; none at all leaves the common name alone. */
  issue ({ common = 'localhost', names = ['DNS:localhost', 'IP:127.0.0.1'], isWeak = false, ...times } = {}) {
    const cwd = folder()
    writeFileSync(join(cwd, 'config'), CONFIG)
    newKey(cwd, isWeak)
    openssl(cwd, 'req', '-new', '-config', 'config', '-key', 'key.pem', '-out', 'request.pem', '-subj', `/CN=${common}`,
      ...names.length ? ['-addext', `subjectAltName=${names.join(',')}`] : [])
    return { key: readFileSync(join(cwd, 'key.pem')), cert: this.sign(readFileSync(join(cwd, 'request.pem')), times) }
  }

  /** What it says of a certificate of its own, as an OCSP response. */
  statusOf (cert) {
    writeFileSync(join(this.#folder, 'asked.pem'), cert)
    openssl(this.#folder, 'ocsp', '-index', 'index.txt', '-CA', 'cert.pem', '-rsigner', 'cert.pem', '-rkey', 'key.pem',
      '-issuer', 'cert.pem', '-cert', 'asked.pem', '-respout', 'status.der')
    return readFileSync(join(this.#folder, 'status.der'))
  }

  /** Revokes a certificate; answers the list of all that are. */
  revoke (cert) {
    writeFileSync(join(this.#folder, 'revoked.pem'), cert)
    openssl(this.#folder, 'ca', '-config', 'config', '-cert', 'cert.pem', '-keyfile', 'key.pem', '-revoke', 'revoked.pem')
    openssl(this.#folder, 'ca', '-config', 'config', '-cert', 'cert.pem', '-keyfile', 'key.pem', '-gencrl', '-out', 'crl.pem')
    return readFileSync(join(this.#folder, 'crl.pem'))
  }
}

/** One that signed itself. */
export const selfSigned = () => {
  const cwd = folder()
  newKey(cwd)
  openssl(cwd, 'req', '-x509', '-key', 'key.pem', '-out', 'cert.pem', '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1')
  return { key: readFileSync(join(cwd, 'key.pem')), cert: readFileSync(join(cwd, 'cert.pem')) }
}

/** A key and a certificate as JSON can hold them. */
export const asText = ({ key, cert }) => ({ key: key.toString(), cert: cert.toString() })

/** The same in a PKCS #12 archive. */
export const archived = ({ key, cert }, passphrase) => {
  const cwd = folder()
  writeFileSync(join(cwd, 'key.pem'), key)
  writeFileSync(join(cwd, 'cert.pem'), cert)
  openssl(cwd, 'pkcs12', '-export', '-inkey', 'key.pem', '-in', 'cert.pem', '-out', 'all.p12', '-passout', `pass:${passphrase}`)
  return readFileSync(join(cwd, 'all.p12'))
}

// The same servers through Node's https.Agent and through holdfast: the same outcome, and the same code.
import assert from 'node:assert/strict'
import https from 'node:https'
import { after, test } from 'node:test'
import { SecureAgentUnderTest, SecureNodeAgent } from './support/agents.mjs'
import { outcome } from './support/outcome.mjs'
import { Authority, archived, selfSigned } from './support/tls/authority.mjs'
import { breakingOff, secureServer } from './support/tls/servers.mjs'

const root = new Authority('holdfast test root')
const stranger = new Authority('somebody else\'s root')
const between = new Authority('holdfast test intermediate', root)
const good = root.issue()
const own = selfSigned()
const ca = root.cert

const servers = []
after(() => Promise.all(servers.map((server) => server.stop())))
const kept = async (starting) => {
  const server = await starting
  servers.push(server)
  return server
}

/** How a request ends, and what its socket says of the server. */
const seen = async (Agent, server, agentOptions, options) => {
  const agent = new Agent(agentOptions)
  const facts = {}
  try {
    const req = https.get({ host: '127.0.0.1', port: server.port, servername: 'localhost', agent, ...options })
    req.on('socket', (socket) => {
      socket.on('secureConnect', () => {
        const { authorized, authorizationError, alpnProtocol, servername, encrypted } = socket
        Object.assign(facts, { authorized, authorizationError, alpnProtocol, servername, encrypted })
        Object.assign(facts, { protocol: socket.getProtocol(), cipher: socket.getCipher().standardName })
      })
    })
    const { status, text, errors } = await outcome(req)
    return { ended: status === 200 ? text : errors.join(), ...facts }
  } catch (error) {
    return { threw: error.code, name: error.name, message: error.message }
  } finally {
    agent.destroy()
  }
}

const isStrict = Number(process.versions.node.split('.')[0]) >= 24

/** `expected` guards against a cell in which both fail for a reason that was not meant. */
const same = (claim, starting, agentOptions, expected, { options, env = {} } = {}) => {
  test(`verdict_${claim}`, { timeout: 20_000 }, async () => {
    const server = await kept(starting())
    Object.assign(process.env, env)
    try {
      const theirs = await seen(SecureNodeAgent, server, agentOptions, options)
      const ours = await seen(SecureAgentUnderTest, server, agentOptions, options)
      assert.deepEqual(ours, theirs)
      assert.equal(theirs.threw ?? theirs.ended, expected)
    } finally {
      for (const name of Object.keys(env)) delete process.env[name]
    }
  })
}

const serving = (identity, options) => () => secureServer({ ...identity, ...options })

// Who the server is.
same('trusted_root', serving(good), { ca }, 'ok')
same('untrusted_root', serving(good), {}, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
same('other_root', serving(good), { ca: stranger.cert }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
same('root_among_others', serving(good), { ca: [stranger.cert, ca.toString()] }, 'ok')
same('roots_in_one_text', serving(good), { ca: `${stranger.cert}\n${ca}` }, 'ok')
same('no_roots', serving(good), { ca: [] }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
same('expired', serving(root.issue({ from: -20, to: -10 })), { ca }, 'CERT_HAS_EXPIRED')
same('not_yet_valid', serving(root.issue({ from: 5, to: 10 })), { ca }, 'CERT_NOT_YET_VALID')
same('self_signed', serving(own), {}, 'DEPTH_ZERO_SELF_SIGNED_CERT')
same('self_signed_as_root', serving(own), { ca: own.cert }, 'ok')
same('intermediate_sent', serving((({ key, cert }) => ({ key, cert: `${cert}${between.cert}` }))(between.issue())), { ca }, 'ok')
same('intermediate_missing', serving(between.issue()), { ca }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
same('intermediate_as_root', serving(between.issue()), { ca: between.cert }, 'UNABLE_TO_GET_ISSUER_CERT')
same('weak_key', serving(root.issue({ isWeak: true }), { ciphers: 'DEFAULT@SECLEVEL=0' }), { ca }, isStrict ? 'UNSPECIFIED' : 'ok')
{
  const revoked = root.issue()
  const crl = root.revoke(revoked.cert)
  same('revoked', serving(revoked), { ca, crl }, 'CERT_REVOKED')
  same('not_revoked', serving(good), { ca, crl: [crl.toString()] }, 'ok')
  same('list_of_another_issuer', serving(good), { ca, crl: stranger.revoke(stranger.issue().cert) }, 'UNABLE_TO_GET_CRL')
}

// What it is called.
const named = (names, common) => serving(root.issue({ names, common }))
const asked = (servername) => ({ options: { servername } })
same('wrong_name', named(['DNS:other.example']), { ca }, 'ERR_TLS_CERT_ALTNAME_INVALID')
same('wildcard', named(['DNS:*.example.test']), { ca }, 'ok', asked('a.example.test'))
same('wildcard_too_deep', named(['DNS:*.example.test']), { ca }, 'ERR_TLS_CERT_ALTNAME_INVALID', asked('a.b.example.test'))
same('common_name_alone', named([], 'localhost'), { ca }, 'ok')
same('common_name_beside_others', named(['DNS:other.example'], 'localhost'), { ca }, 'ERR_TLS_CERT_ALTNAME_INVALID')
same('address', named(['IP:127.0.0.1']), { ca }, 'ok', asked(undefined))
same('wrong_address', named(['IP:127.0.0.2']), { ca }, 'ERR_TLS_CERT_ALTNAME_INVALID', asked(undefined))
same('name_of_host_header', named(['DNS:header.test']), { ca }, 'ok',
  { options: { servername: undefined, headers: { Host: 'header.test:1234' } } })
same('no_name', serving(good), { ca }, 'ok', asked(''))

// Who decides.
same('unauthorized_accepted', serving(own), { rejectUnauthorized: false }, 'ok')
same('wrong_name_accepted', named(['DNS:other.example']), { ca, rejectUnauthorized: false }, 'ok')
same('accepted_by_environment', serving(own), {}, 'ok', { env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } })
same('refused_whatever_environment', serving(own), { rejectUnauthorized: true }, 'DEPTH_ZERO_SELF_SIGNED_CERT',
  { env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } })
same('refused_by_function', serving(good), {
  ca, checkServerIdentity: (host, cert) => Object.assign(new Error(`${host} ${cert.subject.CN}`), { code: 'NOT_PINNED' })
}, 'NOT_PINNED')
same('accepted_by_function', named(['DNS:other.example']), { ca, checkServerIdentity: () => undefined }, 'ok')
same('refused_by_function_of_request', serving(good), { ca }, 'NOT_PINNED',
  { options: { checkServerIdentity: () => Object.assign(new Error('no'), { code: 'NOT_PINNED' }) } })

// Who the client is.
const wanting = (options) => serving(good, { requestCert: true, rejectUnauthorized: true, ca, ...options })
const client = root.issue({ common: 'client' })
const wrong = stranger.issue({ common: 'client' })
const encrypted = (await import('node:crypto')).createPrivateKey(client.key)
  .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' })
for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
  const missing = maxVersion === 'TLSv1.2' ? 'EPROTO' : 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'
  const unknown = 'ECONNRESET' // a server in Node says nothing
  same(`client_certificate_missing_${maxVersion}`, wanting({ maxVersion }), { ca }, missing)
  same(`client_certificate_wrong_${maxVersion}`, wanting({ maxVersion }), { ca, ...wrong }, unknown)
  same(`client_certificate_right_${maxVersion}`, wanting({ maxVersion }), { ca, ...client }, 'ok')
}
same('client_key_encrypted', wanting(), { ca, cert: client.cert, key: encrypted, passphrase: 'secret' }, 'ok')
same('client_keys_in_records', wanting(), { ca, cert: [client.cert], key: [{ pem: encrypted, passphrase: 'secret' }] }, 'ok')
same('client_archive', wanting(), { ca, pfx: archived(client, 'secret'), passphrase: 'secret' }, 'ok')
same('client_archives', wanting(), { ca, pfx: [{ buf: archived(client, 'secret'), passphrase: 'secret' }] }, 'ok')

// What they speak.
const VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3']
const OLD = 'DEFAULT@SECLEVEL=0'
for (const version of VERSIONS) {
  const only = { minVersion: version, maxVersion: version, ciphers: OLD }
  same(`version_${version}_alone`, serving(good, only), { ca, minVersion: 'TLSv1', ciphers: OLD }, 'ok')
  same(`version_${version}_against_1.3`, serving(good, only), { ca, minVersion: 'TLSv1.3' }, version === 'TLSv1.3' ? 'ok' : 'EPROTO')
  same(`version_${version}_by_default`, serving(good, only), { ca }, version < 'TLSv1.2' ? 'EPROTO' : 'ok')
}
same('method_of_one_version', serving(good), { ca, secureProtocol: 'TLSv1_2_method' }, 'ok')
same('method_below_1.3', serving(good), { ca, secureProtocol: 'SSLv23_method' }, 'ok')
same('no_common_cipher', serving(good, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }),
  { ca, ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' }, 'EPROTO')
same('chosen_cipher', serving(good, { maxVersion: 'TLSv1.2' }), { ca, ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }, 'ok')
same('chosen_suite', serving(good), { ca, ciphers: 'TLS_CHACHA20_POLY1305_SHA256' }, 'ok')
same('no_common_group', serving(good, { ecdhCurve: 'P-256' }), { ca, ecdhCurve: 'P-384' }, 'EPROTO')
same('no_common_signature', serving(good), { ca, sigalgs: 'RSA-PSS+SHA256' }, 'EPROTO')
same('protocol_chosen', serving(good, { ALPNProtocols: ['b', 'a'] }), { ca, ALPNProtocols: ['a', 'b'] }, 'ok')
same('protocol_refused', serving(good, { ALPNProtocols: ['a'] }), { ca, ALPNProtocols: ['c'] }, 'EPROTO')
same('protocol_not_asked_for', serving(good), { ca }, 'ok')
same('name_required', serving(good, { SNICallback: (name, done) => done(name === 'localhost' ? null : new Error('who?')) }),
  { ca }, 'ok')
same('name_refused', serving(good, { SNICallback: (name, done) => done(new Error('who?')) }), { ca }, 'ECONNRESET')

// What breaks off.
same('plain_http', () => breakingOff((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')), { ca }, 'EPROTO')
same('cut_by_fin', () => breakingOff((socket) => socket.end()), { ca }, 'ECONNRESET')
same('cut_by_reset', () => breakingOff((socket) => socket.resetAndDestroy()), { ca }, 'ECONNRESET')
same('cut_within_a_record', () => breakingOff((socket) => socket.end(Buffer.from([0x16, 3, 3, 0, 80, 2]))), { ca }, 'ECONNRESET')
same('alert', () => breakingOff((socket) => socket.end(Buffer.from([0x15, 3, 3, 0, 2, 2, 80]))), { ca }, 'EPROTO')

// What is no option.
const bad = (claim, agentOptions, expected) => same(`bad_${claim}`, serving(good), { ca, ...agentOptions }, expected)
bad('root', { ca: '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----' }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
bad('root_of_no_kind', { ca: 5 }, 'ERR_INVALID_ARG_TYPE')
bad('certificate', { cert: 'x', key: client.key }, 'ERR_OSSL_PEM_NO_START_LINE')
bad('key', { cert: client.cert, key: 'x' }, 'ERR_OSSL_UNSUPPORTED')
bad('key_of_another', { cert: client.cert, key: good.key }, 'ERR_OSSL_X509_KEY_VALUES_MISMATCH')
bad('passphrase', { cert: client.cert, key: encrypted, passphrase: 'wrong' }, 'ERR_OSSL_BAD_DECRYPT')
bad('passphrase_missing', { cert: client.cert, key: encrypted }, 'ERR_OSSL_BAD_DECRYPT')
bad('archive', { pfx: Buffer.from('x') }, undefined)
bad('archive_passphrase', { pfx: archived(client, 'secret'), passphrase: 'wrong' }, undefined)
bad('cipher', { ciphers: 'no-such-cipher' }, 'ERR_SSL_NO_CIPHER_MATCH')
bad('version', { minVersion: 'TLSv9' }, 'ERR_TLS_INVALID_PROTOCOL_VERSION')
bad('version_and_method', { minVersion: 'TLSv1.2', secureProtocol: 'TLS_method' }, 'ERR_TLS_PROTOCOL_VERSION_CONFLICT')
bad('method', { secureProtocol: 'nonsense' }, 'ERR_TLS_INVALID_PROTOCOL_METHOD')
bad('group', { ecdhCurve: 'no-such-curve' }, 'ERR_CRYPTO_OPERATION_FAILED')
bad('signature', { sigalgs: 'no-such' }, undefined)
bad('list', { crl: 'x' }, 'ERR_CRYPTO_OPERATION_FAILED')
bad('session_timeout', { sessionTimeout: -1 }, 'ERR_OUT_OF_RANGE')

'use strict'
// The options that `tls.createSecureContext` takes, as contexts of the engine. Node judges them first, with its own errors.
const { Buffer } = require('node:buffer')
const { constants, createPrivateKey } = require('node:crypto')
const process = require('node:process')
const tls = require('node:tls')
const { unsupportedOption } = require('../errors.js')
const { NativeTlsContext } = require('../addon.js')
const { fingerprint } = require('./fingerprint.js')
const { defaultRoots } = require('./roots.js')

/** What connections share. The last four mean nothing to a client, and are judged all the same. */
const CONTEXT_OPTIONS = ['allowPartialTrustChain', 'ca', 'cert', 'ciphers', 'crl', 'ecdhCurve', 'honorCipherOrder', 'key',
  'maxVersion', 'minVersion', 'passphrase', 'pfx', 'secureOptions', 'secureProtocol', 'sessionTimeout', 'sigalgs',
  'dhparam', 'sessionIdContext', 'ticketKeys']

/** So many contexts are kept for the next connection with their options. */
const MOST = 64

const INSTEAD = {
  clientCertEngine: 'pass cert and key',
  createSecureContext: 'pass ca, cert and key',
  enableTrace: 'listen to the event keylog, and decrypt a capture',
  privateKeyEngine: 'pass key',
  privateKeyIdentifier: 'pass key',
  pskCallback: 'pass cert and key',
  secureContext: 'pass what it was made of: ca, cert, key',
  socket: 'give the agent a createConnection of your own'
}

/** Refuses what cannot be honoured, by name. */
const refuseUnsupported = (options) => {
  for (const [name, instead] of Object.entries(INSTEAD)) {
    if (options[name] !== undefined && options[name] !== null && options[name] !== false) {
      throw unsupportedOption(name, instead)
    }
  }
}

// Programs that add roots for all of a process replace Node's function. Their roots are in no option.
let knownCreate
const refuseReplaced = () => {
  const { createSecureContext } = tls
  if (createSecureContext === knownCreate) return
  if (!/new SecureContext\(/.test(Function.prototype.toString.call(createSecureContext))) {
    throw unsupportedOption('createSecureContext', 'call tls.setDefaultCACertificates, or pass ca')
  }
  knownCreate = createSecureContext
}

const listOf = (value) => value === undefined || value === null ? [] : Array.isArray(value) ? value : [value]
const bytes = (value) => typeof value === 'string'
  ? Buffer.from(value)
  : Buffer.from(value.buffer, value.byteOffset, value.byteLength)

const VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3']
const METHOD = /^(?:TLS(?:v1(?:_[12])?)?|SSLv23)_(?:client_)?method$/

const versionsOf = ({ minVersion, maxVersion, secureProtocol }) => {
  const number = (name) => VERSIONS.indexOf(name)
  const min = number(minVersion ?? tls.DEFAULT_MIN_VERSION)
  if (!secureProtocol) return { min, max: number(maxVersion ?? tls.DEFAULT_MAX_VERSION) }
  if (!METHOD.test(secureProtocol)) throw unsupportedOption('secureProtocol', 'pass minVersion and maxVersion')
  const [method] = secureProtocol.split('_method')[0].split('_client')
  if (method === 'TLS') return { min: 0, max: 3 }
  if (method === 'SSLv23') return { min, max: 2 }
  const one = number(method.replace('_', '.'))
  return { min: one, max: one }
}

const ciphersOf = ({ ciphers }) => {
  const all = (ciphers || tls.DEFAULT_CIPHERS).split(':').filter((cipher) => cipher.length > 0)
  const isSuite = (cipher) => /^!?TLS_/.test(cipher)
  return { list: all.filter((cipher) => !isSuite(cipher)).join(':'), suites: all.filter(isSuite).join(':') }
}

const keysOf = ({ key, passphrase }) => listOf(key || undefined).map((one) => {
  const given = { key: one?.pem ?? one, passphrase: one?.passphrase ?? passphrase ?? undefined }
  return createPrivateKey(given).export({ type: 'pkcs8', format: 'der' })
})

const archivesOf = ({ pfx, passphrase }) => listOf(pfx).map((one) => ({
  der: bytes(one.buf ?? one),
  passphrase: String(one.passphrase ?? passphrase ?? '')
}))

// OpenSSL's own measure since 3.2, which Node took up with 24: a certificate is as good here as it is to this process' Node.
const [major] = process.versions.node.split('.').map(Number)
const SECURITY_LEVEL = major >= 24 ? 2 : 1

const toNative = (options, roots) => {
  const { min, max } = versionsOf(options)
  const { list, suites } = ciphersOf(options)
  const groups = options.ecdhCurve ?? tls.DEFAULT_ECDH_CURVE
  const preference = options.honorCipherOrder ? constants.SSL_OP_CIPHER_SERVER_PREFERENCE : 0
  return new NativeTlsContext({
    minVersion: list === '' && max === 3 ? 3 : min,
    maxVersion: max,
    cipherList: list,
    cipherSuites: suites,
    groups: groups === 'auto' ? undefined : groups,
    sigalgs: options.sigalgs ?? undefined,
    securityLevel: SECURITY_LEVEL,
    options: ((options.secureOptions || 0) | preference) >>> 0,
    roots: roots ? [roots] : listOf(options.ca).map(bytes),
    partialChain: Boolean(options.allowPartialTrustChain),
    crl: listOf(options.crl).map(bytes),
    certificates: listOf(options.cert || undefined).map(bytes),
    keys: keysOf(options),
    archives: archivesOf(options),
    sessionTimeout: options.sessionTimeout ?? undefined
  })
}

/** By fingerprint, the one used last at the end. */
const contexts = new Map()

/** The engine's context for these options: the same one for equal options, as long as Node's defaults are the same. */
const contextFor = (options) => {
  refuseUnsupported(options)
  refuseReplaced()
  const { DEFAULT_MIN_VERSION, DEFAULT_MAX_VERSION, DEFAULT_CIPHERS, DEFAULT_ECDH_CURVE } = tls
  const defaults = `${DEFAULT_MIN_VERSION},${DEFAULT_MAX_VERSION},${DEFAULT_CIPHERS},${DEFAULT_ECDH_CURVE}`
  const name = `${CONTEXT_OPTIONS.map((option) => fingerprint(options[option]))},${defaults}`
  const roots = options.ca ? undefined : defaultRoots()
  const known = contexts.get(name)
  contexts.delete(name)
  if (known && known.roots === roots) {
    contexts.set(name, known)
    return known.context
  }
  const picked = Object.fromEntries(CONTEXT_OPTIONS.map((option) => [option, options[option]]))
  // Node need not read its roots for this.
  tls.createSecureContext({ ...picked, ca: picked.ca || [] })
  const context = toNative(picked, roots)
  if (contexts.size >= MOST) contexts.delete(contexts.keys().next().value)
  contexts.set(name, { context, roots })
  return context
}

module.exports = { CONTEXT_OPTIONS, contextFor, refuseUnsupported }

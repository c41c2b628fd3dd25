// What callers ask of a tls.TLSSocket: the same answers through Node's https.Agent and through holdfast.
import assert from 'node:assert/strict'
import https from 'node:https'
import tls from 'node:tls'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { SecureAgentUnderTest, SecureNodeAgent } from './support/agents.mjs'
import { exchange, failure } from './support/within.mjs'
import { Authority } from './support/tls/authority.mjs'
import { secureServer } from './support/tls/servers.mjs'

const root = new Authority('holdfast test root')
const between = new Authority('holdfast test intermediate', root)
const { key, cert } = between.issue({ names: ['DNS:localhost', 'IP:127.0.0.1', 'email:a@b.example', 'URI:http://a/'] })
const client = root.issue({ common: 'client' })
const ca = root.cert

/** Runs `body({ server, agent, signal })` with each agent, and holds what they return against each other. */
const alike = (claim, serverOptions, agentOptions, body) => {
  test(`tls_socket_${claim}`, { timeout: 20_000 }, async () => {
    const answers = []
    for (const Agent of [SecureNodeAgent, SecureAgentUnderTest]) {
      const server = await secureServer({ key, cert: `${cert}${between.cert}`, ...serverOptions })
      const agent = new Agent({ ca, servername: 'localhost', ...agentOptions })
      try {
        answers.push(await body({ server, agent }))
      } finally {
        agent.destroy()
        await server.stop()
      }
    }
    assert.deepEqual(answers[1], answers[0])
    assert.notEqual(answers[0], undefined)
  })
}

/** What `ask(socket)` answers within an exchange. */
const within = (ask, options) => async ({ server, agent }) => {
  let answer
  const observe = (socket) => socket.once('secureConnect', () => { answer = ask(socket) })
  await exchange(server, agent, { protocol: 'https:', observe, ...options })
  return answer
}

/** Chains end in themselves: as a list, each link without the next. */
const flattened = (certificate) => {
  const links = []
  for (let link = certificate; ; link = link.issuerCertificate) {
    const { issuerCertificate, ...facts } = link
    links.push({ ...facts, isLast: issuerCertificate === link, hasIssuer: issuerCertificate !== undefined })
    if (!issuerCertificate || issuerCertificate === link) return links
  }
}

alike('peer_certificate', {}, {}, within((socket) => socket.getPeerCertificate()))
alike('peer_certificate_with_its_chain', {}, {}, within((socket) => flattened(socket.getPeerCertificate(true))))
alike('peer_certificate_without_its_chain', { cert }, { rejectUnauthorized: false },
  within((socket) => flattened(socket.getPeerCertificate(true))))
alike('peer_certificate_as_x509', {}, {}, within((socket) => {
  const certificate = socket.getPeerX509Certificate()
  return { is: certificate instanceof X509Certificate, text: certificate.toString() }
}))
alike('own_certificate', { requestCert: true, ca }, client, within((socket) => ({
  legacy: socket.getCertificate(), text: socket.getX509Certificate().toString()
})))
alike('no_own_certificate', {}, {}, within((socket) => ({ legacy: socket.getCertificate(), x509: socket.getX509Certificate() ?? null })))
for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
  alike(`cipher_protocol_and_key_${maxVersion}`, { maxVersion, ecdhCurve: 'P-256' }, {}, within((socket) => ({
    cipher: socket.getCipher(), protocol: socket.getProtocol(), key: socket.getEphemeralKeyInfo()
  })))
  alike(`lengths_of_what_differs_${maxVersion}`, { maxVersion }, {}, within((socket) => ({
    finished: socket.getFinished()?.length,
    peer: socket.getPeerFinished()?.length,
    exported: socket.exportKeyingMaterial(20, 'label', Buffer.from('context')).length,
    reused: socket.isSessionReused(),
    session: Buffer.isBuffer(socket.getSession())
  })))
}
alike('shared_signature_algorithms', { requestCert: true, ca, sigalgs: 'ECDSA+SHA256:RSA-PSS+SHA256' }, client,
  within((socket) => socket.getSharedSigalgs()))
alike('flags', { ALPNProtocols: ['http/1.1'] }, { ALPNProtocols: ['http/1.1'] }, within((socket) => {
  const { encrypted, authorized, authorizationError, alpnProtocol, servername, secureConnecting, connecting } = socket
  const is = socket instanceof tls.TLSSocket
  return { encrypted, authorized, authorizationError, alpnProtocol, servername, secureConnecting, connecting, is }
}))
alike('answers_after_its_end', {}, {}, async ({ server, agent }) => {
  const { socket } = await exchange(server, agent, { protocol: 'https:' })
  socket.destroy()
  await new Promise((resolve) => socket.once('close', resolve))
  return ['getPeerCertificate', 'getCipher', 'getProtocol', 'getSession', 'isSessionReused', 'getFinished', 'getEphemeralKeyInfo']
    .map((method) => [method, socket[method]()])
})
alike('bad_arguments', {}, {}, within((socket) => [[0, 'x'], ['a', 'x'], [1.5, 'x'], [10, 5], [10, 'x', 'text']].map((args) => {
  try {
    return socket.exportKeyingMaterial(...args)
  } catch (error) {
    return [error.name, error.code]
  }
})))
alike('keying_material_before_it_is_secure', {}, {}, async ({ server, agent }) => {
  let code
  const observe = (socket) => {
    try {
      socket.exportKeyingMaterial(10, 'x')
    } catch (error) {
      code = error.code
    }
  }
  await exchange(server, agent, { protocol: 'https:', observe })
  return code
})

// Events.
alike('order_of_events', { maxVersion: 'TLSv1.2' }, {}, async ({ server, agent }) => {
  const events = []
  const observe = (socket) => {
    for (const event of ['connect', 'ready', 'secureConnect', 'session', 'keylog', 'secure']) socket.on(event, () => events.push(event))
  }
  await exchange(server, agent, { protocol: 'https:', observe })
  return events
})
alike('keylog_of_the_agent', {}, {}, async ({ server, agent }) => {
  const labels = []
  agent.on('keylog', (line, socket) => labels.push(`${line.toString().split(' ')[0]} ${line.at(-1)} ${socket.encrypted}`))
  await exchange(server, agent, { protocol: 'https:' })
  return labels
})
alike('status_response_that_the_server_has_not', {}, { requestOCSP: true }, async ({ server, agent }) => {
  let response
  const observe = (socket) => socket.on('OCSPResponse', (it) => { response = it })
  await exchange(server, agent, { protocol: 'https:', observe })
  return response
})
alike('status_response', {}, { requestOCSP: true }, async ({ server, agent }) => {
  const status = between.statusOf(cert)
  server.on('OCSPRequest', (certificate, issuer, done) => done(null, status))
  let response
  const observe = (socket) => socket.on('OCSPResponse', (it) => { response = it })
  await exchange(server, agent, { protocol: 'https:', observe })
  return response.equals(status)
})

/** A test of holdfast alone. */
const alone = (claim, body, onRequest) => test(`tls_socket_${claim}`, { timeout: 20_000 }, async () => {
  const server = await secureServer({ key, cert: `${cert}${between.cert}` }, onRequest)
  const agent = new SecureAgentUnderTest({ ca, servername: 'localhost' })
  try {
    await body({ server, agent })
  } finally {
    agent.destroy()
    await server.stop()
  }
})

alone('destroyed_by_a_listener_of_secureConnect_sends_nothing', async ({ server, agent }) => {
  let requests = 0
  server.on('request', () => requests++)
  const req = https.get({ host: '127.0.0.1', port: server.port, agent })
  req.on('socket', (socket) => socket.once('secureConnect', () => socket.destroy(new Error('not pinned'))))
  const error = await failure(req)
  assert.equal(error.message, 'not pinned')
  assert.equal(requests, 0)
})

alone('refuses_what_it_cannot_do_by_name', async ({ server, agent }) => {
  const { socket } = await exchange(server, agent, { protocol: 'https:' })
  for (const method of ['enableTrace', 'setKeyCert', 'setServername', 'setSession']) {
    assert.throws(() => socket[method](), { code: 'ERR_METHOD_NOT_IMPLEMENTED', message: new RegExp(method) })
  }
  const error = await new Promise((resolve) => socket.renegotiate({}, resolve))
  assert.equal(error.code, 'ERR_METHOD_NOT_IMPLEMENTED')
})

'use strict'
// Errors of TLS as Node makes them.
const { errno: { EPROTO } } = require('node:os').constants
const { coded, nodeError, systemError, withFacts } = require('../errors.js')

// By OpenSSL's number (include/openssl/x509_vfy.h); what is not here Node calls UNSPECIFIED.
const VERDICTS = {
  2: 'UNABLE_TO_GET_ISSUER_CERT',
  3: 'UNABLE_TO_GET_CRL',
  4: 'UNABLE_TO_DECRYPT_CERT_SIGNATURE',
  5: 'UNABLE_TO_DECRYPT_CRL_SIGNATURE',
  6: 'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY',
  7: 'CERT_SIGNATURE_FAILURE',
  8: 'CRL_SIGNATURE_FAILURE',
  9: 'CERT_NOT_YET_VALID',
  10: 'CERT_HAS_EXPIRED',
  11: 'CRL_NOT_YET_VALID',
  12: 'CRL_HAS_EXPIRED',
  13: 'ERROR_IN_CERT_NOT_BEFORE_FIELD',
  14: 'ERROR_IN_CERT_NOT_AFTER_FIELD',
  15: 'ERROR_IN_CRL_LAST_UPDATE_FIELD',
  16: 'ERROR_IN_CRL_NEXT_UPDATE_FIELD',
  17: 'OUT_OF_MEM',
  18: 'DEPTH_ZERO_SELF_SIGNED_CERT',
  19: 'SELF_SIGNED_CERT_IN_CHAIN',
  20: 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  21: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  22: 'CERT_CHAIN_TOO_LONG',
  23: 'CERT_REVOKED',
  24: 'INVALID_CA',
  25: 'PATH_LENGTH_EXCEEDED',
  26: 'INVALID_PURPOSE',
  27: 'CERT_UNTRUSTED',
  28: 'CERT_REJECTED',
  62: 'HOSTNAME_MISMATCH'
}

/** OpenSSL's verdict on the server's certificate. */
const untrusted = (verdict, text = `certificate verify error ${verdict}`) => coded(VERDICTS[verdict] ?? 'UNSPECIFIED', text)

/** Of a name or an address that the certificate has not; only proxies' are compared by OpenSSL. */
const isMismatch = (verdict) => verdict >= 62 && verdict <= 64
const mismatched = () => coded('ERR_TLS_CERT_ALTNAME_INVALID', 'The certificate of the proxy is for another name')

/** TLS itself failed; `syscall` is `write` for a request that was to be written. */
const tlsError = ({ code, library, reason, text, untrusted: verdict, errno }, syscall) => {
  if (verdict !== undefined && verdict !== null) return isMismatch(verdict) ? mismatched() : untrusted(verdict)
  if (errno !== undefined && errno !== null) return systemError('read', errno)
  if (!syscall) return withFacts(coded(code, `${text}\n`), { library, reason })
  return withFacts(new Error(`${syscall} EPROTO ${text}\n`), { errno: -EPROTO, code: 'EPROTO', syscall, library, reason })
}

const handshakeCut = ({ path, host, port, localAddress }) => withFacts(coded('ECONNRESET',
  'Client network socket disconnected before secure TLS connection was established'), { path, host, port, localAddress })

/** Why a connection, or the way to a proxy, could not be made secure. */
const insecureError = (failure, options, syscall) => failure.ended ? handshakeCut(options) : tlsError(failure, syscall)

const tooSmallKey = (bits) => nodeError(Error, 'ERR_TLS_DH_PARAM_SIZE', `DH parameter size ${bits} is less than 2048`)

const invalidState = () => nodeError(Error, 'ERR_TLS_INVALID_STATE', 'TLS socket connection must be securely established')

const notImplemented = (what) => nodeError(Error, 'ERR_METHOD_NOT_IMPLEMENTED',
  `The ${what} method is not implemented: TLS is set up by the agent's options before a socket connects`)

module.exports = { insecureError, invalidState, notImplemented, tlsError, tooSmallKey, untrusted }

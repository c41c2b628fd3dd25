'use strict'
// undici's errors, by name, code and words. Its copies know each other by symbols, and know these so too.
const named = (Base, name, code, words) => {
  const symbol = Symbol.for(`undici.error.${code}`)
  const Class = { [name]: class extends Base {
    constructor (message, options) {
      super(message || words, options)
      this.name = name
      this.code = code
    }

    static [Symbol.hasInstance] (instance) { return Boolean(instance && instance[symbol] === true) }
  } }[name]
  Object.defineProperty(Class.prototype, symbol, { value: true })
  return Class
}

const UndiciError = named(Error, 'UndiciError', 'UND_ERR')
const under = (name, code, words) => named(UndiciError, name, code, words)

const AbortError = under('AbortError', 'UND_ERR_ABORT', 'The operation was aborted')

/** `socket` tells whose end it was: addresses and counts of bytes. */
class SocketError extends under('SocketError', 'UND_ERR_SOCKET', 'Socket error') {
  constructor (message, socket) {
    super(message)
    this.socket = socket
  }
}

/** `code` is that of Node's parser for the same fault. */
class HTTPParserError extends named(Error, 'HTTPParserError', 'UND_ERR_HTTP_PARSER') {
  constructor (message, code) {
    super(message)
    this.code = code
  }
}

// In the order of src/engine/http/breakage.rs.
const BREAKAGES = [undefined,
  ['Expected HTTP/', 'HPE_INVALID_CONSTANT'],
  ['Invalid status code', 'HPE_INVALID_STATUS'],
  ['Invalid header', 'HPE_INVALID_HEADER_TOKEN'],
  undefined,
  undefined,
  ['Invalid character in chunk size', 'HPE_INVALID_CHUNK_SIZE'],
  ['Bytes that answer nothing', 'HPE_INVALID_CONSTANT']]

const UNSOLICITED = 7
const LENGTH = 4
const HEAD_TOO_LARGE = 5

const HeadersOverflowError = under('HeadersOverflowError', 'UND_ERR_HEADERS_OVERFLOW', 'Headers Overflow Error')

const ResponseContentLengthMismatchError = under('ResponseContentLengthMismatchError',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'Response body length does not match content-length header')

/** The error for an answer that ends within its chunks. */
const cutError = () => new HTTPParserError('Invalid EOF state', 'HPE_INVALID_EOF_STATE')

/** The error for an answer that cannot be understood. */
const parserError = (breakage) => {
  if (breakage === LENGTH) return new ResponseContentLengthMismatchError()
  if (breakage === HEAD_TOO_LARGE) return new HeadersOverflowError()
  return new HTTPParserError(...BREAKAGES[breakage])
}

/** The error for an answer to a request that has not left. */
const unsolicitedError = () => parserError(UNSOLICITED)

// In the order of RFC 9113, 7.
const STREAM_ERRORS = ['NO_ERROR', 'PROTOCOL_ERROR', 'INTERNAL_ERROR', 'FLOW_CONTROL_ERROR', 'SETTINGS_TIMEOUT', 'STREAM_CLOSED',
  'FRAME_SIZE_ERROR', 'REFUSED_STREAM', 'CANCEL', 'COMPRESSION_ERROR', 'CONNECT_ERROR', 'ENHANCE_YOUR_CALM', 'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED']

/** Node's error for a stream of HTTP/2 that was given up. */
const streamError = (code) => {
  const name = STREAM_ERRORS[code] === undefined ? code : `NGHTTP2_${STREAM_ERRORS[code]}`
  return Object.assign(new Error(`Stream closed with error code ${name}`), { code: 'ERR_HTTP2_STREAM_ERROR' })
}

/** Tells the process of what a caller's code has thrown, out of the way of what called it. */
const throwLater = (error) => queueMicrotask(() => { throw error })

module.exports = {
  AbortError,
  cutError,
  HeadersOverflowError,
  HTTPParserError,
  parserError,
  ResponseContentLengthMismatchError,
  SocketError,
  streamError,
  throwLater,
  unsolicitedError,
  BodyTimeoutError: under('BodyTimeoutError', 'UND_ERR_BODY_TIMEOUT', 'Body Timeout Error'),
  ClientClosedError: under('ClientClosedError', 'UND_ERR_CLOSED', 'The client is closed'),
  ClientDestroyedError: under('ClientDestroyedError', 'UND_ERR_DESTROYED', 'The client is destroyed'),
  ConnectTimeoutError: under('ConnectTimeoutError', 'UND_ERR_CONNECT_TIMEOUT', 'Connect Timeout Error'),
  HeadersTimeoutError: under('HeadersTimeoutError', 'UND_ERR_HEADERS_TIMEOUT', 'Headers Timeout Error'),
  InformationalError: under('InformationalError', 'UND_ERR_INFO', 'Request information'),
  InvalidArgumentError: under('InvalidArgumentError', 'UND_ERR_INVALID_ARG', 'Invalid Argument Error'),
  MaxOriginsReachedError: under('MaxOriginsReachedError', 'UND_ERR_MAX_ORIGINS_REACHED', 'Maximum allowed origins reached'),
  NotSupportedError: under('NotSupportedError', 'UND_ERR_NOT_SUPPORTED', 'Not Supported error'),
  RequestAbortedError: named(AbortError, 'AbortError', 'UND_ERR_ABORTED', 'Request aborted'),
  RequestContentLengthMismatchError: under('RequestContentLengthMismatchError', 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH',
    'Request body length does not match content-length header'),
  ResponseExceededMaxSizeError: under('ResponseExceededMaxSizeError', 'UND_ERR_RES_EXCEEDED_MAX_SIZE',
    'Response content exceeded max size')
}

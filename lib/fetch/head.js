'use strict'
// Heads of requests, as they are on the wire.

/** What says how long a body is, and ends a head. `length` may be unknown, `null`. */
const framingOf = (hasBody, length) =>
  length !== null ? `content-length: ${length}\r\n\r\n` : hasBody ? 'transfer-encoding: chunked\r\n\r\n' : '\r\n'

/** All but its framing. `line`: `{ host, path, forProxy }`; `isLast`: the connection is to end with this exchange. */
const writeHead = (request, { host, path, forProxy }, isLast) => {
  const { method, upgrade, headers } = request
  const connection = upgrade ? `upgrade\r\nupgrade: ${upgrade}` : isLast ? 'close' : 'keep-alive'
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: ${connection}\r\n`
  for (const name in forProxy) head += `${name}: ${forProxy[name]}\r\n`
  for (let at = 0; at < headers.length; at += 2) {
    const value = headers[at + 1]
    // As with the other agents: the agent's own credentials count.
    if (forProxy !== undefined && Object.hasOwn(forProxy, headers[at].toLowerCase())) continue
    if (typeof value === 'string') head += `${headers[at]}: ${value}\r\n`
    else for (const one of value) head += `${headers[at]}: ${one}\r\n`
  }
  return head
}

/** Of other answers, Content-Length is what the body would have been. */
const bodyFollows = (method, status) => method !== 'HEAD' && status !== 204 && status !== 304

module.exports = { bodyFollows, framingOf, writeHead }

'use strict'
// Heads of requests, as the engine takes them: `method \n target`, and `\n name \n value` for each header.

/** `line`: `{ host, path, forProxy }`; `isLast`: the connection is to end with this exchange. */
const writeHead = (request, { host, path, forProxy }, isLast) => {
  const { method, body, upgrade, headers, contentLength } = request
  const connection = upgrade ? `upgrade\nupgrade\n${upgrade}` : isLast ? 'close' : 'keep-alive'
  let head = `${method}\n${path}\nhost\n${host}\nconnection\n${connection}`
  for (const name in forProxy) head += `\n${name}\n${forProxy[name]}`
  for (let at = 0; at < headers.length; at += 2) {
    const value = headers[at + 1]
    // As with the other agents: the agent's own credentials count.
    if (forProxy !== undefined && Object.hasOwn(forProxy, headers[at].toLowerCase())) continue
    if (typeof value === 'string') head += `\n${headers[at]}\n${value}`
    else for (const one of value) head += `\n${headers[at]}\n${one}`
  }
  if (contentLength !== null) return `${head}\ncontent-length\n${contentLength}`
  return body === null ? head : `${head}\ntransfer-encoding\nchunked`
}

/** The same as HTTP/1.1 has it on the wire, for tracers. */
const headText = (head) => {
  const [method, path, ...pairs] = head.split('\n')
  let text = `${method} ${path} HTTP/1.1\r\n`
  for (let at = 0; at < pairs.length; at += 2) text += `${pairs[at]}: ${pairs[at + 1]}\r\n`
  return text
}

/** Of other answers, Content-Length is what the body would have been. */
const bodyFollows = (method, status) => method !== 'HEAD' && status !== 204 && status !== 304

module.exports = { bodyFollows, headText, writeHead }

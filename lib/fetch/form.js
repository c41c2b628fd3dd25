'use strict'
// A form as multipart/form-data, by the rules of the HTML standard: a Blob, so that its length is known and files stay where they are.
const { randomUUID } = require('node:crypto')

const inLines = (text) => text.replace(/\r?\n|\r/g, '\r\n')
const quoted = (text) => `"${text.replace(/\n/g, '%0A').replace(/\r/g, '%0D').replace(/"/g, '%22')}"`

const encodeForm = (form) => {
  const boundary = `----holdfast-${randomUUID()}`
  const parts = []
  for (const [name, value] of form) {
    parts.push(`--${boundary}\r\nContent-Disposition: form-data; name=${quoted(inLines(name))}`)
    if (typeof value === 'string') parts.push(`\r\n\r\n${inLines(value)}\r\n`)
    else {
      const type = value.type || 'application/octet-stream'
      parts.push(`; filename=${quoted(value.name)}\r\nContent-Type: ${type}\r\n\r\n`, value, '\r\n')
    }
  }
  return new Blob([...parts, `--${boundary}--\r\n`], { type: `multipart/form-data; boundary=${boundary}` })
}

module.exports = { encodeForm }

// What a handler of undici's hears of one request, as plain data.

/** An error by what callers match on. */
export const nameOf = (error) => error && `${error.name} ${error.code ?? ''} ${error.message}`.trim()

const strings = (raw) => raw?.map((part) => Buffer.isBuffer(part) ? part.toString('latin1') : part)
// What differs from run to run, or names its client.
const steady = (raw) => raw.map((part, at) => at % 2 && raw[at - 1].toLowerCase() === 'date' ? 'now' : part)

/**
 * Dispatches, and resolves with `{ events, body, error, answer }`. `act` is `{ start, head, data, complete }`: called with
 * `{ abort, pause, resume }` when the handler hears of that.
 */
export const dispatched = (dispatcher, opts, { modern = false, act = {} } = {}) => new Promise((resolve) => {
  const events = []
  const chunks = []
  const hear = (kind, ...facts) => events.push([kind, ...facts])
  const finish = (error) => {
    if (events.ended) return events.push(['TWICE'])
    events.ended = true
    // Whatever comes after the end would be wrong, and comes soon.
    setImmediate(() => setImmediate(() => resolve({ events, body: Buffer.concat(chunks).toString('latin1'), error: nameOf(error), cause: error })))
  }
  const merge = (kind) => { if (events.at(-1)?.[0] !== kind) hear(kind) }
  const upgraded = (status, headers, socket) => {
    hear('upgrade', status)
    finish()
    act.upgrade?.(socket)
  }
  const old = {
    onConnect (abort) {
      this.controls = { abort, resume: () => {} }
      hear('start')
      act.start?.(this.controls)
    },
    onHeaders (status, headers, resume, statusText) {
      hear('head', status, statusText, steady(strings(headers)), headers.every(Buffer.isBuffer))
      return act.head?.({ ...this.controls, resume }) ?? true
    },
    onData (chunk) {
      chunks.push(Buffer.from(chunk))
      merge('data')
      return act.data?.(this.controls) ?? true
    },
    onComplete (trailers) {
      hear('complete', strings(trailers ?? []))
      act.complete?.()
      finish()
    },
    onUpgrade: upgraded,
    onError (error) {
      hear('error', nameOf(error))
      finish(error)
    }
  }
  const newer = {
    onRequestStart (controller) {
      hear('start')
      act.start?.(controller)
    },
    onResponseStart (controller, status, headers, statusText) {
      hear('head', status, statusText, steady(strings(controller.rawHeaders)), { ...headers, ...headers.date && { date: 'now' } })
      act.head?.(controller)
    },
    onResponseData (controller, chunk) {
      chunks.push(Buffer.from(chunk))
      merge('data')
      act.data?.(controller)
    },
    onResponseEnd (controller, trailers) {
      hear('complete', { ...trailers })
      act.complete?.()
      finish()
    },
    onRequestUpgrade: (controller, status, headers, socket) => upgraded(status, headers, socket),
    onResponseError (controller, error) {
      hear('error', nameOf(error))
      finish(error)
    }
  }
  let answer
  try {
    answer = dispatcher.dispatch({ path: '/', method: 'GET', ...opts }, modern ? newer : old)
  } catch (error) {
    hear('threw', nameOf(error))
    finish()
  }
  events.answer = answer
})

// A server that answers when it is told to, and the passing of time where that is the subject.
import { httpServer } from './servers.mjs'
import { until } from './wait.mjs'

/** For `within`: `server.next()` waits for the next request and gives the function that answers it. */
export const holding = async () => {
  const answers = []
  const server = await httpServer((req, res) => answers.push(() => res.end('x')), { keepAliveTimeout: 0 })
  server.next = async () => {
    await until(() => answers.length > 0)
    return answers.shift()
  }
  return server
}

/** Resolves when so many milliseconds have passed, or more. */
export const past = async (milliseconds) => {
  const since = performance.now()
  await until(() => performance.now() - since > milliseconds)
}

// A server that does not share the test's loop.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

/** An HTTP server in another thread, for `within`. */
export const serverElsewhere = async () => {
  const flag = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(new URL('../fixtures/server-thread.mjs', import.meta.url), {
    workerData: { flag: flag.buffer }
  })
  const [{ port }] = await once(worker, 'message')
  return {
    port,
    /** Blocks this loop until the server has ended all its connections, by `'fin'` or `'reset'`. */
    endAllWhileBlocked (way) {
      Atomics.store(flag, 0, 0)
      worker.postMessage(way)
      Atomics.wait(flag, 0, 0)
    },
    async executed () {
      worker.postMessage('executed')
      const [{ executed }] = await once(worker, 'message')
      return executed
    },
    /** From now on nothing is accepted. */
    async stall () {
      worker.postMessage('stall')
      await once(worker, 'message')
    },
    stop: () => worker.terminate()
  }
}

/** Blocks the loop for so many milliseconds: where the passing of time itself is the subject. */
export const block = (milliseconds) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)

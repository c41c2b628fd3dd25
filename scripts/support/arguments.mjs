// The command lines of the lab, the soak and the benchmark.
import process from 'node:process'
import { parseArgs } from 'node:util'

/**
 * The values of `options` (as `parseArgs` takes them), and `stop(problem)`, which prints it with `usage` and ends the
 * process. `--help` and what is no option do the same.
 */
export const readArguments = (usage, options) => {
  const stop = (problem) => {
    if (problem) console.error(problem)
    console.error(usage)
    process.exit(problem ? 2 : 0)
  }
  let values
  try {
    ({ values } = parseArgs({ options: { ...options, help: { type: 'boolean', short: 'h', default: false } } }))
  } catch (error) {
    stop(error.message)
  }
  if (values.help) stop()
  return { values, stop }
}

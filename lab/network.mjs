// Trouble that only a network makes: connections that a middlebox has forgotten. For real, by nftables, in a network
// namespace of its own, so that nothing else on the machine is touched.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const call = promisify(execFile)

/** Whether this machine lets us; the reason if it does not. */
export async function whyNoNetwork () {
  const script = 'ip link set lo up && nft add table inet holdfast && nft add chain inet holdfast input "{ type filter hook input priority 0; }"'
  try {
    await call('unshare', ['--net', 'sh', '-c', script])
    return undefined
  } catch (error) {
    return (error.stderr || error.message).trim().split('\n')[0]
  }
}

/** A command line that runs `args` in a new network namespace with a loopback of its own. */
export const inNamespace = (args) => ['unshare', ['--net', 'sh', '-c', 'ip link set lo up && exec "$0" "$@"', ...args]]

/** From now on, what comes from those client ports is dropped, or answered with a reset. Only within a namespace. */
export async function forget ({ port, clients, way }) {
  const verdict = way === 'reset' ? 'reject with tcp reset' : 'drop'
  const rules = `
    table inet holdfast {
      chain input {
        type filter hook input priority 0;
        tcp dport ${port} tcp sport { ${clients.join(', ')} } ${verdict}
      }
    }`
  const running = call('nft', ['-f', '-'])
  running.child.stdin.end(rules)
  await running
}

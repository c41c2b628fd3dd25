// What every client measures alike.
import process from 'node:process'

/** One whole transfer after the other, as many as begin within so long. */
export async function transfers (ms, size, once) {
  const latencies = []
  const cpu = process.cpuUsage()
  const from = performance.now()
  let start = from
  do {
    await once()
    const end = performance.now()
    latencies.push(end - start)
    start = end
  } while (start - from < ms)
  return summary(latencies, start - from, process.cpuUsage(cpu), size)
}

/** What so many milliseconds were worth; `size` is the bytes of one transfer. */
export function summary (latencies, ms, cpu, size) {
  const sorted = Float64Array.from(latencies).sort()
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
  return {
    requests: sorted.length,
    perSecond: sorted.length / ms * 1000,
    ...(size && { bytesPerSecond: sorted.length * size / ms * 1000 }),
    p50: at(0.5),
    p99: at(0.99),
    cpuPerRequest: (cpu.user + cpu.system) / sorted.length
  }
}

/** Keeps `inFlight` calls of `once` going for so long. */
export async function closedLoop (ms, inFlight, once) {
  const latencies = []
  const cpu = process.cpuUsage()
  const from = performance.now()
  const worker = async () => {
    for (let start = performance.now(); start - from < ms;) {
      await once()
      const end = performance.now()
      latencies.push(end - start)
      start = end
    }
  }
  await Promise.all(Array.from({ length: inFlight }, worker))
  return summary(latencies, performance.now() - from, process.cpuUsage(cpu))
}

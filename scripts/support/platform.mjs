// What napi-rs calls this platform.
import process from 'node:process'

const isGlibc = () => process.report.getReport().header.glibcVersionRuntime !== undefined

const abi = () => {
  if (process.platform === 'linux') return isGlibc() ? '-gnu' : '-musl'
  return process.platform === 'win32' ? '-msvc' : ''
}

export const PLATFORM = `${process.platform}-${process.arch}${abi()}`
export const addonOf = (platform) => `holdfast.${platform}.node`

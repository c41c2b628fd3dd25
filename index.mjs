import HttpAgent from './index.js'

export { HttpAgent }
export const { constants } = HttpAgent
export default HttpAgent

import HttpAgent from './index.js'

export { HttpAgent }
export const { HttpsAgent, constants } = HttpAgent
export default HttpAgent

import HttpAgent from './index.js'

export { HttpAgent }
export const { HttpsAgent, FetchAgent, createFetch, fetch, constants } = HttpAgent
export default HttpAgent

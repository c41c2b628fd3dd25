import { HttpAgent } from './index.js'

export { HttpAgent, HttpsAgent, FetchAgent, createFetch, fetch, constants } from './index.js'
export type {
  AgentStats,
  AgentStatus,
  ChannelMessage,
  CloseReason,
  ConnectionFacts,
  Duration,
  Events,
  FailureFacts,
  Fetch,
  FetchAgentOptions,
  FetchEvents,
  FetchRetryOptions,
  Histogram,
  HttpAgentOptions,
  HttpsAgentOptions,
  OriginStats,
  ReplayEvidence,
  ReplayRefusal,
  RetryOptions,
  StatsNumbers,
  UnsupportedTlsOption
} from './index.js'
export default HttpAgent

import { HttpAgent } from './index.js'

export { HttpAgent, constants } from './index.js'
export type {
  AgentStats,
  AgentStatus,
  ChannelMessage,
  CloseReason,
  ConnectionFacts,
  Duration,
  Events,
  FailureFacts,
  Histogram,
  HttpAgentOptions,
  OriginStats,
  ReplayEvidence,
  ReplayRefusal,
  RetryOptions,
  StatsNumbers
} from './index.js'
export default HttpAgent

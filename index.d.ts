import * as events from 'node:events'
import * as http from 'node:http'
import * as https from 'node:https'
import * as net from 'node:net'
import * as stream from 'node:stream'

import Agent = HttpAgent

declare module 'http' {
  interface ClientRequest {
    /**
     * How often the request was sent again on a fresh connection. Set by an `HttpAgent` when it takes the request.
     *
     * Shape: integer, at most 1 unless `retry.attempts` allows more. Default: 0; `undefined` with other agents.
     */
    retryCount?: number | undefined
  }

  interface RequestOptions {
    /**
     * What may be sent again of this one request: as the agent's option of that name, whose settings hold for what is
     * left out here. One with `limit`, `retries`, `maxRetries` or `calculateDelay` is another library's, left in the options
     * (got 11 does so), and is ignored.
     *
     * Errors: those of `HttpAgent.RetryOptions`, from `http.request`.
     */
    retry?: boolean | HttpAgent.RetryOptions | undefined
  }
}

declare global {
  interface RequestInit {
    /** A `FetchAgent`, or a dispatcher of undici's. Source: Node.js `fetch`. */
    dispatcher?: any
  }
}

/**
 * A pool of keep-alive connections for plain HTTP, to be passed where an `http.Agent` is passed. Idle connections are
 * watched and asked of the kernel before each use; a request that dies on a reused one is sent again where that is safe.
 *
 * Errors: `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, `ERR_OUT_OF_RANGE`, from the constructor.
 * Source: Node.js `http.Agent`; agentkeepalive 4.6 `HttpAgent`.
 */
declare class HttpAgent extends http.Agent {
  constructor (options?: HttpAgent.HttpAgentOptions | null)

  /**
   * The options in force, as new requests are merged with them. A change holds for what is decided from then on.
   *
   * Shape: an object without prototype; the one given to the constructor is never changed.
   * Source: Node.js `http.Agent`, where it is not documented.
   */
  readonly options: HttpAgent.HttpAgentOptions

  /** Whether connections are kept after a request. Source: Node.js `http.Agent`. */
  keepAlive: boolean

  /** Delay of the first TCP keep-alive probe. Unit: milliseconds. Source: Node.js `http.Agent`. */
  keepAliveMsecs: number

  /** Which idle connection is reused first. Source: Node.js `http.Agent`. */
  readonly scheduling: 'lifo' | 'fifo'

  /** The protocol of the requests it takes: `'http:'`. Source: Node.js `http.Agent`. */
  protocol: string

  /** The port of a request that names none: 80. Source: Node.js `http.Agent`. */
  defaultPort: number

  /** Sockets in `sockets` and `freeSockets` together. Shape: integer. Source: Node.js `http.Agent`. */
  readonly totalSocketCount: number

  /** Sockets made so far. A replay's fresh connection belongs to the same socket. Source: agentkeepalive. */
  createSocketCount: number
  /** Sockets that a `createConnection` of the caller's own failed to make. Source: agentkeepalive. */
  createSocketErrorCount: number
  /** Sockets closed so far. Source: agentkeepalive. */
  closeSocketCount: number
  /** Sockets that emitted an error. Source: agentkeepalive. */
  errorSocketCount: number
  /** Sockets that emitted `timeout`, and idle ones that were closed by time. Source: agentkeepalive. */
  timeoutSocketCount: number
  /** Requests finished with their socket given back. Source: agentkeepalive. */
  requestCount: number

  /** The counter when `statusChanged` was last read. Source: agentkeepalive. */
  createSocketCountLastCheck: number
  /** The counter when `statusChanged` was last read. Source: agentkeepalive. */
  createSocketErrorCountLastCheck: number
  /** The counter when `statusChanged` was last read. Source: agentkeepalive. */
  closeSocketCountLastCheck: number
  /** The counter when `statusChanged` was last read. Source: agentkeepalive. */
  errorSocketCountLastCheck: number
  /** The counter when `statusChanged` was last read. Source: agentkeepalive. */
  timeoutSocketCountLastCheck: number
  /** The counter when `statusChanged` was last read. Source: agentkeepalive. */
  requestCountLastCheck: number

  /**
   * Whether a counter has moved since this was last read. Reading it sets the mark anew.
   *
   * Source: agentkeepalive 4.6.
   */
  readonly statusChanged: boolean

  /**
   * The longest silence on a socket in use: `options.timeout`.
   *
   * Unit: milliseconds. Shape: number. Default: `undefined`, no limit.
   * Source: agentkeepalive 4.6, where it can only be read.
   */
  timeout: number | undefined

  /** `options.freeSocketTimeout`. Unit: milliseconds. Source: agentkeepalive 4.6. */
  readonly freeSocketKeepAliveTimeout: number

  /** `options.socketActiveTTL`. Unit: milliseconds. Source: agentkeepalive 4.6. */
  readonly socketActiveTTL: number | undefined

  /**
   * Counters, and how many sockets and waiting requests each origin has.
   *
   * Shape: a new plain object.
   * Source: agentkeepalive 4.6.
   */
  getCurrentStatus (): HttpAgent.AgentStatus

  /**
   * What agentkeepalive would set as the idle timeout of a socket. The engine decides by itself; this only answers.
   *
   * Unit: milliseconds. Shape: number, 0 or less to close the socket, or `undefined` for no limit.
   * Source: agentkeepalive 4.6.
   */
  calcSocketTimeout (socket: stream.Duplex): number | undefined

  /**
   * The engine's numbers, in total and by origin, since the agent was made.
   *
   * Unit: milliseconds in `queueWait`, `connect` and `idleAge`; counts elsewhere. Shape: a new plain object. At every
   * 1024th origin, those that have neither connections nor waiting requests are forgotten; the sums keep their numbers.
   */
  stats (): HttpAgent.AgentStats

  /**
   * Ends the agent without breaking anything off: idle connections are closed, new requests are refused, and those in
   * flight or waiting are finished. Calling it again gives the same promise.
   *
   * Shape: a promise that resolves when no socket is left.
   * Errors: none here; each later request fails with `ERR_AGENT_CLOSED`.
   */
  close (): Promise<void>

  /**
   * Destroys all sockets, those in use too. Waiting requests are served afterwards, and the agent may be used again.
   *
   * Source: Node.js `http.Agent`.
   */
  destroy (): void

  /**
   * Gives a request a socket now, or when there is one. `http.request` calls this.
   *
   * Errors: `ERR_AGENT_CLOSED`, `ERR_AGENT_QUEUE_FULL`, `ERR_AGENT_CHECKOUT_TIMEOUT`, as the request's `error` event.
   * Source: Node.js `http.Agent`, where it is not documented.
   */
  addRequest (req: http.ClientRequest, options: http.RequestOptions): void

  /**
   * Makes a socket for a request, whatever the limits say.
   *
   * Source: Node.js `http.Agent`, where it is not documented.
   */
  createSocket (
    req: http.ClientRequest,
    options: http.RequestOptions,
    callback: (error: Error | null, socket?: stream.Duplex) => void
  ): void

  /**
   * Takes a socket out of `sockets`, and of `freeSockets` if it is not writable.
   *
   * Source: Node.js `http.Agent`, where it is not documented.
   */
  removeSocket (socket: stream.Duplex, options: http.RequestOptions): void

  /**
   * Asked before a socket becomes idle; override it to close some. Time limits and server hints are checked besides.
   *
   * Shape: `false` closes the socket.
   * Source: Node.js `http.Agent`.
   */
  keepSocketAlive (socket: stream.Duplex): boolean

  on<K extends keyof HttpAgent.Events> (event: K, listener: (...args: HttpAgent.Events[K]) => void): this
  on (event: string | symbol, listener: (...args: any[]) => void): this
  once<K extends keyof HttpAgent.Events> (event: K, listener: (...args: HttpAgent.Events[K]) => void): this
  once (event: string | symbol, listener: (...args: any[]) => void): this
  addListener<K extends keyof HttpAgent.Events> (event: K, listener: (...args: HttpAgent.Events[K]) => void): this
  addListener (event: string | symbol, listener: (...args: any[]) => void): this
  prependListener<K extends keyof HttpAgent.Events> (event: K, listener: (...args: HttpAgent.Events[K]) => void): this
  prependListener (event: string | symbol, listener: (...args: any[]) => void): this
  prependOnceListener<K extends keyof HttpAgent.Events> (
    event: K, listener: (...args: HttpAgent.Events[K]) => void): this
  prependOnceListener (event: string | symbol, listener: (...args: any[]) => void): this
  off<K extends keyof HttpAgent.Events> (event: K, listener: (...args: HttpAgent.Events[K]) => void): this
  off (event: string | symbol, listener: (...args: any[]) => void): this
  removeListener<K extends keyof HttpAgent.Events> (event: K, listener: (...args: HttpAgent.Events[K]) => void): this
  removeListener (event: string | symbol, listener: (...args: any[]) => void): this
}

declare namespace HttpAgent {
  export { Agent as HttpAgent }

  /** A number of milliseconds, or a text like `'500ms'`, `'30s'`, `'2m'`, `'1h'`, `'1d'`. */
  export type Duration = number | string

  /**
   * What the constructor takes: the options below, and whatever `net.connect` takes (`family`, `localAddress`, `lookup`,
   * `noDelay`, `autoSelectFamily`, …). `null` and `undefined` stand for the default.
   *
   * Errors: `ERR_INVALID_ARG_TYPE` and `ERR_OUT_OF_RANGE`, each with the option's name.
   */
  export interface HttpAgentOptions extends Omit<http.AgentOptions, 'timeout' | 'proxyEnv'> {
    /**
     * Keeps connections for later requests.
     *
     * Shape: boolean. Default: `true`.
     * Source: Node.js `http.Agent`, whose default is `false`; agentkeepalive.
     */
    keepAlive?: boolean | undefined

    /**
     * Delay of the first TCP keep-alive probe on an otherwise silent connection. The kernel counts whole seconds; less
     * than one leaves the system's delay.
     *
     * Unit: milliseconds. Shape: number. Default: 1000. Range: 0 to 2147483647, or Infinity (the system's).
     * Source: Node.js `http.Agent`.
     */
    keepAliveMsecs?: number | undefined

    /**
     * Most connections to one origin that are in use, being opened or closing. Further requests wait. May be assigned to
     * the agent later.
     *
     * Shape: number. Default: `Infinity`. Range: 0 (`http.Agent.defaultMaxSockets`) to `Infinity`.
     * Source: Node.js `http.Agent`.
     */
    maxSockets?: number | undefined

    /**
     * Most connections to all origins together, idle ones included. May be assigned to the agent later.
     *
     * Shape: number. Default: `Infinity`. Range: 1 to `Infinity`.
     * Source: Node.js `http.Agent`.
     */
    maxTotalSockets?: number | undefined

    /**
     * Most idle connections to one origin; a further one is closed when its request ends. May be assigned to the agent
     * later.
     *
     * Shape: number. Default: 256. Range: 0 (the default) to `Infinity`.
     * Source: Node.js `http.Agent`.
     */
    maxFreeSockets?: number | undefined

    /**
     * Which idle connection is reused first: `'lifo'`, the one used last, or `'fifo'`, the one idle for the longest.
     *
     * Default: `'lifo'`.
     * Errors: `ERR_INVALID_ARG_VALUE`, from the constructor.
     * Source: Node.js `http.Agent`.
     */
    scheduling?: 'lifo' | 'fifo' | undefined

    /**
     * Longest silence on a socket in use. When it has passed, the request emits `timeout`; if nobody listens to that, nor to the
     * response's, nor gave `socket.setTimeout` a callback, the socket is destroyed with `ERR_SOCKET_TIMEOUT`. Idle sockets have a clock of their own: `freeSocketTimeout`.
     *
     * Unit: milliseconds. Shape: number or duration. Default: none. Range: 0 (no limit) to 2147483647.
     * Source: Node.js `http.Agent`; agentkeepalive, whose default is at least 8000.
     */
    timeout?: Duration | undefined

    /**
     * Longest time a connection may stay idle before it is closed. A server's hint may shorten it, never lengthen it.
     *
     * Unit: milliseconds. Shape: number or duration. Default: 4000. Range: 0 (no limit) to 2147483647.
     * Source: agentkeepalive; RFC 9112 §9.5.
     */
    freeSocketTimeout?: Duration | undefined

    /**
     * Another name of `freeSocketTimeout`, which wins if both are given.
     *
     * Source: agentkeepalive.
     */
    keepAliveTimeout?: Duration | undefined

    /**
     * Another name of `freeSocketTimeout`, which wins if both are given.
     *
     * Source: agentkeepalive.
     */
    freeSocketKeepAliveTimeout?: Duration | undefined

    /**
     * Longest time from connecting to the last request that a connection may begin. A request in flight is not broken
     * off.
     *
     * Unit: milliseconds. Shape: number or duration. Default: none. Range: 0 (no limit) to 2147483647.
     * Source: agentkeepalive.
     */
    socketActiveTTL?: Duration | undefined

    /**
     * Share of `socketActiveTTL` by which each connection's limit is shortened at random, so that those opened together
     * do not end together.
     *
     * Unit: a ratio. Shape: number. Default: 0.1. Range: 0 to 1.
     */
    ttlJitter?: number | undefined

    /**
     * Taken off a server's `Keep-Alive: timeout=`, so that a connection is retired before the server closes it.
     *
     * Unit: milliseconds. Shape: number. Default: 1000. Range: 0 to 2147483647.
     * Source: Node.js 24 `http.Agent`.
     */
    agentKeepAliveTimeoutBuffer?: number | undefined

    /**
     * Shortens the idle timeout of an origin that closes idle connections sooner than it says. Two or more closes at
     * a similar idle age teach it, unless they come together (a deploy). Connections are then retired a tenth of that age
     * earlier, at least 10 ms. Likewise an origin that closes after the same number of requests, two or more, teaches
     * that number. A connection that outlives a lesson unteaches it, and ten minutes without a close do.
     *
     * Where nothing is learned yet, a request that would not be sent again (a POST without a key, or any with `retry: false`)
     * is not sent on a connection that has been silent for more than 250 ms, unless the server's hint less a tenth, or
     * 200 ms, covers that, or another connection to the origin has been silent for a quarter longer, or for
     * `freeSocketTimeout`, and still stood. It gets a fresh one beside it, if `maxSockets`, `maxTotalSockets` and
     * `maxFreeSockets` leave room for both; `unproven` in `stats()` counts these. If that one is refused or takes more than a second to open, the request gets the idle one.
     *
     * Shape: boolean. Default: `true`. What is learned is in `stats()`; ages below 40 ms and above an hour are not.
     */
    learnIdleTimeout?: boolean | undefined

    /**
     * Most requests on one connection.
     *
     * Shape: integer. Default: none. Range: 1 to 4294967295.
     */
    maxRequestsPerSocket?: number | undefined

    /**
     * Longest time for opening a connection, `getaddrinfo` included; a `lookup` function's own time is not counted.
     *
     * Unit: milliseconds. Shape: number or duration. Default: none. Range: 0 (no limit) to 2147483647.
     * Errors: `ETIMEDOUT`, as the request's `error` event.
     */
    connectTimeout?: Duration | undefined

    /**
     * Most requests to one origin that may wait for a connection.
     *
     * Shape: integer. Default: none. Range: 1 to 4294967295.
     * Errors: `ERR_AGENT_QUEUE_FULL`, as the request's `error` event.
     */
    queueLimit?: number | undefined

    /**
     * Longest time a request may wait for a connection.
     *
     * Unit: milliseconds. Shape: number or duration. Default: none. Range: 0 (no limit) to 2147483647.
     * Errors: `ERR_AGENT_CHECKOUT_TIMEOUT`, as the request's `error` event.
     */
    queueTimeout?: Duration | undefined

    /**
     * Longest time that sent bytes may stay unacknowledged before the kernel gives the connection up. Linux only;
     * elsewhere it has no effect.
     *
     * Unit: milliseconds. Shape: number or duration. Default: the system's. Range: 0 (the system's) to 2147483647.
     * Source: tcp(7), `TCP_USER_TIMEOUT`.
     */
    tcpUserTimeout?: Duration | undefined

    /**
     * Time between two TCP keep-alive probes. The kernel counts whole seconds, at least one.
     *
     * Unit: milliseconds. Shape: number. Default: 1000, as libuv sets it. Range: 0 (the default) to 32767000.
     * Source: tcp(7), `TCP_KEEPINTVL`.
     */
    keepAliveInterval?: number | undefined

    /**
     * Unanswered TCP keep-alive probes after which the kernel gives the connection up. Not on Windows.
     *
     * Shape: integer. Default: 10, as libuv sets it. Range: 1 to 127.
     * Source: tcp(7), `TCP_KEEPCNT`.
     */
    keepAliveCount?: number | undefined

    /**
     * What is sent again when a connection dies; `false` turns that off. A request's options may have one too.
     *
     * Default: `true`, which stands for `{}`.
     */
    retry?: boolean | RetryOptions | undefined

    /**
     * The proxy through which connections are opened: `http://`, `https://`, `socks5://` (names are looked up here) or
     * `socks5h://` (the proxy looks them up), with a percent-encoded user and password if it wants them. Requests for plain
     * HTTP name their server themselves on an HTTP proxy; everything else is tunnelled. Read once, and shown nowhere.
     *
     * Shape: string or URL; `false` for none, whatever the environment says. Default: as `proxyEnv` says.
     * Errors: `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, without the value; later `ERR_PROXY_TUNNEL` as the error of
     * a request, with the proxy's `statusCode` if it answered.
     * Source: curl's `--proxy`; RFC 9110 section 9.3.6, RFC 1928.
     */
    proxy?: string | URL | false | undefined

    /**
     * Where the names `http_proxy`, `https_proxy` and `no_proxy` (or in capitals) are looked up, as Node 24 does. Proxies of
     * other schemes than `http:` and `https:` are ignored.
     *
     * Shape: an object like `process.env`. Default: `process.env` if `NODE_USE_ENV_PROXY=1` or `--use-env-proxy` is set, else
     * none.
     * Source: Node.js 24 `http.Agent`, which heeds those two for its global agent alone.
     */
    proxyEnv?: http.AgentOptions['proxyEnv']
  }

  /**
   * Which requests are sent again, how often, and how much of them is kept for that.
   *
   * Errors: `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` and `ERR_OUT_OF_RANGE`, each with the option's name.
   */
  export interface RetryOptions {
    /**
     * Methods that may be sent twice. A request with an `Idempotency-Key` or `X-Idempotency-Key` header always may.
     *
     * Shape: array of strings, in any case. Default: GET, HEAD, OPTIONS, TRACE, PUT, DELETE, QUERY.
     * Errors: `ERR_INVALID_ARG_TYPE`, from the constructor.
     * Source: RFC 9110 §9.2.2.
     */
    methods?: readonly string[] | undefined

    /**
     * Most bytes of a request, headers included, that are kept so that it can be sent again.
     *
     * Unit: bytes. Shape: integer. Default: 65536. Range: 0 to 4294967295.
     */
    maxBodyBytes?: number | undefined

    /**
     * What is done with a request of another method of which bytes have left, when a reused connection dies before an
     * answer: `'evidence'` sends it again if the kernel proves that no server can have executed it (the server had closed
     * first, and its kernel has acknowledged no byte of it), which only Linux can; `'never'` does not; `'always'` does,
     * and the caller answers for what is executed twice.
     *
     * Default: `'evidence'`.
     */
    nonIdempotent?: 'evidence' | 'never' | 'always' | undefined

    /**
     * Further attempts, each after a wait, for a request whose connection could not be opened, and for an idempotent one
     * whose connection died though it was fresh. The one replay after the death of a reused connection is not counted.
     *
     * Shape: integer. Default: 0. Range: 0 to 2147483647.
     */
    attempts?: number | undefined

    /**
     * The wait before attempt n: a random part of `base` times 2 to the power of n, which is at most `max`. `destroy()`,
     * an `AbortSignal` and a timeout of the request end it.
     *
     * Unit: milliseconds. Shape: numbers. Default: `{ base: 100, max: 10000 }`. Range: 0 to 2147483647.
     */
    backoff?: { base?: number | undefined, max?: number | undefined } | undefined

    /**
     * What may be sent again to one origin, replays and further attempts together, within ten seconds: a share of the
     * requests made in them, and a number for each second on top. Beyond that the first error surfaces.
     *
     * Unit: a ratio, and requests per second. Shape: numbers. Default: `{ ratio: 0.2, minPerSecond: 10 }`.
     * Range: 0 to `Infinity`.
     */
    budget?: { ratio?: number | undefined, minPerSecond?: number | undefined } | undefined

    /**
     * The failures that `attempts` are for.
     *
     * Shape: array of the system's error codes, and `'ENOTFOUND'`. Default: ECONNRESET, ECONNREFUSED, ETIMEDOUT, EPIPE,
     * EAI_AGAIN, ENETUNREACH, EHOSTUNREACH.
     */
    codes?: readonly string[] | undefined
  }

  /** What holdfast adds to the `error` of a request that failed on one of its connections. */
  export interface FailureFacts {
    /** Whether the connection had served before. */
    reused: boolean
    /** How long it had been idle before this request. Unit: milliseconds. Left out if it had not been. */
    idleMs?: number
    /** Requests that it had served to the end. */
    requestsOnSocket: number
    /** Where the bytes of the request went. */
    evidence: ReplayEvidence
    /** How often the request was sent, or its connection tried. */
    attempts: number
    /** Why it was not sent again. */
    replayRefused: ReplayRefusal
  }

  /** What `getCurrentStatus()` gives. The keys of the three maps are the names of origins, as `getName` makes them. */
  export interface AgentStatus {
    createSocketCount: number
    createSocketErrorCount: number
    closeSocketCount: number
    errorSocketCount: number
    timeoutSocketCount: number
    requestCount: number
    /** Idle sockets by origin. */
    freeSockets: Record<string, number>
    /** Sockets in use or being opened, by origin. */
    sockets: Record<string, number>
    /** Waiting requests by origin. */
    requests: Record<string, number>
  }

  /**
   * Why a connection ended: idle for longer than `freeSocketTimeout`; older than its TTL; the server's `Keep-Alive` header
   * said so; `maxRequestsPerSocket`; the server closed it; the server reset it; bytes came that nobody had asked for; a
   * limit left no place for it; it was not tried after a sibling had died in use, or after the machine had slept; opening
   * it or an exchange on it failed; it was not fit to be kept after its request; the caller destroyed it, or Node did
   * after a request without keep-alive; the caller took it over (upgrade, CONNECT).
   */
  export type CloseReason =
    | 'expired' | 'ttl' | 'hint' | 'maxRequests' | 'peerFin' | 'peerReset' | 'unsolicited' | 'evicted'
    | 'distrusted' | 'error' | 'finished' | 'destroyed' | 'detached'

  /**
   * Where the bytes of a failed request went: the kernel took none of them; the server had closed, and its kernel has
   * acknowledged none; its kernel has some of them; nobody can tell (a reset that may have overtaken an acknowledgement,
   * or a system other than Linux); the server says that it has not looked at them (HTTP/2: a refused stream, or one that its
   * goodbye leaves out).
   */
  export type ReplayEvidence = 'notWritten' | 'peerClosedFirst' | 'acknowledged' | 'unknown' | 'refused'

  /**
   * Why a failed request was not sent again: `retry: false`; its answer had begun; its connection was fresh; it had been
   * sent again as often as the policy says; it is not idempotent and `nonIdempotent` is `'never'`; it is not idempotent,
   * and the server's kernel has bytes of it, or may have; it outgrew the replay buffer; the origin's budget is empty.
   */
  export type ReplayRefusal =
    | 'off' | 'answered' | 'freshConnection' | 'spent' | 'notIdempotent' | 'acknowledged' | 'unknown' | 'capped'
    | 'budget'

  /** A distribution. `p50` and `p99` are upper bounds, exact within a factor of 2. */
  export interface Histogram {
    /** Values seen. */
    count: number
    /** Their mean; 0 without values. */
    mean: number
    p50: number
    p99: number
    /** The largest. */
    max: number
  }

  /** Numbers that add up over origins. */
  export interface StatsNumbers {
    /** Connections being opened now. */
    connecting: number
    /** Connections at rest now. */
    idle: number
    /** Connections that serve a request now. */
    leased: number
    /** Connections given up and not gone yet. */
    closing: number
    /** Requests that wait for a connection now. */
    waiting: number
    /** Connections begun so far, a replay's included. */
    opened: number
    /** Times that a request was given a connection, new or reused. */
    requests: number
    /** Of these, with a connection that had served before. */
    reused: number
    /**
     * Times that a request which would not be sent again was given a new connection although one was idle: nobody knew whether
     * the server was about to close that one. See `learnIdleTimeout`.
     */
    unproven: number
    /** Connections that could not be opened. */
    connectErrors: number
    /** Requests refused with `ERR_AGENT_QUEUE_FULL`. */
    queueFull: number
    /** Requests refused with `ERR_AGENT_CHECKOUT_TIMEOUT`. */
    queueTimeouts: number
    /** Connections ended, by reason; reasons that have not come up are left out. */
    closed: Partial<Record<CloseReason, number>>
    /** Requests sent again at once, by where their bytes had gone; likewise. */
    replays: Partial<Record<ReplayEvidence, number>>
    /** Further attempts after a wait. */
    retries: number
    /** Requests that failed before an answer and were not sent again, by reason; likewise. */
    refused: Partial<Record<ReplayRefusal, number>>
  }

  /** One origin's share of `stats()`. */
  export interface OriginStats extends StatsNumbers {
    /**
     * What the origin has taught: the idle time that is kept below what it closes at, in milliseconds, and the requests
     * after which it closes.
     */
    learned: { idleTimeout: number | undefined, maxRequests: number | undefined }
    /** How long requests waited for a connection. Unit: milliseconds. */
    queueWait: Histogram
    /** How long opening took, name lookup by the engine included. Unit: milliseconds. */
    connect: Histogram
    /** How long connections had been idle when they were reused. Unit: milliseconds. */
    idleAge: Histogram
    /** Requests per connection, counted when it ends. */
    requestsPerConnection: Histogram
  }

  /** What `stats()` gives: sums over all origins, and each origin by name. */
  export interface AgentStats extends StatsNumbers {
    origins: Record<string, OriginStats>
  }

  /** The facts of one connection, at the moment of the event. */
  export interface ConnectionFacts {
    /** The origin's name, as `getName` makes it. */
    origin: string
    /** The socket; it stays the same when a replay puts a fresh connection under it. */
    socket: net.Socket
    /** Time since the connection was opened; `undefined` if it never was. Unit: milliseconds. */
    age: number | undefined
    /** Requests that the connection has served to the end. */
    requests: number
    /** How long opening took; of `connect` alone. Unit: milliseconds. */
    connectTime: number | undefined
    /** Why it ended; of `close` alone. `undefined` for sockets of the caller's own. */
    reason: CloseReason | undefined
  }

  /** The same of a `FetchAgent`'s connection. */
  export interface FetchConnectionFacts extends Omit<ConnectionFacts, 'origin' | 'socket'> {
    /** The origin: `https://localhost:8080`, with `:h2` behind it where HTTP/2 may be spoken. */
    origin: string
    /** Stands for the connection; it is no socket of Node's. */
    socket: object
  }

  /** The message of the diagnostics channels `holdfast:connect`, `holdfast:reuse`, `holdfast:replay`, `holdfast:close`. */
  export interface ChannelMessage extends Omit<ConnectionFacts, 'socket'> {
    /** The agent whose connection it is. */
    agent: Agent | FetchAgent
    /** A `net.Socket` of an `HttpAgent` or `HttpsAgent`; of a `FetchAgent`, what stands for the connection. */
    socket: net.Socket | object
  }

  /** The agent's events, with the arguments of their listeners. */
  export interface Events {
    /** A connection was opened by the engine. */
    connect: [facts: ConnectionFacts]
    /** A request got a connection that had served before. */
    reuse: [facts: ConnectionFacts]
    /** A request is sent again: the connection below its socket died, and a fresh one is being opened. */
    replay: [facts: ConnectionFacts]
    /** A socket closed, or left the agent by an upgrade. */
    close: [facts: ConnectionFacts]
    /** Node's: a request is over and gives its socket back. */
    free: [socket: stream.Duplex, options: http.RequestOptions]
    /** Node's: a line of key material, from a TLS socket. */
    keylog: [line: Buffer, socket: stream.Duplex]
  }

  /** Options of TLS that cannot be honoured: given, they are refused by name. */
  export type UnsupportedTlsOption = 'clientCertEngine' | 'enableTrace' | 'privateKeyEngine' | 'privateKeyIdentifier' |
    'pskCallback' | 'secureContext' | 'socket'

  /**
   * What the constructor of `HttpsAgent` takes: everything of `HttpAgent`, and what `https.Agent` and `tls.connect` take (`ca`,
   * `cert`, `key`, `pfx`, `servername`, `rejectUnauthorized`, `checkServerIdentity`, `minVersion`, …), with Node's meaning,
   * defaults and errors. Without `ca`, the roots that Node trusts by default are trusted.
   *
   * Errors: those of `HttpAgentOptions`; `ERR_INVALID_ARG_VALUE` for an `UnsupportedTlsOption`, from the constructor; Node's
   * own for keys, certificates, ciphers and versions, from `https.request`.
   * Source: Node.js `https.Agent`, `tls.connect`, `tls.createSecureContext`.
   */
  export interface HttpsAgentOptions extends HttpAgentOptions,
    Omit<https.AgentOptions, keyof http.AgentOptions | UnsupportedTlsOption> {}

  /**
   * `HttpAgent` for HTTPS, to be passed where an `https.Agent` is passed, of which it is a subclass. Handshakes run on
   * a background thread. Its sockets are `tls.TLSSocket`s by `instanceof` and by what they answer; when a dead connection is
   * replaced below a request, the fresh one's certificate is verified too, and its socket emits `secureConnect` again.
   *
   * Errors: those of `HttpAgent` and of `HttpsAgentOptions`.
   * Source: Node.js `https.Agent`; agentkeepalive 4.6 `HttpsAgent`.
   */
  export class HttpsAgent extends Agent {
    constructor (options?: HttpsAgentOptions | null)

    readonly options: HttpsAgentOptions & { timeout?: number | undefined }

    /** Most sessions that are kept to be resumed. Default: 100; 0 keeps none. Source: Node.js `https.Agent`. */
    maxCachedSessions: number

    /** A socket of Node's own, for whoever calls it. Source: Node.js `https.Agent`. */
    createConnection (
      options: https.RequestOptions,
      callback?: (error: Error | null, socket: stream.Duplex) => void
    ): stream.Duplex | null | undefined

    /** As Node's, with fingerprints in place of keys and certificates. Source: Node.js `https.Agent`. */
    getName (options?: https.RequestOptions): string
  }

  /** A replay policy that also looks at answers. */
  export interface FetchRetryOptions extends RetryOptions {
    /**
     * Statuses after which a request that may be sent twice is sent again, `attempts` times at most (give it too: it is 0 by
     * default, and an error here). The wait is what
     * `Retry-After` asks for, unless that is longer than `backoff.max` (then the answer is delivered), or else the backoff's.
     *
     * Shape: array of integers. Default: none. Range: 400 to 599.
     * Errors: `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, from the constructor; `UND_ERR_INVALID_ARG` for a request's own.
     * Source: undici's `RetryHandler`; RFC 9110 §10.2.3.
     */
    retryOn?: readonly number[] | undefined
  }

  /**
   * What the constructor of `FetchAgent` takes: everything of `HttpsAgent`, without `timeout`, and undici's names. Options of
   * TLS and of `net.connect` may also be given within `connect`.
   *
   * Errors: those of `HttpsAgentOptions`; `ERR_INVALID_ARG_VALUE` for what cannot be honoured: `connect` as a
   * function, `factory`, `interceptors`, `pipelining` above 1.
   * Source: undici 8 `Agent`, `Client`.
   */
  export interface FetchAgentOptions extends Omit<HttpsAgentOptions, 'timeout' | 'retry'> {
    /** What is sent again. Default: as of `HttpAgent`; no status. */
    retry?: boolean | FetchRetryOptions | undefined

    /** Another name of `maxSockets`. Source: undici `Pool`. */
    connections?: number | null | undefined

    /** Options of `net.connect` and `tls.connect`; its `timeout` is another name of `connectTimeout`. Source: undici `Client`. */
    connect?: HttpsAgentOptions & { timeout?: Duration | undefined, socketPath?: string | undefined } | undefined

    /**
     * How long the head of an answer may take from the moment the request has left; 0 is no limit. By request, too. Of an
     * upload, how long the server may leave a piece unread; what the caller takes to make the next does not count.
     *
     * Unit: milliseconds. Shape: number. Default: 300000. Range: 0 to 2147483647.
     * Errors: `UND_ERR_HEADERS_TIMEOUT`, from the request. Source: undici `Client`.
     */
    headersTimeout?: number | undefined

    /**
     * How long an answer may be silent within its body; 0 is no limit. By request, too.
     *
     * Unit: milliseconds. Shape: number. Default: 300000. Range: 0 to 2147483647.
     * Errors: `UND_ERR_BODY_TIMEOUT`, from the body. Source: undici `Client`.
     */
    bodyTimeout?: number | undefined

    /**
     * Most bytes of an answer's head.
     *
     * Unit: bytes. Shape: integer. Default: Node's `--max-http-header-size`. Range: 1 to 2147483647.
     * Errors: `UND_ERR_HEADERS_OVERFLOW`, from the request. Source: undici `Client`.
     */
    maxHeaderSize?: number | undefined

    /**
     * Most bytes of an answer's body as sent; -1 is no limit.
     *
     * Unit: bytes. Shape: integer. Default: -1. Range: -1 to 9007199254740991.
     * Errors: `UND_ERR_RES_EXCEEDED_MAX_SIZE`, from the body. Source: undici `Client`.
     */
    maxResponseSize?: number | undefined

    /**
     * Whether a body of another length than its `content-length` is refused before anything is sent.
     *
     * Shape: boolean. Default: `true`. Errors: `UND_ERR_REQ_CONTENT_LENGTH_MISMATCH`. Source: undici `Client`.
     */
    strictContentLength?: boolean | undefined

    /** Bounds `freeSocketTimeout` from above. Unit: milliseconds. Default: no bound. Source: undici `Client`. */
    keepAliveMaxTimeout?: number | undefined

    /** Another name of `agentKeepAliveTimeoutBuffer`. Source: undici `Client`. */
    keepAliveTimeoutThreshold?: number | undefined

    /** Another name of `maxRequestsPerSocket`. Source: undici `Pool`. */
    maxRequestsPerClient?: number | undefined

    /** Another name of `socketActiveTTL`. Source: undici `Pool`. */
    clientTtl?: number | null | undefined

    /** The same as in `connect`. Source: undici `Client`. */
    socketPath?: string | undefined

    /** Options of `tls.connect`; those of `connect` count more. Source: undici `Client`. */
    tls?: HttpsAgentOptions | undefined

    /**
     * Most origins that have connections or requests at a time. One that is asked for by another server name, or with and
     * without HTTP/2, counts as two.
     *
     * Shape: number. Default: `Infinity`. Range: >= 1. Errors: `UND_ERR_MAX_ORIGINS_REACHED`, from the request. Source: undici 7
     * `Agent`.
     */
    maxOrigins?: number | undefined

    /** 0 is `keepAlive: false`, 1 says nothing. Source: undici `Client`. */
    pipelining?: 0 | 1 | undefined

    /**
     * Whether HTTP/2 is used with servers that offer it (ALPN): all requests to an origin share one connection then, as
     * many at a time as the server allows. Upgrades and CONNECT get connections of HTTP/1.1 in any case, and a request can
     * ask for one by `allowH2: false`.
     *
     * Shape: boolean. Default: `false`. Source: undici `Client`.
     */
    allowH2?: boolean | undefined

    /**
     * After so long without a word of an HTTP/2 server it is asked whether it is there, and given up if it does not answer for
     * as long again, or for 20 seconds; 0 never asks.
     *
     * Unit: milliseconds. Shape: number. Default: 60000. Range: 0 to 2147483647. Source: undici 8 `Client`.
     */
    pingInterval?: number | undefined

    /**
     * Most streams of an HTTP/2 connection until its server has said how many.
     *
     * Shape: integer. Default: 100. Range: 1 to 4294967295. Source: undici `Client`.
     */
    maxConcurrentStreams?: number | undefined

    /**
     * Most bytes of an HTTP/2 answer's body that nobody has read yet.
     *
     * Unit: bytes. Shape: integer. Default: 1048576. Range: 1 to 2147483647. Source: undici 7 `Client`.
     */
    initialWindowSize?: number | undefined

    /**
     * The same of all answers of a connection together.
     *
     * Unit: bytes. Shape: integer. Default: 2147483647. Range: 1 to 2147483647. Source: undici 7 `Client`.
     */
    connectionWindowSize?: number | undefined

    /** What undici's `WebSocket` asks its dispatcher for: `maxFragments`, `maxPayloadSize`. Source: undici 7 `Client`. */
    webSocket?: object | undefined

    /** What undici's `EventSource` asks its dispatcher for: `maxEventSize`. Source: undici 7 `Client`. */
    eventSource?: object | undefined
  }

  /** A `FetchAgent`'s events: undici's, and those of `HttpAgent` but for `connect`, which is undici's here. */
  export interface FetchEvents {
    /** A request got a connection that had served before. */
    reuse: [facts: FetchConnectionFacts]
    /** A request is sent again: its connection died, and a fresh one is being opened. */
    replay: [facts: FetchConnectionFacts]
    /** A connection closed, or left the agent by an upgrade. */
    close: [facts: FetchConnectionFacts]
    /** A connection is open. */
    connect: [origin: URL, targets: readonly FetchAgent[]]
    /** A connection has closed. */
    disconnect: [origin: URL, targets: readonly FetchAgent[], error: Error]
    /** A connection could not be opened. */
    connectionError: [origin: URL, targets: readonly FetchAgent[], error: Error]
    /** Nothing waits for a connection to that origin any more. */
    drain: [origin: URL, targets: readonly FetchAgent[]]
  }

  /**
   * A dispatcher for `fetch` and for undici, with a pool of its own that works as those of `HttpAgent` and `HttpsAgent` do. hyper
   * speaks HTTP/1.1, and h2 speaks HTTP/2 where `allowH2` asks for it. undici's methods `request`, `stream`, … throw here: call
   * undici's functions of those names.
   *
   * Errors: undici's, by name, code and `instanceof`; failures have the facts of `FailureFacts` too.
   * Source: undici 6, 7 and 8, `Dispatcher`.
   */
  export class FetchAgent extends events.EventEmitter<FetchEvents> {
    constructor (options?: FetchAgentOptions | null)

    /**
     * Sends a request, and tells `handler` of its answer. Both generations of undici's handlers are understood, told apart by
     * `onRequestStart`.
     *
     * Shape: `false` if the request waits for a connection, or was refused; a `drain` follows the former.
     * Errors: `UND_ERR_INVALID_ARG`, of a handler that cannot hear of an error; all others go to the handler.
     */
    dispatch (options: object, handler: object): boolean

    /** This dispatcher, with interceptors before it and before those it has. Errors: `TypeError` for one that is none. */
    compose (...interceptors: any[]): any

    /** Whether it takes no more requests. */
    get closed (): boolean

    /** Whether all its connections were ended. */
    get destroyed (): boolean

    /** The numbers of its connections and requests, in total and by origin, as of `HttpAgent`. */
    stats (): AgentStats

    /**
     * No new requests: they fail with `UND_ERR_CLOSED`. Resolves when those under way have ended, and all connections have
     * closed. Errors: `UND_ERR_DESTROYED`, of an agent that has ended already.
     */
    close (): Promise<void>
    close (done: () => void): void

    /** Ends all connections now, and resolves when they have closed; requests fail with `error`, or with `UND_ERR_DESTROYED`. */
    destroy (error?: Error | null): Promise<void>
    destroy (done: () => void): void
    destroy (error: Error | null, done: () => void): void

    /**
     * Has every `fetch` of the process use this agent, by the symbols under which undici keeps its global dispatcher.
     *
     * Errors: `TypeError` where `globalThis` is frozen.
     */
    install (): this

    /** Gives back what `install` took, unless somebody else has taken it meanwhile. */
    uninstall (): this

    /** @deprecated Throws `UND_ERR_NOT_SUPPORTED`: call undici's function of that name with `{ dispatcher: agent }`. */
    connect (...args: any[]): any
    /** @deprecated As `connect`. */
    pipeline (...args: any[]): any
    /** @deprecated As `connect`. */
    request (...args: any[]): any
    /** @deprecated As `connect`. */
    stream (...args: any[]): any
    /** @deprecated As `connect`. */
    upgrade (...args: any[]): any
  }

  /** A `fetch` over an agent of its own, `fetch.agent`; `init.dispatcher` is another one for that call. */
  export interface Fetch {
    (input: string | URL | Request, init?: RequestInit & { retry?: boolean | FetchRetryOptions | undefined }): Promise<Response>
    readonly agent: FetchAgent
  }

  /**
   * A `fetch` that does without the platform's, several times as fast: it takes what that takes and answers with the platform's
   * `Response`. Left out: `cache`, `credentials`, `mode`, `referrer`, `keepalive`, `priority`, which are ignored, as Node's
   * own does with most of them, and `integrity`, which is refused. The body of a `Request` that is there at once is sent with
   * its length, and again after a 307 or 308; another one is a stream, which no redirect can send again. A `Response` that is
   * dropped unread ends its connection when it is collected.
   *
   * Shape: the options of a `FetchAgent`, or `{ dispatcher }` alone: one that is there already, with interceptors (`compose`) or
   * not.
   * Errors: those of a `FetchAgent`'s options, at once; the platform's `TypeError`s, from the call; `TypeError: fetch failed` with its `cause`, or the signal's reason.
   * Source: WHATWG Fetch; undici's `fetch`.
   */
  export function createFetch (options?: FetchAgentOptions | { dispatcher: FetchAgent } | null): Fetch

  /** A `createFetch()` that the process shares. It has no `agent`, and ends with the process. */
  export const fetch: (...args: Parameters<Fetch>) => Promise<Response>

  /** The keys under which agentkeepalive marks its sockets. The engine's sockets carry the last four marks. */
  export const constants: {
    readonly CURRENT_ID: unique symbol
    readonly CREATE_ID: unique symbol
    readonly INIT_SOCKET: unique symbol
    readonly CREATE_HTTPS_CONNECTION: unique symbol
    /** When the socket was made. Unit: milliseconds since the epoch. */
    readonly SOCKET_CREATED_TIME: unique symbol
    /** `sock[<number>#<origin>]`. */
    readonly SOCKET_NAME: unique symbol
    /** Requests given to the socket. */
    readonly SOCKET_REQUEST_COUNT: unique symbol
    /** Requests that gave it back. */
    readonly SOCKET_REQUEST_FINISHED_COUNT: unique symbol
  }
}

export = HttpAgent

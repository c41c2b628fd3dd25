// What lib/ uses of Node that its types do not tell, for `tsc --checkJs` alone.

declare module 'http' {
  namespace Agent {
    const defaultMaxSockets: number
  }
}

declare module 'net' {
  interface SocketConstructorOpts {
    manualStart?: boolean
    readableHighWaterMark?: number
    writableHighWaterMark?: number
  }
  interface Socket {
    _handle: any
    _httpMessage: any
    _readableState: any
    _host: string | null
    _unrefTimer(): void
    _writeGeneric(writev: boolean, data: any, encoding: string, callback: (error?: Error | null) => void): void
  }
}

declare module 'node:tls' {
  function convertALPNProtocols(protocols: string[] | Uint8Array[] | Uint8Array, out: { ALPNProtocols?: Buffer }): void
}

declare global {
  namespace NodeJS {
    interface Process {
      _tickCallback?: () => void
    }
  }
}
export {}

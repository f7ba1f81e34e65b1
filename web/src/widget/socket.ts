// The frame's connection to Parley's socket: the centrifuge client, loaded only once there is a conversation to follow.
import type { ChatEvent } from '../lib/protocol'

/** What the frame wants of a socket. */
export interface Socket {
  /** Sends a call that may be lost; says whether it was sent. */
  call(method: string, data: unknown): boolean
  /** Connects again, for subscriptions that the server makes on connect. */
  reconnect(): void
  close(): void
}

/** What a socket tells. */
export interface SocketEvents {
  /** Connected, each time anew: what was missed has to be fetched. */
  up(): void
  /** Not connected. `final`: the server does not want this token any more. */
  down(final: boolean): void
  event(event: ChatEvent): void
}

export type SocketFactory = (token: string, on: SocketEvents) => Socket

/** Opens sockets at the address of the frame's own origin. */
export function socketAt(url: string): SocketFactory {
  return (token, on) => {
    let client: import('centrifuge').Centrifuge | undefined
    let closed = false
    let restarting = false
    const open = async () => {
      const { Centrifuge, State } = await import('centrifuge')
      if (closed) return
      client = new Centrifuge(url, { token, minReconnectDelay: 500, maxReconnectDelay: 15_000 })
      client.on('connected', () => on.up())
      client.on('connecting', () => on.down(false))
      client.on('disconnected', () => {
        if (!closed && !restarting && client?.state === State.Disconnected) on.down(true)
      })
      client.on('publication', (p) => on.event(p.data as ChatEvent))
      client.connect()
    }
    const load = () => {
      open().catch(() => {
        // The code of the client did not arrive: the connection is down like any other.
        on.down(false)
        if (!closed) setTimeout(load, 5_000)
      })
    }
    load()
    return {
      call(method, data) {
        if (client?.state !== 'connected') return false
        client.rpc(method, data).catch(() => undefined)
        return true
      },
      reconnect() {
        restarting = true
        client?.disconnect()
        restarting = false
        client?.connect()
      },
      close() {
        closed = true
        client?.disconnect()
      },
    }
  }
}

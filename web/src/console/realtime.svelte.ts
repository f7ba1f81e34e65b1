// The socket: one connection for the console, its state for the reader, its events for whoever asked.

import { Centrifuge, type Subscription } from 'centrifuge'
import type { ChatEvent } from '../lib/protocol'

export type Status = 'connecting' | 'connected' | 'lost'

export interface ConversationListener {
  event: (event: ChatEvent) => void
  /** Someone came or went; `user` is visitor:ID or member:ID. */
  presence: (user: string, here: boolean) => void
  /** The subscription holds (again): what was missed meanwhile has to be fetched. */
  subscribed: () => void
}

export interface Listener {
  /** Events of the organisation and of the member. */
  event: (event: ChatEvent) => void
  /** The socket is (back) up: what was missed meanwhile has to be fetched. */
  connected: () => void
  /** The server ended the connection for good: signed out, or asked to stay away for a while. */
  ended: () => void
}

/** How long the connection may be away before the reader is told. */
const PATIENCE_MS = 2_000
/** Whether the server said with this code: do not come back by yourself. */
function isFinal(code: number): boolean {
  return (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000)
}

export class Realtime {
  #status = $state<Status>('connecting')
  readonly #client: Centrifuge
  #patience: ReturnType<typeof setTimeout> | undefined
  #stopped = false

  constructor(url: string, listener: Listener) {
    this.#client = new Centrifuge(url, { minReconnectDelay: 300, maxReconnectDelay: 10_000, timeout: 8_000 })
    this.#client.on('connected', () => {
      clearTimeout(this.#patience)
      this.#patience = undefined
      this.#status = 'connected'
      listener.connected()
    })
    this.#client.on('connecting', () => this.#away())
    this.#client.on('disconnected', (context) => {
      if (this.#stopped) return
      this.#away()
      if (isFinal(context.code)) listener.ended()
    })
    this.#client.on('publication', (context) => listener.event(context.data as ChatEvent))
    // Failed attempts are shown as the state that they leave behind.
    this.#client.on('error', () => {})
    this.#away()
    this.#client.connect()
  }

  get status(): Status {
    return this.#status
  }

  /** Listens to one conversation until the returned function is called. */
  open(conversation: string, listener: ConversationListener): () => void {
    const channel = `conv:${conversation}`
    const old = this.#client.getSubscription(channel)
    if (old) this.#remove(old)
    const sub = this.#client.newSubscription(channel, { joinLeave: true })
    sub.on('publication', (context) => listener.event(context.data as ChatEvent))
    sub.on('join', (context) => listener.presence(context.info.user, true))
    sub.on('leave', (context) => listener.presence(context.info.user, false))
    sub.on('subscribed', () => listener.subscribed())
    sub.on('error', () => {})
    sub.subscribe()
    return () => this.#remove(sub)
  }

  /** Says something that may get lost: typing. */
  tell(method: 'typing', data: unknown): void {
    if (this.#status !== 'connected') return
    this.#client.rpc(method, data).catch(() => {})
  }

  /** Connects again after the server had ended the connection. */
  reconnect(): void {
    if (!this.#stopped) this.#client.connect()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#patience)
    this.#client.disconnect()
  }

  #remove(sub: Subscription): void {
    sub.removeAllListeners()
    sub.unsubscribe()
    this.#client.removeSubscription(sub)
  }

  #away(): void {
    if (this.#status === 'connected') this.#status = 'connecting'
    this.#patience ??= setTimeout(() => (this.#status = 'lost'), PATIENCE_MS)
  }
}

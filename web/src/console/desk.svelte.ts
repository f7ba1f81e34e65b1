// What a signed-in member works with: the socket, the list, the open conversation, the colleagues. Made at sign-in,
// stopped at sign-out or when the organisation is switched.

import { asApiError, type Api } from '../lib/api'
import type { ChatEvent, Member, Session } from '../lib/protocol'
import { Calls } from './calls.svelte'
import { OpenConversation } from './conversation.svelte'
import { Inbox } from './inbox.svelte'
import { Realtime } from './realtime.svelte'

/** Without a socket the console asks this often instead. */
const POLL_MS = 15_000
/** How long to stay away after the server ended the connection for a reason other than the session. */
const RETURN_MS = 10_000

export class Desk {
  readonly inbox: Inbox
  readonly realtime: Realtime
  readonly calls: Calls
  #open = $state.raw<OpenConversation | null>(null)
  #members = $state.raw<readonly Member[]>([])
  /** Conversations that were left while something was still to be sent: they go on until it is through. */
  readonly #leaving = new Map<string, OpenConversation>()

  readonly #poll: ReturnType<typeof setInterval>
  #returnTimer: ReturnType<typeof setTimeout> | undefined
  #stopped = false

  constructor(
    readonly api: Api,
    readonly session: Session,
    /** What was written and not sent, by conversation. */
    readonly drafts: Map<string, string>,
    private readonly onSession: (session: Session) => void,
  ) {
    this.inbox = new Inbox(
      api,
      session.member.id,
      (c) => {
        if (this.#open?.id === c.id) this.#open.adopt(c)
      },
      (id) => {
        if (this.#open?.id === id) this.#open.gone()
      },
    )
    this.calls = new Calls(api, session.member.id, (id) =>
      this.#open?.id === id && this.#open.info ? this.#open.info : this.inbox.list.find((c) => c.id === id),
    )
    this.realtime = new Realtime(`${location.origin.replace(/^http/, 'ws')}/ws`, {
      event: (event) => this.#take(event),
      connected: () => this.#catchUp(),
      ended: () => void this.#comeBack(),
    })
    this.#poll = setInterval(() => {
      this.#letGo()
      if (this.realtime.status === 'lost' && navigator.onLine && !document.hidden) {
        void this.inbox.refresh()
        void this.calls.recover()
        void this.#open?.recover()
      }
    }, POLL_MS)
  }

  get open() {
    return this.#open
  }
  get members() {
    return this.#members
  }
  get me() {
    return this.session.member
  }

  /** Whether something was written that the server does not have. */
  get unsent(): boolean {
    return [this.#open, ...this.#leaving.values()].some((c) => c && c.outbox.length > 0)
  }

  /** Opens a conversation, or none. */
  show(id: string | null): void {
    if ((this.#open?.id ?? null) === id) return
    if (this.#open) this.#leaving.set(this.#open.id, this.#open)
    this.#letGo()
    const left = id ? this.#leaving.get(id) : undefined
    if (left) this.#leaving.delete(left.id)
    if (left) this.#open = left
    else this.#open = id ? this.#begin(id) : null
  }

  #begin(id: string): OpenConversation {
    return new OpenConversation(
      id,
      this.api,
      this.realtime,
      this.me.id,
      this.inbox.list.find((c) => c.id === id),
      (c) => this.inbox.put(c),
      { take: (event) => this.calls.take(event), recover: () => this.calls.opened(id) },
    )
  }

  /** Ends the conversations that were left and have nothing to send any more. */
  #letGo(): void {
    for (const [id, conversation] of this.#leaving) {
      if (conversation.outbox.length > 0) continue
      conversation.stop()
      this.#leaving.delete(id)
    }
  }

  async loadMembers(): Promise<void> {
    this.#members = (await this.api.get<{ items: Member[] }>('/members')).items
  }

  stop(): void {
    this.#stopped = true
    clearInterval(this.#poll)
    clearTimeout(this.#returnTimer)
    for (const conversation of [this.#open, ...this.#leaving.values()]) {
      if (!conversation) continue
      const unsent = conversation.outbox.map((o) => o.body)
      const draft = this.drafts.get(conversation.id)
      if (unsent.length > 0) this.drafts.set(conversation.id, [...unsent, ...(draft ? [draft] : [])].join('\n\n'))
      conversation.stop()
    }
    this.#open = null
    this.calls.stop()
    this.inbox.stop()
    this.realtime.stop()
  }

  #take(event: ChatEvent): void {
    if (this.calls.take(event)) return
    if (event.type === 'chat.inbox.changed.v1') this.inbox.hint(event.data)
    // Whatever else concerns the member (a role, a sign-out elsewhere), the session says what holds now.
    else if (!(event.type as string).startsWith('chat.')) void this.#checkSession()
  }

  #catchUp(): void {
    void this.inbox.refresh()
    void this.calls.recover()
    this.loadMembers().catch(() => {})
  }

  async #checkSession(): Promise<void> {
    try {
      this.onSession(await this.api.get<Session>('/session'))
    } catch {
      // A 401 has already led to the door; anything else changes nothing.
    }
  }

  async #comeBack(): Promise<void> {
    try {
      await this.api.get<Session>('/session')
    } catch (cause) {
      if (asApiError(cause).status === 401) return
    }
    if (!this.#stopped) this.#returnTimer = setTimeout(() => this.realtime.reconnect(), RETURN_MS)
  }
}

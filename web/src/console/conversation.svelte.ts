// The conversation that is open: its messages (lib/conversation-sync), who is there, who writes, what was read.

import { ApiError, asApiError, newId, type Api } from '../lib/api'
import { ConversationSync, type Outgoing } from '../lib/conversation-sync'
import type { AuthorKind, ChatEvent, Conversation, ErasureReceipt, Message, MessagePage } from '../lib/protocol'
import type { Realtime } from './realtime.svelte'

const PAGE = 50
/** A sign of typing holds for six seconds on the other side; while one types it is given every three. */
const TYPING_EVERY_MS = 3_000
const TYPING_HOLDS_MS = 6_000

export interface Typist {
  kind: AuthorKind
  id: string
}

export class OpenConversation {
  #info = $state.raw<Conversation | null>(null)
  #stage = $state<'loading' | 'ready' | 'gone' | 'error'>('loading')
  #error = $state.raw<ApiError | null>(null)
  #messages = $state.raw<readonly Message[]>([])
  #outbox = $state.raw<readonly Outgoing[]>([])
  #hasEarlier = $state(false)
  #loadingEarlier = $state(false)
  #earlierFailed = $state(false)
  #typists = $state.raw<readonly Typist[]>([])
  #announcement = $state.raw<{ id: string; author: string; body: string } | null>(null)
  /** The first message that nobody had read when the conversation was opened. */
  #firstUnread = $state(0)

  readonly #sync: ConversationSync
  readonly #close: () => void
  readonly #typingEnds = new Map<string, ReturnType<typeof setTimeout>>()
  #saidTyping = 0
  #reading = false
  #presenceTimer: ReturnType<typeof setTimeout> | undefined
  #stopped = false

  constructor(
    readonly id: string,
    private readonly api: Api,
    private readonly realtime: Realtime,
    private readonly me: string,
    known: Conversation | undefined,
    private readonly onInfo: (conversation: Conversation) => void,
    /** What the conversation's channel says of calls, and when to ask for them anew, goes there. */
    private readonly calls: { take: (event: ChatEvent) => boolean; recover: () => Promise<void> },
  ) {
    if (known) this.#adopt(known)
    this.#sync = new ConversationSync({
      transport: {
        newest: () => this.#page(''),
        after: (seq) => this.#page(`after=${seq}&`),
        before: (seq) => this.#page(`before=${seq}&`),
        send: (client_id, body) => api.post<Message>(`${this.#path}/messages`, { client_id, body }),
      },
      newId,
      onChange: () => this.#show(),
      onMessage: (message) => this.#news(message),
    })
    this.#close = realtime.open(id, {
      event: (event) => this.#take(event),
      presence: (user, here) => this.#presence(user, here),
      subscribed: () => void this.recover(),
    })
    void this.recover()
  }

  get info() {
    return this.#info
  }
  get stage() {
    return this.#stage
  }
  get error() {
    return this.#error
  }
  get messages() {
    return this.#messages
  }
  get outbox() {
    return this.#outbox
  }
  get hasEarlier() {
    return this.#hasEarlier
  }
  get loadingEarlier() {
    return this.#loadingEarlier
  }
  get earlierFailed() {
    return this.#earlierFailed
  }
  get typists() {
    return this.#typists
  }
  /** The latest message of the other side, for the live region. */
  get announcement() {
    return this.#announcement
  }
  get firstUnread() {
    return this.#firstUnread
  }

  get #path() {
    return `/conversations/${encodeURIComponent(this.id)}`
  }

  /** Fetches the conversation and what its messages lack: at the start, after every reconnect, and on demand. */
  async recover(): Promise<void> {
    await Promise.all([this.#sync.recover(), this.refresh(), this.calls.recover()])
  }

  async retry(): Promise<void> {
    this.#stage = 'loading'
    this.#error = null
    await this.recover()
  }

  async refresh(): Promise<void> {
    try {
      this.#adopt(await this.api.get<Conversation>(this.#path))
    } catch (cause) {
      const error = asApiError(cause)
      if (error.status === 404 || error.status === 410) this.gone()
      else if (!this.#info) this.#fail(error)
    }
    this.#show()
  }

  send(body: string): void {
    this.#sync.send(body)
    this.#saidTyping = 0
    this.realtime.tell('typing', { conversation: this.id, on: false })
  }

  resend(clientId: string): void {
    this.#sync.retry(clientId)
  }

  discard(clientId: string): string | undefined {
    return this.#sync.discard(clientId)
  }

  async loadEarlier(): Promise<void> {
    this.#earlierFailed = false
    try {
      await this.#sync.loadEarlier()
    } catch {
      this.#earlierFailed = true
    }
  }

  /** Tells the other side that one is writing, now and then. */
  typing(on: boolean): void {
    if (on && Date.now() - this.#saidTyping < TYPING_EVERY_MS) return
    if (!on && this.#saidTyping === 0) return
    this.#saidTyping = on ? Date.now() : 0
    this.realtime.tell('typing', { conversation: this.id, on })
  }

  /** The reader has the end of the conversation before their eyes. */
  async seen(): Promise<void> {
    const seq = this.#sync.lastSeq
    if (this.#reading || !this.#info || seq <= this.#info.agent_read_seq) return
    this.#reading = true
    try {
      await this.api.post(`${this.#path}/read`, { seq })
      this.#change({ agent_read_seq: Math.max(seq, this.#info.agent_read_seq), unread: 0 })
    } catch {
      return // The next message, or the next look, tries again.
    } finally {
      this.#reading = false
    }
    if (this.#sync.lastSeq > seq) await this.seen()
  }

  async assign(member: string | null): Promise<void> {
    this.#adopt(await this.api.post<Conversation>(`${this.#path}/assign`, { member }))
  }

  async setState(state: Conversation['state']): Promise<void> {
    const verb = state === 'closed' ? 'close' : 'reopen'
    this.#adopt(await this.api.post<Conversation>(`${this.#path}/${verb}`))
  }

  async erase(): Promise<ErasureReceipt> {
    return this.api.delete<ErasureReceipt>(`/persons/${encodeURIComponent(this.#info!.visitor.id)}`)
  }

  /** Takes a newer version of the conversation from the list. */
  adopt(conversation: Conversation): void {
    this.#adopt(conversation, false)
  }

  gone(): void {
    this.#stage = 'gone'
    this.#sync.stop()
  }

  stop(): void {
    this.#stopped = true
    this.typing(false)
    this.#sync.stop()
    this.#close()
    clearTimeout(this.#presenceTimer)
    for (const timer of this.#typingEnds.values()) clearTimeout(timer)
  }

  #page(query: string): Promise<MessagePage> {
    return this.api.get<MessagePage>(`${this.#path}/messages?${query}limit=${PAGE}`)
  }

  #adopt(conversation: Conversation, tell = true): void {
    if (this.#stopped) return
    if (!this.#info && conversation.unread > 0) this.#firstUnread = conversation.agent_read_seq + 1
    this.#info = conversation
    if (tell) this.onInfo(conversation)
  }

  #change(change: Partial<Conversation>): void {
    if (this.#info) this.#adopt({ ...this.#info, ...change })
  }

  #show(): void {
    if (this.#stopped || this.#stage === 'gone') return
    this.#messages = this.#sync.messages
    this.#outbox = this.#sync.outbox
    this.#hasEarlier = this.#sync.hasEarlier
    this.#loadingEarlier = this.#sync.loadingEarlier
    if (this.#sync.loaded && this.#info) {
      this.#stage = 'ready'
      this.#error = null
    } else if (this.#sync.error) this.#fail(asApiError(this.#sync.error))
  }

  #fail(error: ApiError): void {
    if (this.#stage === 'ready') return
    this.#error = error
    this.#stage = error.status === 404 || error.status === 410 ? 'gone' : 'error'
  }

  #news(message: Message): void {
    this.#stopTyping(message.author.id)
    if (message.author.kind === 'agent' && message.author.id === this.me) return
    const author = message.author.name ?? (message.author.kind === 'visitor' ? (this.#info?.visitor.name ?? '') : '')
    this.#announcement = { id: message.id, author, body: message.body }
  }

  #take(event: ChatEvent): void {
    if (this.calls.take(event)) return
    switch (event.type) {
      case 'chat.message.created.v1':
        this.#sync.receive(event.data.message)
        break
      case 'chat.conversation.updated.v1':
        this.#change({ state: event.data.state, assignee: event.data.assignee })
        break
      case 'chat.read.v1':
        this.#read(event.data.by, event.data.seq)
        break
      case 'chat.typing.v1':
        this.#typing(event.data.by, event.data.on)
    }
  }

  #read(by: AuthorKind, seq: number): void {
    if (!this.#info) return
    if (by === 'visitor') {
      if (seq > this.#info.visitor_read_seq) this.#change({ visitor_read_seq: seq })
    } else if (seq > this.#info.agent_read_seq) {
      this.#change({ agent_read_seq: seq, unread: seq >= this.#sync.lastSeq ? 0 : this.#info.unread })
    }
  }

  #typing(by: Typist, on: boolean): void {
    if (by.id === this.me) return
    this.#stopTyping(by.id)
    if (!on) return
    this.#typists = [...this.#typists, by]
    this.#typingEnds.set(
      by.id,
      setTimeout(() => this.#stopTyping(by.id), TYPING_HOLDS_MS),
    )
  }

  #stopTyping(id: string): void {
    clearTimeout(this.#typingEnds.get(id))
    this.#typingEnds.delete(id)
    if (this.#typists.some((t) => t.id === id)) this.#typists = this.#typists.filter((t) => t.id !== id)
  }

  #presence(user: string, here: boolean): void {
    const visitor = this.#info?.visitor
    if (!visitor || user !== `visitor:${visitor.id}`) return
    clearTimeout(this.#presenceTimer)
    if (here) this.#change({ visitor: { ...visitor, online: true } })
    // One of several tabs may have closed: only the server knows whether it was the last.
    else this.#presenceTimer = setTimeout(() => void this.refresh(), 700)
  }
}

// The visitor's side of one site, without a DOM: the site, the visitor's token, the conversation, its messages and the
// socket. The view reads its properties after each change and calls its methods; nothing else talks to the server.
import { Api, ApiError, newId } from '../lib/api'
import { CallBook, isCallEvent } from '../lib/calls'
import { ConversationSync, type Transport } from '../lib/conversation-sync'
import type { ChatEvent, Message, MessagePage, PageRef, Visitor, WidgetConversation, WidgetSite } from '../lib/protocol'
import { Calling } from './calling'
import type { Socket, SocketFactory } from './socket'
import type { TokenStore } from './storage'

/** What the visitor may say about themselves. Empty texts count as not said. */
export interface Details {
  name: string
  email: string
}

/** `unknown`: there is no such site, or it may not be shown here. */
export type Phase = 'loading' | 'ready' | 'failed' | 'unknown'

/** `none`: nothing to connect for yet. `lost`: for long enough to say so. */
export type Connection = 'none' | 'connecting' | 'up' | 'lost'

/** Something that happened to the whole conversation and that the visitor is told once. */
export type Notice = 'expired' | 'forgotten' | undefined

export interface SessionOptions {
  siteId: string
  /** Where Parley lives on the frame's origin, without a slash at the end. */
  base?: string
  locale: string
  store: TokenStore
  openSocket: SocketFactory
  /** Called after every change of what this object shows. */
  onChange: () => void
  /** Called for each message of an agent that arrives while the frame runs. */
  onAgentMessage: (message: Message) => void
  fetch?: typeof fetch
  /** Runs fn later; returns how to call it off. */
  later?: (fn: () => void, ms: number) => () => void
  now?: () => number
}

interface Started {
  token?: string
  visitor: Visitor
  conversation: WidgetConversation
  message: Message
}

/** Milliseconds: without a connection before we say so; an agent's "is writing" without news; between our own. */
const patience = 2_500
const typingLife = 6_000
const typingPause = 3_000
/** Milliseconds before a connection that the server ended is tried again, and that a site's answer counts as new. */
const returnAfter = 10_000
const siteFresh = 30_000
const pageSize = 40

function timer(fn: () => void, ms: number): () => void {
  const t = setTimeout(fn, ms)
  return () => clearTimeout(t)
}

export class Session {
  phase: Phase = 'loading'
  site: WidgetSite | undefined
  visitor: Visitor | undefined
  conversation: WidgetConversation | undefined
  connection: Connection = 'none'
  notice: Notice
  /** The agent who is writing, by id. */
  typing: string | undefined
  /** The last seq that the visitor has seen. */
  readSeq = 0
  /** What goes along with the first message. */
  page: PageRef | undefined
  details: Details = { name: '', email: '' }
  sync: ConversationSync
  /** The calls of the conversation, and what of them is on the screen. */
  readonly calls: CallBook
  readonly calling: Calling

  readonly #o: SessionOptions
  readonly #api: Api
  readonly #later: (fn: () => void, ms: number) => () => void
  readonly #now: () => number
  #socket: Socket | undefined
  #siteAt = -Infinity
  #typedAt = -Infinity
  #cancelLost: (() => void) | undefined
  #cancelTyping: (() => void) | undefined
  #cancelReturn: (() => void) | undefined

  constructor(o: SessionOptions) {
    this.#o = o
    this.#later = o.later ?? timer
    this.#now = o.now ?? Date.now
    this.#api = new Api({ base: o.base, token: () => o.store.token, locale: () => o.locale, fetch: o.fetch })
    this.sync = this.#newSync()
    this.calls = new CallBook({
      api: this.#api,
      prefix: '/widget',
      later: this.#later,
      onChange: () => {
        this.calling.follow()
        o.onChange()
      },
    })
    this.calling = new Calling({ book: this.calls, conversation: () => this.conversation?.id, later: this.#later, onChange: o.onChange })
  }

  /** What a window of our own needs to speak as this visitor. */
  get token(): string | undefined {
    return this.#o.store.token
  }

  /** Whether the conversation lasts only as long as this page. */
  get blocked(): boolean {
    return this.#o.store.blocked
  }

  /** Messages of agents that the visitor has not seen. */
  get unread(): number {
    if (!this.conversation) return 0
    if (!this.sync.loaded) return this.conversation.unread
    return this.sync.messages.filter((m) => m.author.kind === 'agent' && m.seq > this.readSeq).length
  }

  /** Loads the site and, with a token, the conversation. Call it again to try again. */
  async start(): Promise<void> {
    this.phase = 'loading'
    this.#o.onChange()
    try {
      const [site] = await Promise.all([this.#loadSite(), this.#o.store.token ? this.#resume() : undefined])
      this.site = site
      this.phase = 'ready'
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0
      this.phase = status === 404 || status === 403 ? 'unknown' : 'failed'
    }
    this.#o.onChange()
  }

  /** Asks again whether somebody is there, when the last answer is not fresh. Failing changes nothing. */
  async refreshSite(): Promise<void> {
    if (this.phase !== 'ready' || this.#now() - this.#siteAt < siteFresh) return
    try {
      this.site = await this.#loadSite()
      this.#o.onChange()
    } catch {
      // What we knew before still stands.
    }
  }

  /** Sends a message; the first one starts the conversation. */
  send(body: string): void {
    this.notice = undefined
    this.calling.dismissNote()
    this.#stopTyping()
    this.sync.send(body)
    // Writing is reading: what came before is seen.
    this.markRead()
  }

  /** Says that the visitor has seen everything that is here. */
  markRead(): void {
    const seq = this.sync.lastSeq
    if (!this.conversation || seq <= this.readSeq) return
    const news = this.sync.messages.some((m) => m.seq > this.readSeq && m.author.kind === 'agent')
    this.readSeq = seq
    if (news) this.#sendRead()
    this.#o.onChange()
  }

  /** Tells the agents that the visitor is writing, or has stopped. */
  type(on: boolean): void {
    if (!this.conversation) return
    if (!on) return this.#stopTyping()
    if (this.#now() - this.#typedAt < typingPause) return
    if (this.#socket?.call('typing', { conversation: this.conversation.id, on: true })) this.#typedAt = this.#now()
  }

  /** Stores name and e-mail. Rejects with ApiError; before the first message they are only kept for it. */
  async saveDetails(details: Details): Promise<void> {
    if (this.#o.store.token) {
      // An empty text takes back what was said before.
      this.visitor = await this.#api.patch<Visitor>('/widget/visitor', details)
    }
    this.details = details
    this.#o.onChange()
  }

  /** Ends this browser's access and takes everything off the device. Rejects, with nothing changed, when the server is out of reach. */
  async forget(): Promise<void> {
    try {
      await this.#api.delete('/widget/session')
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error
    }
    this.#fresh('forgotten', false)
  }

  /** Another tab changed the storage: the conversation was forgotten there, or began there. */
  async storageChanged(): Promise<void> {
    const started = this.conversation !== undefined
    if (!this.#o.store.reread()) return
    const token = this.#o.store.token
    if (started || !token) this.#fresh(token ? undefined : 'forgotten', false, false)
    if (token) await this.start()
  }

  /** Tries everything that waits at once, because the browser says that the network is back. */
  retryNow(): void {
    if (this.phase === 'failed') void this.start()
    else if (this.conversation || this.sync.outbox.length > 0) void this.sync.recover()
  }

  async #loadSite(): Promise<WidgetSite> {
    const site = await this.#api.get<WidgetSite>(`/widget/sites/${encodeURIComponent(this.#o.siteId)}`)
    this.#siteAt = this.#now()
    return site
  }

  /** Takes up the newest conversation of the token. */
  async #resume(): Promise<void> {
    try {
      const found = await this.#api.get<{ visitor: Visitor; items: WidgetConversation[] }>('/widget/conversations')
      this.#know(found.visitor)
      const newest = found.items[0]
      if (!newest) return
      this.#setConversation(newest)
      await Promise.all([this.sync.recover(), this.#loadCalls()])
      this.#connect()
    } catch (error) {
      if (!gone(error)) throw error
      this.#fresh('expired', true)
    }
  }

  /** Without the list of calls everything but calls works; it is fetched again with every connection. */
  async #loadCalls(): Promise<void> {
    const id = this.conversation?.id
    if (id) await this.calls.load(id).catch(() => undefined)
  }

  #know(visitor: Visitor): void {
    this.visitor = visitor
    this.details = { name: visitor.name ?? '', email: visitor.email ?? '' }
  }

  #setConversation(c: WidgetConversation): void {
    this.conversation = c
    this.readSeq = Math.max(this.readSeq, c.visitor_read_seq)
  }

  #newSync(outbox: ConversationSync['outbox'] = []): ConversationSync {
    const path = () => `/widget/conversations/${this.conversation?.id}/messages`
    const pages = async (query: string): Promise<MessagePage> => {
      if (!this.conversation) return { items: [], more: false }
      return this.#api.get<MessagePage>(`${path()}?limit=${pageSize}${query}`)
    }
    const transport: Transport = {
      newest: () => pages(''),
      after: (seq) => pages(`&after=${seq}`),
      before: (seq) => pages(`&before=${seq}`),
      send: async (clientId, body) => {
        if (!this.conversation) return this.#begin(clientId, body)
        try {
          const stored = await this.#api.post<Message>(path(), { client_id: clientId, body })
          if (this.conversation.state === 'closed') this.conversation = { ...this.conversation, state: 'open' }
          return stored
        } catch (error) {
          if (gone(error)) this.#fresh('expired', true)
          throw error
        }
      },
    }
    return new ConversationSync({
      transport,
      newId,
      outbox,
      later: this.#later,
      onChange: () => this.#o.onChange(),
      onMessage: (m) => {
        if (m.author.kind !== 'agent') return
        this.#setTyping(undefined)
        this.#o.onAgentMessage(m)
      },
    })
  }

  /** Sends the first message, which makes the conversation and, for a newcomer, the visitor. */
  async #begin(clientId: string, body: string): Promise<Message> {
    const { name, email } = this.details
    const visitor = { ...(name && { name }), ...(email && { email }) }
    const sync = this.sync
    const path = `/widget/sites/${encodeURIComponent(this.#o.siteId)}/conversations`
    const first = {
      client_id: clientId,
      body,
      locale: this.#o.locale,
      ...(this.page && { page: this.page }),
      ...(Object.keys(visitor).length > 0 && { visitor }),
    }
    const made = await this.#api.post<Started>(path, first).catch((error: unknown) => {
      if (this.#o.store.token && error instanceof ApiError && error.status === 401) this.#fresh('expired', true)
      throw error
    })
    if (made.token) this.#o.store.set(made.token)
    this.#know(made.visitor)
    this.#setConversation(made.conversation)
    this.readSeq = Math.max(this.readSeq, made.message.seq)
    if (this.#socket) this.#socket.reconnect()
    else this.#connect()
    // The newest page must be here before the answer is placed behind it.
    if (!sync.loaded) await sync.recover()
    return made.message
  }

  /**
   * Starts over without the old token. What was not sent goes into the new conversation when `keep` is set; `store`
   * says whether our storage is to be cleared as well.
   */
  #fresh(notice: Notice, keep: boolean, store = true): void {
    const outbox = keep ? this.sync.outbox : []
    this.sync.stop()
    this.calls.clear()
    this.calling.reset()
    this.#socket?.close()
    this.#socket = undefined
    this.#cancelLost?.()
    this.#cancelReturn?.()
    if (store) this.#o.store.clear()
    this.conversation = undefined
    this.visitor = undefined
    if (!keep) this.details = { name: '', email: '' }
    this.typing = undefined
    this.readSeq = 0
    this.connection = 'none'
    this.notice = notice
    this.sync = this.#newSync(outbox)
    if (outbox.length > 0) void this.sync.recover()
    this.#o.onChange()
  }

  #connect(): void {
    const token = this.#o.store.token
    if (!token || this.#socket) return
    this.connection = 'connecting'
    // A socket that was closed may still have something to say.
    const mine: { socket?: Socket } = {}
    const current = (fn: () => void) => {
      if (this.#socket === mine.socket) fn()
    }
    mine.socket = this.#o.openSocket(token, {
      up: () => current(() => this.#up()),
      down: (final) => current(() => this.#down(final)),
      event: (e) => current(() => this.#event(e)),
    })
    this.#socket = mine.socket
    this.#startPatience()
  }

  #up(): void {
    this.#cancelLost?.()
    this.#cancelLost = undefined
    this.connection = 'up'
    void this.sync.recover()
    void this.#loadCalls()
    void this.#refreshConversation()
    this.#o.onChange()
  }

  #down(final: boolean): void {
    if (this.connection === 'up') this.connection = 'connecting'
    this.#setTyping(undefined)
    this.#startPatience()
    if (final) this.#return()
    this.#o.onChange()
  }

  #startPatience(): void {
    if (this.connection !== 'connecting' || this.#cancelLost) return
    this.#cancelLost = this.#later(() => {
      this.connection = 'lost'
      this.#o.onChange()
    }, patience)
  }

  /** The server ended the connection for good: either the token is spent, or it wants to be left alone for a while. */
  #return(): void {
    this.#socket?.close()
    this.#socket = undefined
    this.#cancelReturn?.()
    void this.#refreshConversation()
    this.#cancelReturn = this.#later(() => this.#connect(), returnAfter)
  }

  async #refreshConversation(): Promise<void> {
    const id = this.conversation?.id
    if (!id) return
    try {
      const now = await this.#api.get<WidgetConversation>(`/widget/conversations/${id}`)
      if (this.conversation?.id !== id) return
      // A read mark that was lost on the way is said again.
      const behind = now.unread > 0 && now.visitor_read_seq < this.readSeq && this.readSeq <= now.last_seq
      this.#setConversation(now)
      if (behind) this.#sendRead()
      this.#o.onChange()
    } catch (error) {
      if (gone(error) && this.conversation?.id === id) this.#fresh('expired', true)
    }
  }

  #sendRead(): void {
    const conversation = this.conversation?.id
    if (!conversation || this.#socket?.call('read', { conversation, seq: this.readSeq })) return
    const options = { keepalive: true }
    this.#api.post(`/widget/conversations/${conversation}/read`, { seq: this.readSeq }, options).catch(() => undefined)
  }

  #stopTyping(): void {
    if (this.#typedAt === -Infinity || !this.conversation) return
    this.#typedAt = -Infinity
    this.#socket?.call('typing', { conversation: this.conversation.id, on: false })
  }

  #setTyping(agent: string | undefined): void {
    this.#cancelTyping?.()
    this.#cancelTyping = undefined
    this.typing = agent
    if (agent === undefined) return
    this.#cancelTyping = this.#later(() => {
      this.typing = undefined
      this.#o.onChange()
    }, typingLife)
  }

  #event(e: ChatEvent): void {
    const c = this.conversation
    if (!c || !('conversation' in e.data) || e.data.conversation !== c.id) return
    if (isCallEvent(e)) return this.calls.take(e)
    switch (e.type) {
      case 'chat.message.created.v1':
        if (e.data.message.author.kind === 'agent') this.#somebodyIsHere()
        return this.sync.receive(e.data.message)
      case 'chat.conversation.updated.v1':
        this.conversation = { ...c, state: e.data.state, assignee: e.data.assignee }
        break
      case 'chat.read.v1':
        if (e.data.by === 'agent') this.conversation = { ...c, agent_read_seq: Math.max(c.agent_read_seq, e.data.seq) }
        // Another tab of the same visitor has seen it.
        else this.readSeq = Math.max(this.readSeq, e.data.seq)
        break
      case 'chat.typing.v1':
        if (e.data.by.kind !== 'agent') break
        this.#somebodyIsHere()
        this.#setTyping(e.data.on ? e.data.by.id : undefined)
        break
    }
    this.#o.onChange()
  }

  /** Who writes is not away, whatever the site said a minute ago. */
  #somebodyIsHere(): void {
    if (this.site && !this.site.online) this.site = { ...this.site, online: true }
  }
}

/** Whether the server does not know this visitor, or this conversation, any more. */
function gone(error: unknown): boolean {
  return error instanceof ApiError && [401, 404, 410].includes(error.status)
}

// The list of conversations: one filter at a time, latest message first, kept current by the socket's hints.

import { asApiError, type Api, type ApiError } from '../lib/api'
import type { Conversation, ConversationPage, Counts, InboxChanged } from '../lib/protocol'
import type { Filter } from './router.svelte'

const QUERIES: Record<Filter, string> = {
  mine: 'state=open&assignee=me',
  unassigned: 'state=open&assignee=none',
  open: 'state=open&assignee=any',
  closed: 'state=closed&assignee=any',
}
const PAGE = 50
/** The API names at most so many conversations at once. */
const MAX_IDS = 100
const RETRY_MS = 3_000

export class Inbox {
  #list = $state.raw<readonly Conversation[]>([])
  #counts = $state.raw<Counts | null>(null)
  #stage = $state<'loading' | 'ready' | 'error'>('loading')
  #error = $state.raw<ApiError | null>(null)
  #next = $state<string | null>(null)
  #loadingMore = $state(false)
  #moreFailed = $state(false)
  #filter = $state<Filter>('open')

  /** Grows with each filter and each refresh; an answer to an older question is dropped. */
  #round = 0
  readonly #changed = new Set<string>()
  #applying = false

  constructor(
    private readonly api: Api,
    private readonly me: string,
    /** Hears of every conversation that arrives, and of those that are gone. */
    private readonly onSeen: (conversation: Conversation) => void,
    private readonly onGone: (id: string) => void,
  ) {}

  get list() {
    return this.#list
  }
  get counts() {
    return this.#counts
  }
  get stage() {
    return this.#stage
  }
  get error() {
    return this.#error
  }
  get filter() {
    return this.#filter
  }
  get loadingMore() {
    return this.#loadingMore
  }
  get moreFailed() {
    return this.#moreFailed
  }
  get hasMore() {
    return this.#next !== null
  }
  /** How many of the conversations in the list hold something unread. */
  get unread() {
    return this.#list.reduce((n, c) => n + (c.unread > 0 ? 1 : 0), 0)
  }

  async show(filter: Filter): Promise<void> {
    if (filter === this.#filter && this.#stage === 'ready') return
    this.#filter = filter
    this.#list = []
    this.#next = null
    this.#stage = 'loading'
    await this.refresh()
  }

  /** Fetches the first page again. What is further down stays as it was. */
  async refresh(): Promise<void> {
    const round = ++this.#round
    try {
      const page = await this.#fetch(`limit=${PAGE}`)
      if (round !== this.#round) return
      this.#take(page)
      this.#stage = 'ready'
      this.#error = null
    } catch (cause) {
      if (round !== this.#round) return
      this.#error = asApiError(cause)
      if (this.#stage !== 'ready') this.#stage = 'error'
    }
  }

  async retry(): Promise<void> {
    this.#stage = 'loading'
    await this.refresh()
  }

  async more(): Promise<void> {
    if (!this.#next || this.#loadingMore) return
    const round = this.#round
    this.#loadingMore = true
    this.#moreFailed = false
    try {
      const page = await this.#fetch(`limit=${PAGE}&cursor=${encodeURIComponent(this.#next)}`)
      if (round !== this.#round) return
      this.#list = sorted([...this.#list.filter((c) => !page.items.some((d) => d.id === c.id)), ...page.items])
      this.#next = page.next ?? null
    } catch {
      if (round === this.#round) this.#moreFailed = true
    } finally {
      this.#loadingMore = false
    }
  }

  /** Takes the socket's hint: which conversations changed, not how. */
  hint(data: InboxChanged['data']): void {
    if (this.#counts) this.#counts = { ...this.#counts, ...data.counts }
    if (data.more) {
      void this.refresh()
      return
    }
    for (const id of data.conversations) this.#changed.add(id)
    void this.#apply()
  }

  /** Puts a newer version of a conversation in its place, or out of the list when it no longer belongs. */
  put(conversation: Conversation): void {
    const rest = this.#list.filter((c) => c.id !== conversation.id)
    const last = this.#list.at(-1)
    // Beyond the loaded pages it will come with its page.
    const inReach = !this.#next || !last || compare(conversation, last) <= 0
    this.#list = this.#belongs(conversation) && inReach ? sorted([...rest, conversation]) : rest
  }

  remove(id: string): void {
    this.#list = this.#list.filter((c) => c.id !== id)
  }

  /** Changes what is known of a conversation without asking the server. */
  patch(id: string, change: Partial<Conversation>): void {
    const found = this.#list.find((c) => c.id === id)
    if (found) this.put({ ...found, ...change })
  }

  stop(): void {
    this.#round++
  }

  #fetch(query: string): Promise<ConversationPage> {
    return this.api.get<ConversationPage>(`/conversations?${QUERIES[this.#filter]}&${query}`)
  }

  #take(page: ConversationPage): void {
    const fresh = new Set(page.items.map((c) => c.id))
    const last = page.items.at(-1)
    const beyond = page.next && last ? this.#list.filter((c) => !fresh.has(c.id) && compare(c, last) > 0) : []
    if (beyond.length === 0) this.#next = page.next ?? null
    this.#list = [...page.items, ...beyond]
    if (page.counts) this.#counts = page.counts
    for (const c of page.items) this.onSeen(c)
  }

  /** Fetches what the hints named, one request at a time; hints that come meanwhile gather for the next. */
  async #apply(): Promise<void> {
    if (this.#applying) return
    this.#applying = true
    try {
      while (this.#changed.size > 0) {
        const ids = [...this.#changed].slice(0, MAX_IDS)
        for (const id of ids) this.#changed.delete(id)
        const page = await this.api.get<ConversationPage>(`/conversations?ids=${ids.join(',')}&limit=${MAX_IDS}`)
        if (page.counts) this.#counts = page.counts
        for (const c of page.items) {
          this.put(c)
          this.onSeen(c)
        }
        for (const id of ids.filter((id) => !page.items.some((c) => c.id === id))) {
          this.remove(id)
          this.onGone(id)
        }
      }
    } catch {
      // What the hints named is forgotten, so the list is fetched whole: soon, unless that has happened by then.
      const round = this.#round
      setTimeout(() => {
        if (round === this.#round) void this.refresh()
      }, RETRY_MS)
    } finally {
      this.#applying = false
    }
  }

  #belongs(c: Conversation): boolean {
    switch (this.#filter) {
      case 'mine':
        return c.state === 'open' && c.assignee?.id === this.me
      case 'unassigned':
        return c.state === 'open' && c.assignee === null
      default:
        return c.state === this.#filter
    }
  }
}

/** Latest message first; ids break ties, so that the order never flickers. */
function compare(a: Conversation, b: Conversation): number {
  return Date.parse(b.last_message_at) - Date.parse(a.last_message_at) || (a.id < b.id ? 1 : -1)
}

function sorted(list: Conversation[]): Conversation[] {
  return list.sort(compare)
}

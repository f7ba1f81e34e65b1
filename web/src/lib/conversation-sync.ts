// One conversation as a client holds it: the recovery rule of docs/protocol.md and nothing else. It keeps a run of
// messages without holes, ordered by seq; whatever arrives twice counts once; a gap is filled by fetching what comes
// after the last message held; what the person sends stays in an outbox, under one client_id, until the server has it.
// It touches no DOM and no socket: the transport is handed in, and the socket's owner calls receive and recover.

import type { Message, MessagePage } from './protocol'

export interface Transport {
  /** The newest page. */
  newest(): Promise<MessagePage>
  /** The page that follows `seq`; `more`: another one follows it. */
  after(seq: number): Promise<MessagePage>
  /** The page that ends before `seq`; `more`: another one precedes it. */
  before(seq: number): Promise<MessagePage>
  /** Stores one message. Called again with the same client_id until it answers. */
  send(clientId: string, body: string): Promise<Message>
}

/** A message that the server has not acknowledged. */
export interface Outgoing {
  readonly clientId: string
  readonly body: string
  readonly at: Date
  /** `sending`: under way or in line. `waiting`: did not get through, will be tried again. `failed`: refused, for the person to decide. */
  readonly state: 'sending' | 'waiting' | 'failed'
  readonly error?: unknown
}

export interface Options {
  transport: Transport
  newId: () => string
  /** Called after every change of what this object shows. */
  onChange?: () => void
  /** Called once for each message that was appended at the end by others or from elsewhere, in order; not for history. */
  onMessage?: (message: Message) => void
  /** Whether the same send may succeed later, unchanged. Default: `error.transient`. */
  isTransient?: (error: unknown) => boolean
  /** Milliseconds that the error asks to wait. Default: `error.retryAfter`. */
  retryAfter?: (error: unknown) => number | undefined
  now?: () => Date
  /** Runs fn later; returns how to call it off. Default: setTimeout. */
  later?: (fn: () => void, ms: number) => () => void
  /** What an earlier page left unsent. */
  outbox?: readonly { clientId: string; body: string; at: Date }[]
}

const FIRST_RETRY_MS = 1_000
const LAST_RETRY_MS = 30_000

export class ConversationSync {
  #messages: readonly Message[] = []
  #outbox: Outgoing[] = []
  /** Messages that came before the ones they follow, by seq. */
  readonly #ahead = new Map<number, Message>()
  #loaded = false
  #earlier = false
  #loadingEarlier: Promise<void> | undefined
  #recovering: Promise<void> | undefined
  #recoverAgain = false
  #recoverFailures = 0
  #flushing = false
  #sendFailures = 0
  #cancelRecover: (() => void) | undefined
  #cancelFlush: (() => void) | undefined
  #stopped = false
  #error: unknown

  readonly #o: Required<Omit<Options, 'outbox'>>

  constructor(options: Options) {
    this.#o = {
      onChange: () => {},
      onMessage: () => {},
      isTransient: (e) => (e as { transient?: boolean } | null)?.transient ?? true,
      retryAfter: (e) => (e as { retryAfter?: number } | null)?.retryAfter,
      now: () => new Date(),
      later: (fn, ms) => {
        const t = setTimeout(fn, ms)
        return () => clearTimeout(t)
      },
      ...options,
    }
    this.#outbox = (options.outbox ?? []).map((p) => ({ ...p, state: 'waiting' as const }))
  }

  /** Acknowledged messages: ascending seq, no holes, none twice. A new array after each change. */
  get messages(): readonly Message[] {
    return this.#messages
  }
  /** What the server has not acknowledged, in the order it was sent. */
  get outbox(): readonly Outgoing[] {
    return this.#outbox
  }
  /** The last seq held without a hole before it; 0 when there is none. */
  get lastSeq(): number {
    return this.#messages.at(-1)?.seq ?? 0
  }
  /** Whether the newest page has arrived once. */
  get loaded(): boolean {
    return this.#loaded
  }
  /** Whether the server holds messages before the first one here. */
  get hasEarlier(): boolean {
    return this.#earlier
  }
  get loadingEarlier(): boolean {
    return this.#loadingEarlier !== undefined
  }
  /** Why the last attempt to load or recover failed; undefined when it succeeded or none failed. */
  get error(): unknown {
    return this.#error
  }

  /** Loads the newest page, or what came since. Call it at the start and after every (re)connect. Never rejects: see `error`. */
  recover(): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    this.#cancelRecover?.()
    this.#cancelRecover = undefined
    if (this.#recovering) {
      this.#recoverAgain = true
      return this.#recovering
    }
    this.#recovering = this.#recover().finally(() => {
      this.#recovering = undefined
    })
    this.#flushSoon()
    return this.#recovering
  }

  /** Takes a message from the socket, in whatever order and however often it comes. */
  receive(message: Message): void {
    if (this.#stopped) return
    if (message.seq <= this.lastSeq) {
      this.#settle(message.client_id)
      this.#o.onChange()
      return
    }
    this.#ahead.set(message.seq, message)
    if (this.#loaded) this.#drain()
    this.#o.onChange()
    if (this.#ahead.size > 0 && this.#loaded) void this.recover()
  }

  /** Takes a page that the caller already has, instead of the first load: a conversation that was just begun. */
  seed(page: MessagePage): void {
    if (this.#loaded) {
      for (const m of page.items) this.receive(m)
      return
    }
    this.#messages = run(page.items)
    this.#earlier = page.more
    this.#loaded = true
    for (const m of page.items) this.#settle(m.client_id)
    this.#drain()
    this.#o.onChange()
  }

  /** Loads the page before the first message held. Rejects with the transport's error, so that the caller can offer a retry. */
  loadEarlier(): Promise<void> {
    if (this.#loadingEarlier) return this.#loadingEarlier
    const first = this.#messages[0]
    if (!first || !this.#earlier || this.#stopped) return Promise.resolve()
    this.#loadingEarlier = this.#o.transport
      .before(first.seq)
      .then((page) => {
        if (this.#stopped) return
        const older = run(page.items, (m) => m.seq < first.seq)
        const joins = older.at(-1)?.seq === first.seq - 1
        if (joins) this.#messages = [...older, ...this.#messages]
        this.#earlier = joins && page.more
      })
      .finally(() => {
        this.#loadingEarlier = undefined
        this.#o.onChange()
      })
    this.#o.onChange()
    return this.#loadingEarlier
  }

  /** Puts a message in the outbox and sends it as soon as those before it are through. */
  send(body: string): Outgoing {
    const message: Outgoing = { clientId: this.#o.newId(), body, at: this.#o.now(), state: 'sending' }
    this.#outbox = [...this.#outbox, message]
    this.#o.onChange()
    void this.#flush()
    return message
  }

  /** Tries a failed message again, under its old client_id. */
  retry(clientId: string): void {
    this.#update(clientId, { state: 'sending', error: undefined })
    void this.#flush()
  }

  /** Takes a failed message out of the outbox; returns its text, for the composer. */
  discard(clientId: string): string | undefined {
    const found = this.#outbox.find((p) => p.clientId === clientId && p.state === 'failed')
    if (!found) return undefined
    this.#outbox = this.#outbox.filter((p) => p !== found)
    this.#o.onChange()
    return found.body
  }

  /** Ends all work; answers that still arrive are ignored. */
  stop(): void {
    this.#stopped = true
    this.#cancelRecover?.()
    this.#cancelFlush?.()
  }

  async #recover(): Promise<void> {
    do {
      this.#recoverAgain = false
      try {
        await this.#fetch()
        this.#error = undefined
        this.#recoverFailures = 0
      } catch (error) {
        if (this.#stopped) return
        this.#error = error
        this.#o.onChange()
        if (!this.#o.isTransient(error)) return
        const wait = this.#o.retryAfter(error) ?? backoff(this.#recoverFailures++)
        this.#cancelRecover = this.#o.later(() => void this.recover(), wait)
        return
      }
    } while (this.#recoverAgain && !this.#stopped)
  }

  async #fetch(): Promise<void> {
    if (!this.#loaded) {
      const page = await this.#o.transport.newest()
      if (this.#stopped) return
      this.seed(page)
      if (this.#ahead.size === 0) return
    }
    for (let more = true; more && !this.#stopped; ) {
      const before = this.lastSeq
      const page = await this.#o.transport.after(before)
      if (this.#stopped) return
      for (const m of page.items) if (m.seq > this.lastSeq) this.#ahead.set(m.seq, m)
      this.#drain()
      this.#o.onChange()
      // A page that brings nothing new ends the loop whatever it says, so that a confused server is not asked forever.
      more = page.more && this.lastSeq > before
    }
    // The server has said all it holds. What is still ahead came after it answered, and whoever brought it asked for
    // another round; without one it cannot be placed, and would make every later message look like a gap.
    if (this.#recoverAgain) return
    for (const m of this.#ahead.values()) this.#settle(m.client_id)
    this.#ahead.clear()
  }

  /** Moves what follows the last message without a hole from `ahead` to the end. */
  #drain(): void {
    const added: Message[] = []
    let seq = this.lastSeq
    for (const old of [...this.#ahead.keys()]) if (old <= seq) this.#ahead.delete(old)
    for (let next = this.#ahead.get(seq + 1); next; next = this.#ahead.get(seq + 1)) {
      this.#ahead.delete(next.seq)
      added.push(next)
      seq = next.seq
    }
    if (added.length === 0) return
    this.#messages = [...this.#messages, ...added]
    for (const m of added) this.#settle(m.client_id)
    for (const m of added) this.#o.onMessage(m)
  }

  /** Takes out of the outbox what now stands among the messages; until then it stays in sight. */
  #settle(clientId: string): void {
    if (!this.#outbox.some((p) => p.clientId === clientId)) return
    this.#outbox = this.#outbox.filter((p) => p.clientId !== clientId)
  }

  #update(clientId: string, change: Partial<Outgoing>): void {
    this.#outbox = this.#outbox.map((p) => (p.clientId === clientId ? { ...p, ...change } : p))
    this.#o.onChange()
  }

  #flushSoon(): void {
    this.#cancelFlush?.()
    this.#cancelFlush = undefined
    void this.#flush()
  }

  /** Sends the outbox one at a time, oldest first, so that the order on the server is the order of writing. */
  async #flush(): Promise<void> {
    if (this.#flushing || this.#stopped) return
    this.#flushing = true
    try {
      for (let next = this.#next(); next && !this.#stopped; next = this.#next()) {
        if (!(await this.#sendOne(next))) return
      }
    } finally {
      this.#flushing = false
    }
  }

  /** The outbox without what the server is known to have: its copy is here, but waits for those before it. */
  #unsent(): Outgoing[] {
    const stored = new Set(Array.from(this.#ahead.values(), (m) => m.client_id))
    return this.#outbox.filter((p) => !stored.has(p.clientId))
  }

  #next(): Outgoing | undefined {
    return this.#unsent().find((p) => p.state !== 'failed')
  }

  /** Whether the next one may follow. */
  async #sendOne(message: Outgoing): Promise<boolean> {
    if (message.state !== 'sending') this.#update(message.clientId, { state: 'sending', error: undefined })
    try {
      const stored = await this.#o.transport.send(message.clientId, message.body)
      this.#sendFailures = 0
      this.receive(stored)
      return true
    } catch (error) {
      if (this.#stopped) return false
      // The socket may have brought it back although the answer was lost.
      if (!this.#unsent().some((p) => p.clientId === message.clientId)) return true
      if (!this.#o.isTransient(error)) {
        this.#update(message.clientId, { state: 'failed', error })
        return true
      }
      this.#update(message.clientId, { state: 'waiting', error })
      const wait = this.#o.retryAfter(error) ?? backoff(this.#sendFailures++)
      this.#cancelFlush = this.#o.later(() => this.#flushSoon(), wait)
      return false
    }
  }
}

/** The longest run without holes at the end of a page, in order. */
function run(items: readonly Message[], keep: (m: Message) => boolean = () => true): Message[] {
  const sorted = items.filter(keep).sort((a, b) => a.seq - b.seq)
  let start = sorted.length - 1
  while (start > 0 && sorted[start - 1]!.seq === sorted[start]!.seq - 1) start--
  return start < 0 ? [] : sorted.slice(start)
}

function backoff(failures: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** failures, LAST_RETRY_MS)
}

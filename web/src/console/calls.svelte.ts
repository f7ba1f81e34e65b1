// The calls of the organisation: who rings, which one this page is in, which can be joined, which were missed. The book
// (lib/calls.ts) knows the calls; this says what of them the member sees.

import { ApiError, type Api } from '../lib/api'
import { CallBook, isCallEvent, present } from '../lib/calls'
import type { Call, CallMedia, CallTicket, ChatEvent, Conversation, ConversationPage } from '../lib/protocol'
import type { LeaveReason } from '../call'

/** The call that is on this page: before it rings it has no `call`. */
export interface Here {
  conversation: string
  media: CallMedia
  call: Call | undefined
  skipPreview: boolean
  /** One for each time that a call is opened here: it stays while the call begins to ring, and another call has another. */
  visit: number
}

/** The API names at most so many conversations at once. */
const MAX_IDS = 100
/** Hanging up is tried so often while the server is out of reach, so long apart. */
const HANG_UP_TRIES = 5
const HANG_UP_PAUSE_MS = 3_000

export class Calls {
  readonly book: CallBook
  #all = $state.raw<readonly Call[]>([])
  #here = $state.raw<Here | null>(null)
  #people = $state.raw<ReadonlyMap<string, Conversation>>(new Map())
  #missed = $state.raw<ReadonlySet<string>>(new Set())
  /** Calls that this member is through with: not offered again while the server catches up. */
  #done = $state.raw<ReadonlySet<string>>(new Set())
  #answering = $state.raw<ReadonlySet<string>>(new Set())
  #off = $state(false)
  #visits = 0
  /** Calls that rang while this page looked on. */
  readonly #rang = new Set<string>()
  readonly #asked = new Set<string>()
  #stopped = false

  constructor(
    private readonly api: Api,
    private readonly me: string,
    /** What is known of a conversation without asking. */
    private readonly known: (id: string) => Conversation | undefined,
    private readonly later: (fn: () => void, ms: number) => void = (fn, ms) => void setTimeout(fn, ms),
  ) {
    this.book = new CallBook({ api, prefix: '', onChange: () => this.#changed() })
  }

  /** The call that this page is in. */
  get here(): Here | null {
    return this.#here
  }

  /** Whether the member is in a call here, or about to be. One that has ended and still says so holds nobody up. */
  get busy(): boolean {
    return this.#here !== null && this.#here.call?.state !== 'ended'
  }

  /** Whether this server holds no calls. */
  get off(): boolean {
    return this.#off
  }

  /** Visitors who ring and whom nobody has answered, the longest-waiting first. */
  get incoming(): readonly Call[] {
    return this.#all.filter((c) => c.state === 'ringing' && c.started_by === 'visitor' && !this.#done.has(c.id) && c.id !== this.#here?.call?.id)
  }

  /** Calls of this member that run on without this page: after a reload, or in another window. */
  get mine(): readonly Call[] {
    return this.#all.filter((c) => c.state !== 'ended' && c.id !== this.#here?.call?.id && !this.#done.has(c.id) && this.#isMine(c))
  }

  /** Whether others than this member and the visitor are in the call of this page. */
  get inCompany(): boolean {
    const call = this.#here?.call
    return call !== undefined && present(call).some((p) => p.kind === 'agent' && p.member !== this.me)
  }

  /** Conversations with a call that was missed while this page looked on, until somebody opens them. */
  get missed(): ReadonlySet<string> {
    return this.#missed
  }

  get answering(): ReadonlySet<string> {
    return this.#answering
  }

  of(conversation: string): readonly Call[] {
    return this.#all.filter((c) => c.conversation === conversation)
  }

  /** The call of a conversation that rings or runs. */
  running(conversation: string): Call | undefined {
    return this.#all.findLast((c) => c.conversation === conversation && c.state !== 'ended')
  }

  /** Whom a call is with, as far as it is known by now. */
  conversation(id: string): Conversation | undefined {
    return this.known(id) ?? this.#people.get(id)
  }

  /** Takes an event of the socket; says whether it was about a call. */
  take(event: ChatEvent): boolean {
    if (!isCallEvent(event)) return false
    this.book.take(event)
    return true
  }

  /** After every connect: what rings and runs. */
  async recover(): Promise<void> {
    await this.book.loadRunning().catch(() => {})
  }

  /** A conversation is opened: its calls belong to what is read. */
  async opened(conversation: string): Promise<void> {
    if (this.#missed.has(conversation)) this.#missed = new Set([...this.#missed].filter((id) => id !== conversation))
    await this.book.load(conversation).catch(() => {})
  }

  /** Notice and preview come first; it rings with the last press there. */
  begin(conversation: string, media: CallMedia): void {
    if (this.busy || this.#off) return
    const running = this.running(conversation)
    if (running) return this.enter(running)
    this.#here = { conversation, media, call: undefined, skipPreview: false, visit: ++this.#visits }
  }

  /** Goes into a call that runs: one's own after a reload, or a colleague's. */
  enter(call: Call, skipPreview = false): void {
    if (this.busy) return
    this.#done = new Set([...this.#done].filter((id) => id !== call.id))
    this.#here = { conversation: call.conversation, media: call.media, call, skipPreview, visit: ++this.#visits }
  }

  /** Answers. Rejects with ApiError; `call_taken`: a colleague was first, and the call may be joined. */
  async accept(call: Call): Promise<void> {
    if (this.busy) throw new ApiError(409, 'call_other')
    this.#answering = new Set([...this.#answering, call.id])
    try {
      this.enter(await this.book.accept(call.id))
    } finally {
      this.#answering = new Set([...this.#answering].filter((id) => id !== call.id))
    }
  }

  async decline(call: Call): Promise<void> {
    await this.#finish(call, (id) => this.book.decline(id))
  }

  /** Ends a call for everybody. One that the member has no part in takes an owner or admin. */
  async end(call: Call): Promise<void> {
    await this.#finish(call, (id) => (this.#isMine(call) ? this.book.end(id) : this.book.forceEnd(id)))
  }

  /** The way into the room of the call on this page. It rings now if it does not yet. */
  async join(): Promise<CallTicket> {
    const here = this.#here
    if (!here) throw new ApiError(409, 'call_not_live')
    let call = here.call
    if (!call) {
      call = await this.book.start(here.conversation, here.media)
      if (call.state === 'ringing' && call.started_by === 'visitor') call = await this.book.accept(call.id)
      if (this.#here !== here) {
        // Closed while it began: then it must not ring on.
        void this.end(call).catch(() => {})
        throw new ApiError(0, 'aborted')
      }
      this.#here = { ...here, call }
    }
    return this.book.join(call.id)
  }

  /** The member is out of the call on this page. */
  left(reason: LeaveReason): void {
    const call = this.#here?.call && (this.book.get(this.#here.call.id) ?? this.#here.call)
    this.#here = null
    if (!call || call.state === 'ended') return
    if (reason === 'left' || reason === 'refused') {
      // Ringing, it is ours to cancel; running, it goes on for the others as long as there are any.
      void this.#finish(call, (id) => (call.state === 'ringing' ? this.book.end(id) : this.book.leave(id))).catch(() => {})
    } else if (reason === 'removed') this.#done = new Set([...this.#done, call.id])
  }

  stop(): void {
    this.#stopped = true
    this.#here = null
    this.book.clear()
  }

  /** Who an identity in the room is. */
  nameOf(identity: string, member: (id: string) => string | undefined, visitor: (c: Conversation) => string): string {
    const found = this.#here?.call?.participants.find((p) => p.id === identity)
    if (!found) return ''
    if (found.kind === 'agent') return found.name || (found.member && member(found.member)) || ''
    const conversation = this.#here && this.conversation(this.#here.conversation)
    return found.name || (conversation ? visitor(conversation) : '')
  }

  #isMine(call: Call): boolean {
    return call.agent?.id === this.me || call.participants.some((p) => p.member === this.me)
  }

  async #finish(call: Call, tell: (id: string) => Promise<Call>): Promise<void> {
    this.#done = new Set([...this.#done, call.id])
    for (let i = 1; ; i++) {
      try {
        await tell(call.id)
        return
      } catch (error) {
        const transient = error instanceof ApiError && error.transient
        if (transient && i < HANG_UP_TRIES && !this.#stopped) {
          await new Promise<void>((resolve) => this.later(resolve, HANG_UP_PAUSE_MS))
          continue
        }
        // Over already, or held by others: it shows as what it is.
        this.#done = new Set([...this.#done].filter((id) => id !== call.id))
        if (!transient && this.book.get(call.id)?.state === 'ended') return
        throw error
      }
    }
  }

  #changed(): void {
    if (this.#stopped) return
    this.#all = this.book.all
    this.#off = this.book.off
    const here = this.#here
    const now = here?.call && this.book.get(here.call.id)
    if (here && now && now !== here.call) this.#here = { ...here, call: now }
    this.#noteMissed()
    void this.#meet()
  }

  /** A ring that this page saw begin and that nobody took is a missed call. */
  #noteMissed(): void {
    const missed = new Set(this.#missed)
    for (const call of this.#all) {
      if (call.started_by !== 'visitor') continue
      if (call.state === 'ringing') this.#rang.add(call.id)
      else if (this.#rang.delete(call.id) && (call.end_reason === 'missed' || call.end_reason === 'cancelled')) missed.add(call.conversation)
    }
    if (missed.size !== this.#missed.size) this.#missed = missed
  }

  /** Fetches who it is that calls, when the list does not have them. */
  async #meet(): Promise<void> {
    const running = this.#all.filter((c) => c.state !== 'ended').map((c) => c.conversation)
    const ids = [...new Set(running)].filter((id) => !this.conversation(id) && !this.#asked.has(id)).slice(0, MAX_IDS)
    if (ids.length === 0) return
    for (const id of ids) this.#asked.add(id)
    try {
      const page = await this.api.get<ConversationPage>(`/conversations?ids=${ids.join(',')}&limit=${MAX_IDS}`)
      this.#people = new Map([...this.#people, ...page.items.map((c) => [c.id, c] as const)])
    } catch {
      // The call is shown without a name; the next change asks again.
      for (const id of ids) this.#asked.delete(id)
    }
  }
}

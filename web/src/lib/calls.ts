// The calls that a client knows of: those of one conversation in the widget, those of an organisation in the console.
// An event says at once what changed; the rest is fetched. A call only ever goes forward, from ringing over live to
// ended, whatever order answers and events arrive in. Nothing here trusts the client's clock. No DOM.
import { ApiError, newId, type Api } from './api'
import type { Call, CallEvent, CallMedia, CallState, CallTicket, ChatEvent, MediaNotice } from './protocol'

export interface CallBookOptions {
  api: Api
  /** '/widget' for a visitor, '' for a member. */
  prefix: '' | '/widget'
  onChange(): void
  /** Runs fn later; returns how to call it off. */
  later?: (fn: () => void, ms: number) => () => void
}

/** How far a call is. */
const stage: Record<CallState, number> = { ringing: 0, live: 1, ended: 2 }
/** A ring whose end was not told is asked about: so long after it should have stopped, and again. In milliseconds. */
const ringGrace = 4_000
const ringAgain = 10_000
/** How long a ring lasts when the server did not say, in milliseconds. */
const usualRing = 45_000

export class CallBook {
  /** This server holds no calls, as far as `loadRunning` has been told. */
  off = false
  readonly #o: CallBookOptions
  readonly #later: NonNullable<CallBookOptions['later']>
  readonly #calls = new Map<string, Call>()
  /** Calls that are being fetched; `true`: something happened meanwhile, fetch once more. */
  readonly #fetching = new Map<string, boolean>()
  readonly #watches = new Map<string, () => void>()
  /** Grows with each `clear`: what was asked before is not wanted any more. */
  #round = 0

  constructor(o: CallBookOptions) {
    this.#o = o
    this.#later =
      o.later ??
      ((fn, ms) => {
        const t = setTimeout(fn, ms)
        return () => clearTimeout(t)
      })
  }

  /** Every call that is known, oldest first. */
  get all(): Call[] {
    return [...this.#calls.values()].sort(byTime)
  }

  get(id: string): Call | undefined {
    return this.#calls.get(id)
  }

  of(conversation: string): Call[] {
    return this.all.filter((c) => c.conversation === conversation)
  }

  /** The call of a conversation that rings or runs: there is one at most. */
  running(conversation: string): Call | undefined {
    return this.of(conversation).findLast((c) => c.state !== 'ended')
  }

  /** Fetches the latest calls of a conversation. A failure changes nothing and is thrown. */
  async load(conversation: string): Promise<void> {
    const round = this.#round
    const { items } = await this.#o.api.get<{ items: Call[] }>(`${this.#o.prefix}/conversations/${encodeURIComponent(conversation)}/calls`)
    if (round !== this.#round) return
    for (const call of items ?? []) this.#keep(call)
    this.#o.onChange()
  }

  /** Fetches what rings or runs in the organisation; what is not among it any more is asked about. */
  async loadRunning(): Promise<void> {
    const round = this.#round
    const { items, available } = await this.#o.api.get<{ items: Call[]; available?: boolean }>(`${this.#o.prefix}/calls`)
    if (round !== this.#round) return
    this.off = available === false
    const running = new Set(items.map((c) => c.id))
    for (const call of items) this.#keep(call)
    for (const call of this.#calls.values()) if (call.state !== 'ended' && !running.has(call.id)) void this.refresh(call.id)
    this.#o.onChange()
  }

  /**
   * Rings the other side. When a call already rings or runs in the conversation, that one is returned: look at
   * `started_by` and `state`. An answer that was lost is asked for again, with the same id, so that it rings once.
   */
  async start(conversation: string, media: CallMedia): Promise<Call> {
    const path = `${this.#o.prefix}/conversations/${encodeURIComponent(conversation)}/calls`
    const body = { client_id: newId(), media }
    const send = () => this.#o.api.post<Call>(path, body)
    try {
      return this.put(await send().catch((error: unknown) => (lost(error) ? send() : Promise.reject(error))))
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'call_busy') throw error
      await this.load(conversation)
      const running = this.running(conversation)
      if (!running) throw error
      return running
    }
  }

  accept(id: string): Promise<Call> {
    return this.#act(id, 'accept')
  }
  decline(id: string): Promise<Call> {
    return this.#act(id, 'decline')
  }
  /** Ends it for everybody. */
  end(id: string): Promise<Call> {
    return this.#act(id, 'end')
  }
  /** Ends one that the caller has no part in; owners and admins may. */
  forceEnd(id: string): Promise<Call> {
    return this.#act(id, 'force-end')
  }
  /** Goes out of it; it ends when nobody is left to talk with. */
  leave(id: string): Promise<Call> {
    return this.#act(id, 'leave')
  }

  /** The way into the room, good for one entry. */
  join(id: string): Promise<CallTicket> {
    return this.#o.api.post<CallTicket>(`${this.#path(id)}/join`)
  }

  notice(lang: string): Promise<MediaNotice> {
    return this.#o.api.get<MediaNotice>(`${this.#o.prefix}/notices/media?lang=${encodeURIComponent(lang)}`)
  }

  /** `lang`: the language that it was read in. */
  acknowledge(version: string, lang: string): Promise<void> {
    const surface = this.#o.prefix ? 'widget' : 'console'
    return this.#o.api.post<void>(`${this.#o.prefix}/notices/media/acknowledge`, { version, surface, lang })
  }

  /** Takes an event of the socket; those that concern no call are left alone. */
  take(event: ChatEvent): void {
    if (!isCallEvent(event)) return
    const { session: id, conversation } = event.data
    if (event.type === 'video.session.changed.v1') {
      const { state, media, started_by, ring_until, end_reason } = event.data
      const known = this.#calls.get(id) ?? { id, conversation, created_at: event.time, participants: [] }
      this.#keep({ ...known, state, media, started_by, ring_until, end_reason, ...(state === 'ended' && { ended_at: event.time }) })
      this.#o.onChange()
    }
    void this.refresh(id)
  }

  /** Takes a newer version of a call, unless it is an older one. Returns what holds now. */
  put(call: Call): Call {
    const kept = this.#keep(call)
    this.#o.onChange()
    return kept
  }

  /** Asks the server what holds. Many wishes at once make one question, and one more after it. */
  async refresh(id: string): Promise<void> {
    if (this.#fetching.has(id)) return void this.#fetching.set(id, true)
    this.#fetching.set(id, false)
    const round = this.#round
    try {
      const call = await this.#o.api.get<Call>(this.#path(id))
      if (round === this.#round) this.put(call)
    } catch (error) {
      if (round === this.#round && gone(error)) this.#forget(id)
    } finally {
      const again = this.#fetching.get(id) && round === this.#round
      this.#fetching.delete(id)
      if (again) void this.refresh(id)
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#round++
    for (const stop of this.#watches.values()) stop()
    this.#watches.clear()
    this.#fetching.clear()
    this.#calls.clear()
  }

  #path(id: string): string {
    return `${this.#o.prefix}/calls/${encodeURIComponent(id)}`
  }

  async #act(id: string, verb: string): Promise<Call> {
    try {
      return this.put(await this.#o.api.post<Call>(`${this.#path(id)}/${verb}`))
    } catch (error) {
      // Refused: somebody else was first, or it is over. Either way we know less than the server.
      if (error instanceof ApiError && error.status >= 400 && error.status < 500) await this.refresh(id)
      throw error
    }
  }

  #keep(call: Call): Call {
    const known = this.#calls.get(call.id)
    if (known && stage[call.state] < stage[known.state]) return known
    this.#calls.set(call.id, call)
    this.#watch(call)
    return call
  }

  #forget(id: string): void {
    this.#watches.get(id)?.()
    this.#watches.delete(id)
    if (this.#calls.delete(id)) this.#o.onChange()
  }

  /** Asks about a ring that should have stopped. Counted from when we first heard it: the clocks may be hours apart. */
  #watch(call: Call): void {
    const watched = this.#watches.get(call.id)
    if (call.state !== 'ringing') {
      watched?.()
      this.#watches.delete(call.id)
      return
    }
    if (watched) return
    const ask = () => {
      void this.refresh(call.id)
      this.#watches.set(call.id, this.#later(ask, ringAgain))
    }
    this.#watches.set(call.id, this.#later(ask, ringLength(call) + ringGrace))
  }
}

export function isCallEvent(event: ChatEvent): event is CallEvent {
  return event.type === 'video.session.changed.v1' || event.type === 'video.participant.joined.v1' || event.type === 'video.participant.left.v1'
}

/** How long the call rings in all, in milliseconds, by the server's own clock. */
export function ringLength(call: Call): number {
  const length = Date.parse(call.ring_until ?? '') - Date.parse(call.created_at)
  return length > 0 && length <= 10 * 60_000 ? length : usualRing
}

/** Who is in the room now. */
export function present(call: Call): Call['participants'] {
  return call.participants.filter((p) => p.joined_at && !p.left_at)
}

/** How long people talked, in seconds; undefined when nobody answered or it is not over. */
export function talked(call: Call): number | undefined {
  if (!call.answered_at || !call.ended_at) return undefined
  return Math.max(0, Math.round((Date.parse(call.ended_at) - Date.parse(call.answered_at)) / 1000))
}

/** What the line about a call in the timeline says. */
export type CallFate = 'ringing' | 'live' | 'talked' | 'missed' | 'declined' | 'cancelled' | 'failed'

/** A call that never came about has no duration to show, whatever ended it. */
export function fateOfCall(call: Call): CallFate {
  if (call.state !== 'ended') return call.state
  if (call.answered_at) return 'talked'
  switch (call.end_reason) {
    case 'declined':
    case 'missed':
    case 'cancelled':
      return call.end_reason
    default:
      return 'failed'
  }
}

/** "4:07" or "1:02:09", for the eye. */
export function clockLength(seconds: number): string {
  const two = (n: number) => String(n).padStart(2, '0')
  const h = Math.floor(seconds / 3600)
  const m = Math.floor((seconds % 3600) / 60)
  return h > 0 ? `${h}:${two(m)}:${two(seconds % 60)}` : `${m}:${two(seconds % 60)}`
}

/**
 * Where a call stands among messages: by the time it began. Calls before the first loaded message belong to a page
 * that is not here; they come with it.
 */
export function callsBetween(calls: readonly Call[], from: string | undefined, hasEarlier: boolean): Call[] {
  if (!hasEarlier || from === undefined) return [...calls]
  return calls.filter((c) => Date.parse(c.created_at) >= Date.parse(from))
}

function byTime(a: Call, b: Call): number {
  return Date.parse(a.created_at) - Date.parse(b.created_at) || (a.id < b.id ? -1 : 1)
}

function lost(error: unknown): boolean {
  return error instanceof ApiError && error.status === 0
}

function gone(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 404 || error.status === 410)
}

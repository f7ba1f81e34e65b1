// What the visitor sees of calls, as plain values: which scene is on, and what each press leads to. The calls themselves
// are the book's (lib/calls.ts); the view draws the scene. No DOM, and nothing of the media library.
import { ApiError } from '../lib/api'
import { present, type CallBook } from '../lib/calls'
import type { Call, CallMedia, CallTicket } from '../lib/protocol'
import type { LeaveReason } from '../call'

/**
 * `incoming`: an agent rings. `outgoing`: the visitor rings, and the page was loaded anew meanwhile. `rejoin`: a call
 * runs, or waits for its answer, and not here; `elsewhere`: another page of the visitor's is in it. `here`: the call is on the page, from its notice to its end; before it rings it has no `call`.
 * `away`: it was handed to a window of its own.
 */
export type Scene =
  | { kind: 'none' }
  | { kind: 'incoming'; call: Call }
  | { kind: 'outgoing'; call: Call }
  | { kind: 'rejoin'; call: Call; elsewhere: boolean }
  | { kind: 'here'; call?: Call; media: CallMedia; skipPreview: boolean }
  | { kind: 'away'; call?: Call; media: CallMedia }

/** One line for the visitor, above the field to write in. `unloaded`: the code of calls does not arrive, and is tried again. */
export type CallNote = 'first' | 'missed' | 'declined' | 'failed' | 'unloaded' | undefined

export interface CallingOptions {
  book: CallBook
  conversation: () => string | undefined
  onChange: () => void
  later: (fn: () => void, ms: number) => () => void
}

/** How often hanging up is tried again while the server is out of reach, and how long between, in milliseconds. */
const hangUpTries = 5
const hangUpPause = 3_000

const none: Scene = { kind: 'none' }

export class Calling {
  scene: Scene = none
  note: CallNote
  readonly #o: CallingOptions
  /** Calls that the visitor is through with: they are not offered again while the server catches up. */
  readonly #done = new Set<string>()
  /** The call that is being answered: its way over `live` is not the way of one that runs elsewhere. */
  #answering = ''

  constructor(o: CallingOptions) {
    this.#o = o
  }

  /** Whether the visitor ended it themselves. */
  isDone(id: string): boolean {
    return this.#done.has(id)
  }

  /** Something about the calls changed: finds the scene that holds now. */
  follow(): void {
    const { book } = this.#o
    const scene = this.scene
    if (scene.kind === 'here' || scene.kind === 'away') {
      // The other window may have begun the call that it took along.
      const begun = scene.kind === 'away' && !scene.call ? this.#running() : undefined
      const call = begun ?? (scene.call && book.get(scene.call.id))
      if (call && call !== scene.call) this.scene = { ...scene, call }
      // What ended in the other window has said so there. What ended here is read here, until somebody rings again.
      if (call?.state !== 'ended' || (scene.kind === 'here' && !this.#running())) return
    }
    const call = this.#running()
    this.scene = call && !this.#done.has(call.id) ? this.#sceneOf(call) : none
    if (this.scene === none && this.note === 'unloaded') this.note = undefined // nothing is missing any more
  }

  /** The visitor wants to call: the notice and the preview come first, the ring with the last press. */
  begin(media: CallMedia): void {
    if (this.scene.kind !== 'none') return
    if (this.#o.conversation() === undefined) return this.#say('first')
    this.#show({ kind: 'here', media, skipPreview: false })
  }

  /** Takes over from the frame that opened this window. */
  resume(call: string | undefined, media: CallMedia): void {
    const known = call === undefined ? undefined : this.#o.book.get(call)
    if (known?.state === 'ended') return
    this.#show({ kind: 'here', call: known, media, skipPreview: false })
  }

  /** Answers. Rejects when it did not go through: the card that was pressed says so, and may be pressed again. */
  async accept(): Promise<void> {
    const { scene } = this
    if (scene.kind !== 'incoming') return
    this.#answering = scene.call.id
    try {
      const call = await this.#o.book.accept(scene.call.id)
      this.#show({ kind: 'here', call, media: call.media, skipPreview: false })
    } finally {
      this.#answering = ''
      this.follow()
      this.#o.onChange()
    }
  }

  async decline(): Promise<void> {
    const { scene } = this
    if (scene.kind === 'incoming') await this.#finish(scene.call, (id) => this.#o.book.decline(id))
  }

  /** Ends a call that is not on this page: one that still rings, or one that runs on without us. */
  async end(): Promise<void> {
    const { scene } = this
    if (scene.kind === 'outgoing' || scene.kind === 'rejoin') await this.#hangUp(scene.call)
  }

  rejoin(): void {
    const { scene } = this
    if (scene.kind === 'rejoin') this.#show({ kind: 'here', call: scene.call, media: scene.call.media, skipPreview: true })
  }

  /** The way into the room. It rings now if it does not yet, and answers when the other side rang first. */
  async join(): Promise<CallTicket> {
    const { book, conversation } = this.#o
    const { scene } = this
    if (scene.kind !== 'here') throw new ApiError(409, 'call_not_live')
    let call = scene.call
    if (!call) {
      const id = conversation()
      if (id === undefined) throw new ApiError(409, 'call_not_live')
      call = await book.start(id, scene.media)
      if (call.state === 'ringing' && call.started_by === 'agent') call = await book.accept(call.id)
      // Closed while it began, and perhaps another one opened: then it must not ring on.
      if (this.scene !== scene) {
        void this.#hangUp(call)
        throw new ApiError(0, 'aborted')
      }
      this.#show({ ...scene, call })
    }
    return book.join(call.id)
  }

  /** The visitor is out of the call on this page. */
  left(reason: LeaveReason): void {
    const { scene } = this
    if (scene.kind !== 'here') return
    const call = scene.call && (this.#o.book.get(scene.call.id) ?? scene.call)
    this.scene = none
    if (call && (reason === 'left' || reason === 'refused')) void this.#hangUp(call)
    else if (call && reason === 'removed') this.#done.add(call.id)
    const unanswered = call?.started_by === 'visitor' && call.state === 'ended' && !call.answered_at
    this.note = unanswered && (call.end_reason === 'missed' || call.end_reason === 'declined') ? call.end_reason : undefined
    this.follow()
    this.#o.onChange()
  }

  /** The call goes on in a window of its own; `closed` when that is gone. */
  handOver(): void {
    const { scene } = this
    if (scene.kind === 'here') this.#show({ kind: 'away', call: scene.call, media: scene.media })
  }

  closed(): void {
    if (this.scene.kind !== 'away') return
    this.#show(none)
    this.follow()
    this.#o.onChange()
  }

  /** The code of calls did not arrive. What rings goes on ringing, elsewhere too; what was to begin did not. */
  unavailable(): void {
    const begun = this.scene.kind === 'here' && !this.scene.call
    if (begun) this.scene = none
    this.#say(begun ? 'failed' : 'unloaded')
  }

  /** It has arrived. */
  available(): void {
    if (this.note === 'unloaded') this.note = undefined
    this.#o.onChange()
  }

  /** A message was sent, or another conversation began. */
  dismissNote(): void {
    this.note = undefined
  }

  /** The conversation is not there any more. */
  reset(): void {
    this.#done.clear()
    this.#answering = ''
    this.scene = none
    this.note = undefined
  }

  #running(): Call | undefined {
    const id = this.#o.conversation()
    return id === undefined ? undefined : this.#o.book.running(id)
  }

  #sceneOf(call: Call): Scene {
    const before = this.scene
    if (call.id === this.#answering) return before
    const elsewhere = present(call).some((p) => p.kind === 'visitor')
    if (call.state === 'ringing' && call.started_by === 'agent') return { kind: 'incoming', call }
    // Whoever calls waits in the room. Another page of theirs must not go in by itself when it is answered: it would put
    // out the one that called, and open a camera that nobody looks at.
    if (call.state === 'ringing' && !elsewhere) return { kind: 'outgoing', call }
    return { kind: 'rejoin', call, elsewhere }
  }

  #show(scene: Scene): void {
    this.scene = scene
    this.note = undefined
    this.#o.onChange()
  }

  #say(note: CallNote): void {
    this.note = note
    this.#o.onChange()
  }

  #hangUp(call: Call): Promise<void> {
    if (call.state === 'ended') return Promise.resolve()
    const { book } = this.#o
    return this.#finish(call, (id) => (book.get(id)?.state === 'live' ? book.leave(id) : book.end(id)))
  }

  /** Tells the server that we are through with a call, more than once if need be: the other side is waiting for it. */
  async #finish(call: Call, tell: (id: string) => Promise<Call>): Promise<void> {
    this.#done.add(call.id)
    this.follow()
    this.#o.onChange()
    for (let i = 1; ; i++) {
      try {
        await tell(call.id)
        return
      } catch (error) {
        // A refusal means that it is over already, or that another window holds it.
        if (!(error instanceof ApiError) || !error.transient) return
        if (i === hangUpTries) break
        await new Promise<void>((resolve) => this.#o.later(resolve, hangUpPause))
      }
    }
    // Out of reach for long: show that it may run on.
    this.#done.delete(call.id)
    this.follow()
    this.#o.onChange()
  }
}

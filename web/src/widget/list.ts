// The list of messages: draws rows and keeps the place that the reader looks at. New messages pull the list along only
// when its end is on the screen; earlier ones appear above without moving what is being read.
import { ApiError } from '../lib/api'
import { clockLength } from '../lib/calls'
import { h, icon, setText, type Child } from './dom'
import { fill, type Words } from './messages'
import type { CallRow, Fate, MessageRow, Row } from './rows'
import { linkify } from './text'
import type { Clock } from './time'

export interface ListActions {
  loadEarlier(): Promise<void>
  retry(key: string): void
  remove(key: string): void
  /** The reader reached the end. */
  atEnd(): void
}

export interface ListState {
  rows: readonly Row[]
  hasEarlier: boolean
  loadingEarlier: boolean
  loaded: boolean
  /** The line at the beginning of the conversation. */
  sealed: string
  typing: string
  closed: boolean
  unread: number
}

interface Drawn {
  element: HTMLLIElement
  look: string
}

/** Distance to an edge that still counts as being there, in pixels. */
const nearEnd = 48
const nearStart = 160

export class MessageList {
  readonly element: HTMLElement
  /** Leads to the end; shown when the end is out of sight. */
  readonly jump: HTMLButtonElement
  atEnd = true

  readonly #ol = h('ol')
  readonly #older: HTMLButtonElement
  readonly #problem = h('p', { class: 'problem', hidden: true, attrs: { role: 'alert' } })
  readonly #sealedText = h('span')
  readonly #sealed: HTMLElement
  readonly #typing: HTMLElement
  readonly #typingText = h('span')
  readonly #closed: HTMLElement
  readonly #drawn = new Map<string, Drawn>()
  readonly #deadlines = new WeakMap<object, number>()
  #state: ListState | undefined
  #height = 0
  #firstKey = ''
  #lastMine = ''
  #ticking: ReturnType<typeof setInterval> | undefined

  constructor(
    private readonly w: Words,
    private readonly clock: Clock,
    private readonly on: ListActions,
  ) {
    this.#older = h('button', { class: 'quiet', type: 'button', textContent: w.older, onclick: () => void this.#loadEarlier() })
    this.#sealed = h('p', { class: 'sealed' }, icon('lock'), this.#sealedText)
    this.#typing = h('p', { class: 'typing', hidden: true }, h('span', { class: 'dots' }, h('i'), h('i'), h('i')), this.#typingText)
    this.#closed = h('p', { class: 'note', textContent: w.closed })
    this.element = h(
      'section',
      { class: 'list', tabIndex: 0, attrs: { 'aria-label': w.messages } },
      h('div', { class: 'start' }, this.#older, this.#problem, this.#sealed),
      this.#ol,
      this.#typing,
      this.#closed,
    )
    this.jump = h('button', { class: 'jump', type: 'button', hidden: true, onclick: () => this.#jumpToEnd() })
    this.element.addEventListener('scroll', () => this.#scrolled(), { passive: true })
    addEventListener('scroll', () => this.#scrolled(), { passive: true })
    new ResizeObserver(() => {
      this.#height = this.#box().clientHeight
      if (this.atEnd) this.toEnd()
    }).observe(this.element)
  }

  update(state: ListState): void {
    const box = this.#box()
    const height = box.scrollHeight
    const top = box.scrollTop
    const first = !this.#state?.loaded && state.loaded
    this.#state = state

    this.#older.hidden = !state.hasEarlier
    this.#older.disabled = state.loadingEarlier
    this.#sealed.hidden = state.hasEarlier || !state.loaded
    setText(this.#sealedText, state.sealed)
    this.#typing.hidden = state.typing === ''
    setText(this.#typingText, state.typing)
    this.#closed.hidden = !state.closed
    this.#drawRows(state.rows)
    this.#tick(state.rows.some((r) => r.kind === 'message' && r.fate === 'limited'))

    const messages = state.rows.filter((r): r is MessageRow => r.kind === 'message')
    const firstKey = messages[0]?.key ?? ''
    const lastMine = [...messages].reverse().find((m) => m.mine)?.key ?? ''
    const wrote = lastMine !== this.#lastMine && messages.at(-1)?.key === lastMine
    const grewAbove = this.#firstKey !== '' && firstKey !== this.#firstKey && this.#drawn.has(this.#firstKey)
    this.#firstKey = firstKey
    this.#lastMine = lastMine
    if (grewAbove) box.scrollTop = top + box.scrollHeight - height
    else if (first || wrote || this.atEnd) this.toEnd()
    if (first) this.#showNew()
    this.#drawJump()
  }

  /** Takes everything out, as before the first message. */
  clear(): void {
    if (!this.#state) return
    this.update({ rows: [], loaded: false, hasEarlier: false, loadingEarlier: false, sealed: '', typing: '', closed: false, unread: 0 })
    this.#state = undefined
    this.atEnd = true
  }

  /** Scrolls to the newest message. */
  toEnd(): void {
    const box = this.#box()
    box.scrollTop = box.scrollHeight
    this.atEnd = true
    this.#drawJump()
  }

  #jumpToEnd(): void {
    this.element.focus()
    this.toEnd()
    this.on.atEnd()
  }

  /** Moves the "New" line to the top when what follows it does not fit the screen. */
  #showNew(): void {
    const line = this.#drawn.get('new')?.element
    const box = this.#box()
    if (!line || box !== this.element) return
    const above = line.getBoundingClientRect().top - box.getBoundingClientRect().top
    if (above < 0) box.scrollTop += above - 8
    this.#measure()
  }

  /** What scrolls: the list, or the whole page where the screen is too low for a list of its own (400 % zoom). */
  #box(): Element {
    const low = matchMedia('(max-height: 340px)').matches
    return low ? (document.scrollingElement ?? document.documentElement) : this.element
  }

  #measure(): void {
    const box = this.#box()
    this.atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < nearEnd
  }

  #scrolled(): void {
    const was = this.atEnd
    // The field below grew: that is no wish to leave the end, and the observer above goes back there.
    if (was && this.#box().clientHeight !== this.#height) return
    this.#measure()
    if (this.atEnd && !was) this.on.atEnd()
    if (this.atEnd !== was) this.#drawJump()
    if (this.#box().scrollTop < nearStart && this.#state?.hasEarlier && this.#problem.hidden) void this.#loadEarlier()
  }

  #drawJump(): void {
    this.jump.hidden = this.atEnd
    const text = this.#state && this.#state.unread > 0 ? this.w.jump_new : this.w.jump
    if (this.jump.dataset.text === text) return
    this.jump.dataset.text = text
    this.jump.replaceChildren(icon('down'), text)
  }

  async #loadEarlier(): Promise<void> {
    this.#problem.hidden = true
    try {
      await this.on.loadEarlier()
    } catch {
      this.#problem.textContent = this.w.older_failed
      this.#problem.hidden = false
    }
  }

  #drawRows(rows: readonly Row[]): void {
    const left = new Set(this.#drawn.keys())
    let at: ChildNode | null = this.#ol.firstChild
    for (const row of rows) {
      const look = this.#look(row)
      let drawn = this.#drawn.get(row.key)
      if (!drawn) this.#drawn.set(row.key, (drawn = { element: h('li'), look: '' }))
      if (drawn.look !== look) {
        drawn.look = look
        this.#drawRow(drawn.element, row)
      }
      left.delete(row.key)
      if (drawn.element === at) at = at.nextSibling
      else this.#ol.insertBefore(drawn.element, at)
    }
    for (const key of left) {
      this.#drawn.get(key)?.element.remove()
      this.#drawn.delete(key)
    }
  }

  /** Everything that the row's element depends on. */
  #look(row: Row): string {
    if (row.kind === 'new') return row.kind
    if (row.kind === 'day') return this.clock.day(row.at)
    if (row.kind === 'call') return `${row.media} ${this.#callText(row)}`
    return JSON.stringify([row.mine, row.name, row.body, +row.at, row.fate, row.first, row.last, this.#wait(row)])
  }

  #drawRow(li: HTMLLIElement, row: Row): void {
    if (row.kind === 'message') return this.#drawMessage(li, row)
    if (row.kind === 'call') return this.#drawCall(li, row)
    li.className = row.kind
    li.replaceChildren(h('span', { textContent: row.kind === 'new' ? this.w.new_messages : this.clock.day(row.at) }))
  }

  #drawCall(li: HTMLLIElement, row: CallRow): void {
    li.className = `past ${row.fate}`
    const time = h('time', { dateTime: row.at.toISOString(), title: this.clock.full(row.at), textContent: this.clock.time(row.at) })
    li.replaceChildren(icon(row.media === 'video' ? 'video' : 'phone'), h('span', { textContent: this.#callText(row) }), time)
  }

  #callText(row: CallRow): string {
    const w = this.w
    switch (row.fate) {
      case 'talked':
        return fill(row.media === 'video' ? w.past_talked_video : w.past_talked_audio, { length: clockLength(row.seconds ?? 0) })
      case 'live':
        return w.past_live
      case 'ringing':
        return row.mine ? w.past_ringing_mine : w.past_ringing
      case 'missed':
        return row.mine ? w.past_missed_mine : w.past_missed
      case 'declined':
        return row.mine ? w.past_declined_mine : w.past_declined
      case 'cancelled':
        return row.mine ? w.past_cancelled_mine : w.past_missed
      case 'failed':
        return w.past_failed
    }
  }

  #drawMessage(li: HTMLLIElement, row: MessageRow): void {
    const w = this.w
    li.className = ['message', row.mine ? 'mine' : 'theirs', row.first && 'first', row.last && 'last', row.fate].filter(Boolean).join(' ')
    const name = row.mine ? w.you : row.name || w.team
    const visible = !row.mine && row.first
    const who = h('span', { class: visible ? 'name' : 'hidden', textContent: visible ? name : `${name}: ` })
    const body = linkify(row.body).map((p) =>
      p.href ? h('a', { href: p.href, target: '_blank', rel: 'noopener noreferrer', textContent: p.text }) : p.text,
    )
    const bubble = h('div', { class: 'bubble', dir: 'auto' }, ...body)
    li.replaceChildren(who, bubble)
    const meta = this.#meta(row)
    if (meta.length > 0) li.append(h('div', { class: 'meta' }, ...meta))
  }

  #meta(row: MessageRow): Child[] {
    const parts: Child[] = []
    const stuck = row.fate !== undefined && row.fate !== 'sent' && row.fate !== 'seen'
    if (row.last && !stuck) {
      parts.push(h('time', { dateTime: row.at.toISOString(), title: this.clock.full(row.at), textContent: this.clock.time(row.at) }))
    }
    if (row.fate) parts.push(h('span', { class: 'fate', textContent: this.#fateText(row, row.fate) }))
    if (row.fate === 'failed' || row.fate === 'refused') parts.push(this.#button(this.w.retry, () => this.on.retry(row.key)))
    if (row.fate === 'failed' || row.fate === 'refused' || row.fate === 'too-long') {
      parts.push(this.#button(this.w.remove, () => this.on.remove(row.key)))
    }
    return parts
  }

  #button(text: string, onclick: () => void): HTMLButtonElement {
    return h('button', { class: 'link', type: 'button', textContent: text, onclick })
  }

  #fateText(row: MessageRow, fate: Fate): string {
    const w = this.w
    if (fate === 'limited') return fill(w.wait, { n: this.#wait(row) })
    if (fate === 'too-long') return w.failed_long
    if (fate === 'refused') return w.failed_refused
    return w[fate]
  }

  /** Seconds until a message that came too fast is sent again. */
  #wait(row: MessageRow): number {
    if (row.fate !== 'limited' || !(row.error instanceof ApiError)) return 0
    let end = this.#deadlines.get(row.error)
    if (end === undefined) this.#deadlines.set(row.error, (end = Date.now() + (row.error.retryAfter ?? 1_000)))
    return Math.max(1, Math.ceil((end - Date.now()) / 1000))
  }

  #tick(on: boolean): void {
    if (on && this.#ticking === undefined) {
      this.#ticking = setInterval(() => this.#state && this.#drawRows(this.#state.rows), 1_000)
    } else if (!on && this.#ticking !== undefined) {
      clearInterval(this.#ticking)
      this.#ticking = undefined
    }
  }
}

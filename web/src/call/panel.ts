// What opens above the bar: the devices, and in narrow windows the actions that have no room in the bar.
import { h, setText } from '../lib/dom'
import { icon, type IconName } from './icons'
import type { LocalMedia } from './media'
import { playTone } from './meter'
import { Meter, picker } from './parts'
import { canChooseSpeaker } from './surroundings'
import type { Words } from './words'

export interface PanelAction {
  id: string
  label: string
  icon: IconName
  /** Why it cannot be used now; it is listed all the same, so that nobody searches for it. */
  reason?: string
  /** Has a place in the bar when the window is wide, and only then is left out here. */
  inBar?: boolean
  run(): void
}

export class Panel {
  readonly element: HTMLElement
  readonly #meter: Meter
  readonly #actions = h('div', { class: 'call-panel-actions' })
  readonly #camera
  readonly #microphone
  readonly #speaker
  #shown = ''
  #runs = new Map<string, () => void>()

  constructor(
    private readonly w: Words,
    private readonly media: LocalMedia,
    private readonly choose: (kind: 'camera' | 'microphone' | 'speaker', id: string) => void,
    private readonly closed: () => void,
  ) {
    this.#meter = new Meter(w)
    this.#microphone = picker(w.microphone, (id) => choose('microphone', id), this.#meter.element)
    this.#camera = picker(w.camera, (id) => choose('camera', id))
    const test = h('button', { class: 'call-link', type: 'button', textContent: w.speaker_test, onclick: () => void playTone(media.speaker) })
    this.#speaker = picker(w.speaker, (id) => choose('speaker', id), test)
    const shut = h('button', { class: 'call-icon-button', type: 'button', title: w.close, onclick: () => this.close(), attrs: { 'aria-label': w.close } }, icon('close'))
    this.element = h(
      'div',
      { class: 'call-panel', hidden: true, attrs: { role: 'dialog', 'aria-label': w.more_title } },
      h('div', { class: 'call-panel-head' }, h('h3', { class: 'call-panel-title', textContent: w.more_title, tabIndex: -1 }), shut),
      this.#actions,
      this.#microphone.element,
      this.#camera.element,
      this.#speaker.element,
      h('p', { class: 'call-soft call-keys', textContent: w.shortcuts }),
    )
    this.element.addEventListener('keydown', (e) => {
      if (e.key !== 'Escape') return
      // Only the panel closes: not the chat around it.
      e.preventDefault()
      e.stopPropagation()
      this.close()
    })
  }

  get open(): boolean {
    return !this.element.hidden
  }

  show(): void {
    this.element.hidden = false
    this.update()
    this.element.querySelector<HTMLElement>('.call-panel-title')?.focus()
  }

  close(): void {
    if (!this.open) return
    this.element.hidden = true
    this.#meter.stop()
    this.closed()
  }

  update(actions?: readonly PanelAction[]): void {
    if (actions) this.#drawActions(actions)
    if (!this.open) return
    const { lists } = this.media
    const empty = this.w.none_listed
    this.#microphone.set(lists.microphone, this.media.chosen('microphone'), empty)
    this.#camera.set(lists.camera, this.media.chosen('camera'), empty)
    this.#speaker.element.hidden = !canChooseSpeaker() || lists.speaker.length === 0
    this.#speaker.set(lists.speaker, this.media.speaker || (lists.speaker[0]?.id ?? ''), empty)
    this.#meter.follow(this.media.microphone)
  }

  destroy(): void {
    this.#meter.stop()
    this.element.remove()
  }

  #drawActions(actions: readonly PanelAction[]): void {
    this.#runs = new Map(actions.map((a) => [a.id, a.run]))
    const signature = JSON.stringify(actions)
    if (signature === this.#shown) return
    this.#shown = signature
    this.#actions.replaceChildren(
      ...actions.map((a) => {
        const text = h('span', {}, h('span', { textContent: a.label }))
        if (a.reason) text.append(h('span', { class: 'call-reason', textContent: a.reason }))
        const run = () => {
          if (a.reason) return
          this.close()
          this.#runs.get(a.id)?.()
        }
        const props = { class: a.inBar ? 'call-panel-action call-in-bar' : 'call-panel-action', type: 'button' as const, onclick: run }
        return h('button', { ...props, attrs: { 'aria-disabled': String(a.reason !== undefined) } }, icon(a.icon), text)
      }),
    )
  }
}

/** Something that has to be said over the pictures, with at most one thing to do about it. */
export interface Note {
  id: string
  text: string
  tone: 'amber' | 'plain'
  act?: { label: string; run(): void }
  dismiss?: () => void
}

/** The notes above the stage. Drawn anew only when they change, so that no button is lost under a finger. */
export class Notes {
  readonly element = h('div', { class: 'call-notes', attrs: { role: 'status' } })
  readonly #drawn = new Map<string, { text: string; element: HTMLElement; note: Note }>()

  constructor(private readonly w: Words) {}

  set(notes: readonly Note[]): void {
    const wanted = new Set(notes.map((n) => n.id))
    for (const [id, { element }] of this.#drawn) {
      if (wanted.has(id)) continue
      element.remove()
      this.#drawn.delete(id)
    }
    for (const [i, note] of notes.entries()) {
      const known = this.#drawn.get(note.id)
      if (known && known.note.act?.label === note.act?.label) {
        known.note = note
        const text = known.element.querySelector('.call-note-text')
        if (text) setText(text, note.text)
      } else {
        known?.element.remove()
        this.#draw(note)
      }
      // Only what stands in the wrong place is moved: moving takes the focus away.
      const element = this.#drawn.get(note.id)?.element
      if (element && this.element.children[i] !== element) this.element.insertBefore(element, this.element.children[i] ?? null)
    }
  }

  #draw(note: Note): void {
    const entry = { text: note.text, note, element: h('div', { class: `call-note call-note-${note.tone}` }) }
    entry.element.append(h('span', { class: 'call-note-text', textContent: note.text }))
    if (note.act) {
      const run = () => entry.note.act?.run()
      entry.element.append(h('button', { class: 'call-note-act', type: 'button', textContent: note.act.label, onclick: run }))
    }
    if (note.dismiss) {
      const run = () => entry.note.dismiss?.()
      const props = { class: 'call-icon-button', type: 'button' as const, title: this.w.dismiss, onclick: run }
      entry.element.append(h('button', { ...props, attrs: { 'aria-label': this.w.dismiss } }, icon('close')))
    }
    this.#drawn.set(note.id, entry)
  }
}

// The card of a call that rings: who, what, and two buttons of one size. It loads no media library and opens no device.
import './call.css'
import './ring.css'
import { h, setText } from '../lib/dom'
import { overWords } from './explain'
import { icon } from './icons'
import { ring } from './meter'
import { button } from './parts'
import { initials } from './people'
import type { EndReason, RingHandle, RingOptions } from './types'
import { fill, wordsFor } from './words'

export function mountRing(el: HTMLElement, options: RingOptions): RingHandle {
  const card = new RingCard(el, options)
  return {
    update: (change) => card.update(change),
    over: (reason, onClose) => card.over(reason, onClose),
    destroy: () => card.destroy(),
  }
}

let cards = 0

class RingCard {
  readonly #o: RingOptions
  readonly #w
  readonly #element: HTMLElement
  readonly #face = h('span', { class: 'call-ring-face', attrs: { 'aria-hidden': 'true' } })
  readonly #title: HTMLElement
  readonly #kind = h('p', { class: 'call-soft' })
  readonly #line = h('i')
  readonly #buttons = h('div', { class: 'call-buttons' })
  readonly #failed: HTMLElement
  #quiet: (() => void) | undefined
  #timer: ReturnType<typeof setInterval> | undefined
  readonly #began = Date.now()
  /** The ring has ended: what an answer under way still brings changes nothing here. */
  #done = false

  constructor(el: HTMLElement, options: RingOptions) {
    this.#o = { ...options }
    const w = wordsFor(options.lang)
    this.#w = w
    const id = `call-ring-${++cards}`
    this.#title = h('h2', { class: 'call-title', id, tabIndex: -1 })
    this.#failed = h('p', { class: 'call-wrong', hidden: true, textContent: w.ring_failed, attrs: { role: 'alert' } })
    const line = h('div', { class: 'call-ring-line', attrs: { 'aria-hidden': 'true' } }, this.#line)
    // An incoming call is announced at once, whatever is being read.
    const role = options.direction === 'incoming' ? 'alertdialog' : 'group'
    this.#element = h(
      'div',
      { class: 'call call-ring', attrs: { role, 'aria-labelledby': id } },
      h('div', { class: 'call-ring-head' }, this.#face, h('div', { class: 'call-ring-words' }, this.#title, this.#kind)),
      this.#failed,
      this.#buttons,
      line,
    )
    if (options.direction === 'incoming') {
      this.#buttons.append(
        button(w.decline, 'danger', () => this.#run(options.onDecline), 'hangUp'),
        button(w.accept, 'primary', () => this.#run(options.onAccept), options.media === 'video' ? 'camera' : 'phone'),
      )
    } else this.#buttons.append(button(w.cancel, 'danger', () => this.#run(options.onCancel), 'hangUp'))
    el.append(this.#element)
    this.update({})
    if (options.sound) this.#quiet = ring(options.direction === 'incoming')
    if (options.focus) this.#title.focus({ preventScroll: true })
    this.#timer = setInterval(() => this.#draw(), 1000)
  }

  update(change: Partial<Pick<RingOptions, 'name' | 'until'>>): void {
    Object.assign(this.#o, change)
    const { name, direction, media } = this.#o
    const w = this.#w
    const unknown = direction === 'incoming' ? w.ring_unknown : w.ring_out_unknown
    setText(this.#title, name ? fill(direction === 'incoming' ? w.ring_title : w.ring_out_title, { name }) : unknown)
    setText(this.#kind, media === 'video' ? w.ring_in_video : w.ring_in_audio)
    const letters = initials(name)
    if (letters) setText(this.#face, letters)
    else this.#face.replaceChildren(icon(media === 'video' ? 'camera' : 'phone'))
    this.#draw()
  }

  over(reason: EndReason | 'taken', onClose: () => void): void {
    this.#stop()
    const { title, text } = overWords(this.#w, reason === 'hung_up' ? 'ended' : reason, this.#o.name)
    setText(this.#title, title)
    setText(this.#kind, text)
    this.#line.parentElement?.remove()
    this.#failed.hidden = true
    this.#buttons.replaceChildren(button(this.#w.close, 'plain', onClose))
    this.#element.setAttribute('role', 'status')
  }

  destroy(): void {
    this.#stop()
    this.#element.remove()
  }

  #stop(): void {
    this.#done = true
    this.#quiet?.()
    this.#quiet = undefined
    clearInterval(this.#timer)
  }

  /** One press, one answer: both buttons rest until it has gone through. */
  #run(act: (() => void | Promise<void>) | undefined): void {
    const buttons = [...this.#buttons.querySelectorAll('button')]
    this.#failed.hidden = true
    for (const b of buttons) b.disabled = true
    this.#quiet?.()
    this.#quiet = undefined
    Promise.resolve()
      .then(() => act?.())
      .catch(() => {
        if (this.#done) return
        this.#failed.hidden = false
        for (const b of buttons) b.disabled = false
      })
  }

  #draw(): void {
    const until = this.#o.until === undefined ? NaN : Date.parse(this.#o.until)
    const all = until - this.#began
    const left = Number.isFinite(all) && all > 0 ? Math.max(0, Math.min(1, (until - Date.now()) / all)) : 0
    this.#line.style.transform = `scaleX(${left.toFixed(3)})`
  }
}

// What several views are made of: buttons, headings, device pickers.
import { h, setText, type Child } from '../lib/dom'
import { icon, swapIcon, type IconName } from './icons'
import type { DeviceChoice } from './media'
import { watchLevel } from './meter'
import type { Words } from './words'

/** A view that fills the call. */
export interface View {
  element: HTMLElement
  /** Takes the keyboard there, when the step changes. */
  focus(): void
  destroy(): void
}

export function heading(text: string): HTMLHeadingElement {
  return h('h2', { class: 'call-title', tabIndex: -1, textContent: text })
}

export function button(text: string, kind: 'primary' | 'plain' | 'danger', run: () => void, iconName?: IconName): HTMLButtonElement {
  return h(
    'button',
    { class: `call-button call-${kind}`, type: 'button', onclick: run },
    iconName && icon(iconName),
    h('span', { textContent: text }),
  )
}

/** A link that looks like a button and opens beside the call. */
export function linkButton(text: string, href: string): HTMLAnchorElement {
  return h('a', { class: 'call-button call-plain', href, target: '_blank', rel: 'noopener' }, h('span', { textContent: text }))
}

/** A page of text with a row of equally large buttons below: the notice, a refusal, the end. */
export function page(title: string, content: Child[], buttons: HTMLElement[], mark?: IconName): View {
  const top = heading(title)
  const inner = h('div', { class: 'call-page-inner' }, mark && h('span', { class: 'call-mark' }, icon(mark)), top, ...content)
  inner.append(h('div', { class: 'call-buttons' }, ...buttons))
  const element = h('div', { class: 'call-page' }, inner)
  return { element, focus: () => top.focus({ preventScroll: true }), destroy: () => element.remove() }
}

export interface Control {
  element: HTMLButtonElement
  set(state: { label: string; text: string; icon: IconName; off?: boolean; on?: boolean; reason?: string; busy?: boolean }): void
}

/** A round button of the bar. With a reason it cannot be used, and says why instead of doing nothing. */
export function control(key: string | undefined, run: () => void, why: (reason: string) => void): Control {
  const holder = h('span', { class: 'call-control-icon' })
  const text = h('span', { class: 'call-control-text' })
  let reason = ''
  const element = h('button', { class: 'call-control', type: 'button', onclick: () => (reason ? why(reason) : run()) }, holder, text)
  if (key) element.setAttribute('aria-keyshortcuts', key)
  return {
    element,
    set(s) {
      reason = s.reason ?? ''
      const label = reason ? `${s.label}. ${reason}` : s.label
      if (element.getAttribute('aria-label') !== label) element.setAttribute('aria-label', label)
      element.title = reason || (key ? `${s.label} (${key})` : s.label)
      setText(text, s.text)
      swapIcon(holder, s.icon)
      element.classList.toggle('call-off', s.off === true)
      element.classList.toggle('call-on', s.on === true)
      element.setAttribute('aria-disabled', String(reason !== '' || s.busy === true))
    },
  }
}

let fields = 0

export interface Picker {
  element: HTMLElement
  set(list: readonly DeviceChoice[], chosen: string, empty: string): void
}

/** A native list: phones and screen readers know best how to show it. */
export function picker(label: string, choose: (id: string) => void, below?: Child): Picker {
  const id = `call-field-${++fields}`
  const select = h('select', { id, class: 'call-select' })
  select.addEventListener('change', () => choose(select.value))
  let shown = ''
  return {
    element: h('div', { class: 'call-field' }, h('label', { htmlFor: id, textContent: label }), select, below),
    set(list, chosen, empty) {
      const signature = JSON.stringify([list, empty])
      if (signature !== shown) {
        shown = signature
        const options = list.length > 0 ? list : [{ id: '', label: empty }]
        select.replaceChildren(...options.map((d) => h('option', { value: d.id, textContent: d.label })))
      }
      select.disabled = list.length === 0
      // The browser's own "default" entry has another id than the device behind it.
      const value = list.some((d) => d.id === chosen) ? chosen : (list[0]?.id ?? '')
      if (select.value !== value) select.value = value
    },
  }
}

/** A bar that follows a microphone. To a screen reader it says once that something is heard, and not how much. */
export class Meter {
  readonly element: HTMLElement
  readonly #bar = h('i')
  readonly #said: HTMLElement
  #track: MediaStreamTrack | undefined
  #end: (() => void) | undefined

  constructor(private readonly w: Words) {
    this.#said = h('span', { class: 'call-hidden', attrs: { role: 'status' } })
    this.element = h('div', { class: 'call-meter' }, h('div', { class: 'call-meter-bar', attrs: { 'aria-hidden': 'true' } }, this.#bar), this.#said)
  }

  follow(track: MediaStreamTrack | undefined): void {
    if (track === this.#track) return
    this.stop()
    this.#track = track
    this.#show(0)
    if (!track) return
    this.#end = watchLevel(track, (level) => {
      this.#show(track.enabled ? level : 0)
      if (level > 0.35 && track.enabled) setText(this.#said, this.w.heard)
    })
  }

  stop(): void {
    this.#end?.()
    this.#end = undefined
    this.#track = undefined
    setText(this.#said, '')
  }

  #show(level: number): void {
    this.#bar.style.transform = `scaleX(${level.toFixed(2)})`
  }
}

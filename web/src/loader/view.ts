/**
 * Draws the launcher and the card. They live in a closed shadow root below <html>, so that neither the host page's
 * styles nor its scripts reach in, and a framework that replaces <body> does not take them away. Styles go in as a
 * constructed sheet, which a host page's Content-Security-Policy does not have to allow.
 */
import sheet from './launcher.css?inline'
import { css, inkOn, parseColour } from './contrast'
import type { FrameCall } from './frame-protocol'
import type { Words } from './words'

const bubble = 'M21 11.5a8.4 8.4 0 0 1-8.5 8.3 8.6 8.6 0 0 1-3.8-.9L3 21l2-5.4a8 8 0 0 1-1-4.1 8.4 8.4 0 0 1 8.5-8.3 8.4 8.4 0 0 1 8.5 8.3z'
const cross = 'M6 6l12 12M18 6 6 18'
const receiver = 'M6 4h3.2l1.5 4-2 1.5a11.5 11.5 0 0 0 5.8 5.8l1.5-2 4 1.5V18a2 2 0 0 1-2.1 2A16 16 0 0 1 4 6.1 2 2 0 0 1 6 4z'

/** The parts of the launcher that its logic moves. */
export interface View {
  host: HTMLElement
  card: HTMLElement
  launcher: HTMLButtonElement
  /** Shows or hides the card; the frame, when it is there, keeps running. */
  show(open: boolean): void
  /** Writes the unread number on the launcher, into its name, and says it when it grows. */
  unread(count: number): void
  /** Says on the launcher that a call comes in or runs, as long as the card, which is the visitor's to open, is closed. */
  call(now: FrameCall): void
  /** Gives the card room for a picture beside the talk, where the screen has it. */
  large(on: boolean): void
  /** Says whether the frame has drawn itself. */
  ready(on: boolean): void
  /** Shows the card's own error instead of the frame, or takes it away. */
  failed(on: boolean): void
}

function make<K extends keyof HTMLElementTagNameMap>(tag: K, className: string, parent: Node): HTMLElementTagNameMap[K] {
  const e = document.createElement(tag)
  e.className = className
  parent.appendChild(e)
  return e
}

function addSheet(root: ShadowRoot): void {
  try {
    const s = new CSSStyleSheet()
    s.replaceSync(sheet)
    root.adoptedStyleSheets = [s]
  } catch {
    make('style', '', root).textContent = sheet
  }
}

function icon(parent: Element): SVGPathElement {
  const ns = 'http://www.w3.org/2000/svg'
  const svg = parent.appendChild(document.createElementNS(ns, 'svg'))
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('aria-hidden', 'true')
  return svg.appendChild(document.createElementNS(ns, 'path'))
}

/** Draws everything, closed, and puts it on the page. */
export function draw(w: Words, name: string, accent: string | undefined, on: { toggle(): void; close(): void; retry(): void }): View {
  const host = document.createElement('parley-widget')
  const root = host.attachShadow({ mode: 'closed' })
  addSheet(root)
  const section = make('section', '', root)
  const title = w.title.replace('{name}', name)
  section.setAttribute('aria-label', title)

  const card = make('div', 'card', section)
  card.setAttribute('role', 'dialog')
  card.setAttribute('aria-label', title)
  card.dataset.off = ''
  const failed = make('div', 'failed', card)
  failed.setAttribute('role', 'alert')
  failed.hidden = true

  const launcher = make('button', 'launcher', section)
  launcher.type = 'button'
  launcher.onclick = on.toggle
  const path = icon(launcher)
  const badge = make('span', 'badge', launcher)
  badge.setAttribute('aria-hidden', 'true')
  const sign = make('span', 'sign', launcher)
  sign.setAttribute('aria-hidden', 'true')
  const said = make('div', 'said', section)
  said.setAttribute('role', 'status')

  const fill = parseColour(accent)
  if (fill) {
    section.style.setProperty('--fill', css(fill))
    section.style.setProperty('--ink', css(inkOn(fill)))
  }

  let opened = false
  let calling: FrameCall = 'none'
  let count = 0
  const news = () => (count === 1 ? w.unread1 : w.unread.replace('{n}', String(count)))
  const label = () => {
    const call = opened || calling === 'none' ? '' : calling === 'incoming' ? w.ringing : w.running
    const why = call ? `, ${call}` : count ? `, ${news()}` : ''
    launcher.setAttribute('aria-label', opened ? w.close : w.open + why)
    launcher.setAttribute('aria-expanded', String(opened))
    launcher.classList.toggle('ringing', call === w.ringing)
    path.setAttribute('d', opened ? cross : call ? receiver : bubble)
    sign.hidden = !call
    sign.textContent = call
    badge.textContent = opened || call || !count ? '' : count > 99 ? '99+' : String(count)
  }
  label()
  document.documentElement.appendChild(host)

  return {
    host,
    card,
    launcher,
    show(open) {
      opened = open
      section.classList.toggle('open', open)
      card.toggleAttribute('data-off', !open)
      label()
    },
    unread(n) {
      const more = n > count
      count = n
      said.textContent = more && !opened ? news() : ''
      label()
    },
    call(now) {
      if (now === 'incoming' && calling !== now && !opened) said.textContent = w.ringing
      calling = now === 'incoming' || now === 'running' ? now : 'none'
      label()
    },
    large(on) {
      card.classList.toggle('large', on)
    },
    ready(on) {
      section.classList.toggle('ready', on)
    },
    failed(show) {
      failed.hidden = !show
      failed.replaceChildren()
      if (!show) return
      make('p', '', failed).textContent = w.failed
      const again = make('button', '', failed)
      again.textContent = w.retry
      again.onclick = on.retry
      const close = make('button', '', failed)
      close.textContent = w.close
      close.onclick = on.close
      if (opened) again.focus()
    },
  }
}

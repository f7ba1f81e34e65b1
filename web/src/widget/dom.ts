// The frame's icons, and the helpers that build its elements.
import { drawIcon } from '../lib/dom'

export { h, setText, type Child } from '../lib/dom'

const paths = {
  close: 'M6 6l12 12M18 6 6 18',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  send: 'M12 19V5M5 12l7-7 7 7',
  lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  down: 'M12 5v14M5 12l7 7 7-7',
  phone: 'M6 4h3.2l1.5 4-2 1.5a11.5 11.5 0 0 0 5.8 5.8l1.5-2 4 1.5V18a2 2 0 0 1-2.1 2A16 16 0 0 1 4 6.1 2 2 0 0 1 6 4z',
  video: 'M3 7h12v10H3zM15 11l6-3.5v9L15 13',
  talk: 'M21 11.5a8.4 8.4 0 0 1-8.5 8.3 8.6 8.6 0 0 1-3.8-.9L3 21l2-5.4a8 8 0 0 1-1-4.1 8.4 8.4 0 0 1 8.5-8.3 8.4 8.4 0 0 1 8.5 8.3z',
  window: 'M13 5h6v6M19 5l-8 8M11 5H5v14h14v-6',
} as const

/** Draws one of our icons; it says nothing to a screen reader. */
export function icon(name: keyof typeof paths): SVGSVGElement {
  return drawIcon(paths[name], `icon icon-${name}`)
}

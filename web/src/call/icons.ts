// The call's own line drawings.
import { drawIcon } from '../lib/dom'

const paths = {
  mic: 'M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM6 11a6 6 0 0 0 12 0M12 17v4M9 21h6',
  micOff: 'M4 4l16 16M9 9v2a3 3 0 0 0 4.5 2.6M15 10.5V6a3 3 0 0 0-5.7-1.3M6 11a6 6 0 0 0 9.4 4.9M18 11a6 6 0 0 1-.4 2.1M12 17v4M9 21h6',
  camera: 'M4.5 6.5h8a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-8a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2zM14.5 11l7-4v10l-7-4',
  cameraOff: 'M3 3l18 18M10 6.5h2.5a2 2 0 0 1 2 2V11l7-4v10l-3-1.7M14.5 15.2v.3a2 2 0 0 1-2 2h-8a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2h1.3',
  screen: 'M3.5 4.5h17v12h-17zM8.5 20.5h7M12 13.5v-6M9.5 9.8L12 7.3l2.5 2.5',
  screenOff: 'M3.5 4.5h17v12h-17zM8.5 20.5h7M9.5 8l5 5M14.5 8l-5 5',
  hangUp: 'M2.8 14.6c.4-5.8 18-5.8 18.4 0l.1 1.300a1 1 0 0 1-1.2 1.100l-3.2-.6a1 1 0 0 1-.8-1v-2a14 14 0 0 0-8.2 0v2a1 1 0 0 1-.8 1l-3.2.6a1 1 0 0 1-1.2-1.100z',
  phone: 'M6 3.500h2.600a1 1 0 0 1 .95.7l1.1 3.300a1 1 0 0 1-.4 1.100L8.7 9.700a12 12 0 0 0 5.6 5.600l1.1-1.550a1 1 0 0 1 1.1-.4l3.3 1.100a1 1 0 0 1 .7.95V18a2.5 2.5 0 0 1-2.5 2.500A14.5 14.5 0 0 1 3.5 6 2.5 2.5 0 0 1 6 3.500z',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  settings: 'M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4',
  pip: 'M3.5 5h17v14h-17zM12 12.500h5.500v3.500H12z',
  full: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  fullOff: 'M9 4v5H4M20 9h-5V4M15 20v-5h5M4 15h5v5',
  close: 'M6 6l12 12M18 6 6 18',
  warn: 'M12 4l9 16H3zM12 10v4M12 17h.01',
  weak: 'M5 19v-3M10 19v-6M15 19h.01M20 19h.01',
  speaker: 'M4 10v4h3l5 4V6L7 10zM16 9.500a4 4 0 0 1 0 5M18.5 7a8 8 0 0 1 0 10',
  out: 'M14 4h6v6M20 4l-9 9M18 14v6H4V6h6',
  person: 'M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20a7.5 7.5 0 0 1 15 0',
  shield: 'M12 3l8 3v6c0 5-3.5 8-8 9-4.5-1-8-4-8-9V6z',
} as const

export type IconName = keyof typeof paths

export function icon(name: IconName): SVGSVGElement {
  return drawIcon(paths[name], `call-icon call-icon-${name}`)
}

/** Puts another icon in an element that holds one; the same one stays as it is. */
export function swapIcon(holder: Element, name: IconName): void {
  if (holder.querySelector(`.call-icon-${name}`)) return
  holder.replaceChildren(icon(name))
}

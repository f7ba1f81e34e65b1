// Which of the layouts holds: a phone's stack, a tablet's two columns, a desk's three or four. In em, so that a reader
// with large text gets the layout that has room for it.

import { MediaQuery } from 'svelte/reactivity'

export const phone = new MediaQuery('max-width: 43.69em')
export const wide = new MediaQuery('min-width: 68.75em')
export const widest = new MediaQuery('min-width: 80em')
/** How much larger than usual the reader's browser writes. */
export function textScale(): number {
  return parseFloat(getComputedStyle(document.documentElement).fontSize) / 16 || 1
}

/** A finger, not a mouse: targets grow. */
export const touch = new MediaQuery('pointer: coarse')

// Which of the layouts holds: a phone's stack, a tablet's two columns, a desk's three or four.

import { MediaQuery } from 'svelte/reactivity'

export const phone = new MediaQuery('max-width: 699px')
export const wide = new MediaQuery('min-width: 1100px')
export const widest = new MediaQuery('min-width: 1280px')
/** A finger, not a mouse: targets grow. */
export const touch = new MediaQuery('pointer: coarse')

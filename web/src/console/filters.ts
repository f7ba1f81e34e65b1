import type { Counts } from '../lib/protocol'
import { m } from '../paraglide/messages.js'
import type { Filter } from './router.svelte'

export function filterName(filter: Filter): string {
  switch (filter) {
    case 'mine':
      return m.filter_mine()
    case 'unassigned':
      return m.filter_unassigned()
    case 'open':
      return m.filter_open()
    case 'closed':
      return m.filter_closed()
  }
}

/** How many conversations are behind a filter; closed ones are not counted. */
export function filterCount(filter: Filter, counts: Counts | null): number {
  return filter === 'closed' ? 0 : (counts?.[filter] ?? 0)
}

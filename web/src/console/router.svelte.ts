// Where the reader is: a hash route, so that one static page serves them all and a link can be kept.

export const FILTERS = ['mine', 'unassigned', 'open', 'closed'] as const
export type Filter = (typeof FILTERS)[number]

export type Route =
  | { page: 'inbox'; filter: Filter; conversation: string | null }
  | { page: 'sites' }
  | { page: 'members' }
  | { page: 'invite'; token: string }

export function parseRoute(hash: string): Route {
  const [page, a = '', b = ''] = hash.replace(/^#?\/?/, '').split('/').map(decode)
  if (page === 'sites') return { page }
  if (page === 'members') return { page }
  if (page === 'invite' && a) return { page, token: a }
  const filter = FILTERS.find((f) => f === a) ?? 'open'
  return { page: 'inbox', filter, conversation: page === 'inbox' && b ? b : null }
}

export function inboxHref(filter: Filter, conversation?: string | null): string {
  return conversation ? `#/inbox/${filter}/${encodeURIComponent(conversation)}` : `#/inbox/${filter}`
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

class Router {
  route = $state<Route>(parseRoute(location.hash))

  constructor() {
    addEventListener('hashchange', () => {
      this.route = parseRoute(location.hash)
    })
  }

  go(hash: string, options: { replace?: boolean } = {}): void {
    if (options.replace) history.replaceState(null, '', hash)
    else history.pushState(null, '', hash)
    this.route = parseRoute(hash)
  }
}

export const router = new Router()

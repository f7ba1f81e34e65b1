// What can be done with the open conversation, from its header, from a key or from the palette alike.

import { toasts } from '../ui/toast.svelte'
import type { OpenConversation } from './conversation.svelte'
import { explain } from './errors'
import { inboxHref, router } from './router.svelte'
import { session } from './session.svelte'

/** Runs something that may be refused, and says so when it is. */
export async function attempt(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (cause) {
    toasts.show(explain(cause), 'error')
    return false
  }
}

/** Goes to another of the member's organisations; what was open belongs to the old one. */
export function switchOrganisation(id: string): Promise<boolean> {
  return attempt(async () => {
    await session.switchTo(id)
    router.go(inboxHref('open'))
  })
}

export function toggleState(conversation: OpenConversation): Promise<boolean> {
  const next = conversation.info?.state === 'closed' ? 'open' : 'closed'
  return attempt(() => conversation.setState(next))
}

export function assign(conversation: OpenConversation, member: string | null): Promise<boolean> {
  return attempt(() => conversation.assign(member))
}

// What can be done with the open conversation, from its header, from a key or from the palette alike.

import { asApiError } from '../lib/api'
import type { Call } from '../lib/protocol'
import { m } from '../paraglide/messages.js'
import { toasts } from '../ui/toast.svelte'
import { copy } from './copy'
import type { OpenConversation } from './conversation.svelte'
import type { Desk } from './desk.svelte'
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

/**
 * Answers a call and opens its conversation. A colleague who was faster can be joined. A failure is said and passed on: the
 * card that was pressed has to let itself be pressed again.
 */
export async function answer(desk: Desk, call: Call): Promise<void> {
  try {
    await desk.calls.accept(call)
    router.go(inboxHref('open', call.conversation))
  } catch (cause) {
    const { code } = asApiError(cause)
    toasts.show(code === 'call_other' ? m.call_busy() : explain(cause), code === 'call_other' ? 'calm' : 'error')
    throw cause
  }
}

/** The address of the page where a visitor can try camera, sound and network before a call. */
export function checkLink(): string {
  return `${location.origin}/w/check`
}

export async function copyCheckLink(): Promise<void> {
  const link = checkLink()
  if (await copy(link)) toasts.show(m.check_link_copied())
  else toasts.show(m.check_link_text({ link }), 'error')
}

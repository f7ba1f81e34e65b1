// How people are named on the screen.

import type { Conversation, Visitor } from '../lib/protocol'
import { m } from '../paraglide/messages.js'

/** The visitor's name; without one, words and the end of the id, so that two of them can be told apart. */
export function visitorName(visitor: Visitor): string {
  return visitor.name?.trim() || visitor.email || m.visitor_unnamed({ tag: visitor.id.slice(-4).toUpperCase() })
}

export function assigneeName(conversation: Conversation, me: string): string {
  if (!conversation.assignee) return m.assignee_none()
  return conversation.assignee.id === me ? m.assignee_me() : conversation.assignee.name
}

export function roleName(role: string): string {
  switch (role) {
    case 'owner':
      return m.role_owner()
    case 'admin':
      return m.role_admin()
    case 'agent':
      return m.role_agent()
    default:
      return role
  }
}

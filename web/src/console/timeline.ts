// Arranges messages for the eye: a heading for each day, a line before the first unread one, and runs of one author
// within a few minutes drawn together.

import { callsBetween } from '../lib/calls'
import type { Call, Message } from '../lib/protocol'
import { minutesApart, sameDay } from './format'

export type Entry =
  | { kind: 'day'; key: string; time: string }
  | { kind: 'unread'; key: string }
  | { kind: 'call'; key: string; call: Call }
  | { kind: 'message'; key: string; message: Message; first: boolean; last: boolean }

/** Messages of one author so close in time are one run. */
const RUN_MINUTES = 5

/** Calls stand where they began. Those before the first loaded message come with their page, when there is one. */
export function arrange(messages: readonly Message[], firstUnread: number, calls: readonly Call[] = [], hasEarlier = false): Entry[] {
  const entries: Entry[] = []
  const waiting = callsBetween(calls, messages[0]?.sent_at, hasEarlier)
  let last: string | undefined
  const day = (time: string): boolean => {
    if (last !== undefined && sameDay(last, time)) return false
    last = time
    entries.push({ kind: 'day', key: `day ${time}`, time })
    return true
  }
  /** Whether a call stands here. */
  const callsUntil = (time: number): boolean => {
    let any = false
    while (waiting[0] && Date.parse(waiting[0].created_at) <= time) {
      const call = waiting.shift()
      if (!call) break
      day(call.created_at)
      entries.push({ kind: 'call', key: `call ${call.id}`, call })
      any = true
    }
    return any
  }
  messages.forEach((message, i) => {
    const before = messages[i - 1]
    const after = messages[i + 1]
    const callHere = callsUntil(Date.parse(message.sent_at))
    const newDay = day(message.sent_at)
    const unreadHere = firstUnread > 1 && message.seq === firstUnread
    const callNext = after !== undefined && waiting[0] !== undefined && Date.parse(waiting[0].created_at) <= Date.parse(after.sent_at)
    if (unreadHere) entries.push({ kind: 'unread', key: 'unread' })
    entries.push({
      kind: 'message',
      key: message.id,
      message,
      first: newDay || callHere || unreadHere || !before || !joins(before, message),
      last: !after || callNext || !joins(message, after) || after.seq === firstUnread || !sameDay(message.sent_at, after.sent_at),
    })
  })
  callsUntil(Infinity)
  return entries
}

function joins(a: Message, b: Message): boolean {
  return a.author.id === b.author.id && minutesApart(a.sent_at, b.sent_at) < RUN_MINUTES
}

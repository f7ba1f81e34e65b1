// Arranges messages for the eye: a heading for each day, a line before the first unread one, and runs of one author
// within a few minutes drawn together.

import type { Message } from '../lib/protocol'
import { minutesApart, sameDay } from './format'

export type Entry =
  | { kind: 'day'; key: string; time: string }
  | { kind: 'unread'; key: string }
  | { kind: 'message'; key: string; message: Message; first: boolean; last: boolean }

/** Messages of one author so close in time are one run. */
const RUN_MINUTES = 5

export function arrange(messages: readonly Message[], firstUnread: number): Entry[] {
  const entries: Entry[] = []
  messages.forEach((message, i) => {
    const before = messages[i - 1]
    const after = messages[i + 1]
    const newDay = !before || !sameDay(before.sent_at, message.sent_at)
    const unreadHere = firstUnread > 1 && message.seq === firstUnread
    if (newDay) entries.push({ kind: 'day', key: `day ${message.seq}`, time: message.sent_at })
    if (unreadHere) entries.push({ kind: 'unread', key: 'unread' })
    entries.push({
      kind: 'message',
      key: message.id,
      message,
      first: newDay || unreadHere || !joins(before, message),
      last: !after || !joins(message, after) || after.seq === firstUnread || !sameDay(message.sent_at, after.sent_at),
    })
  })
  return entries
}

function joins(a: Message, b: Message): boolean {
  return a.author.id === b.author.id && minutesApart(a.sent_at, b.sent_at) < RUN_MINUTES
}

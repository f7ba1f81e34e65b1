import { expect, it } from 'vitest'
import type { Message } from '../lib/protocol'
import { arrange } from './timeline'

const at = (seq: number, minute: number, author = 'v'): Message => ({
  id: `m${seq}`,
  conversation: 'c',
  seq,
  client_id: `c${seq}`,
  sent_at: new Date(2026, 2, 3, 12, minute).toISOString(),
  author: { kind: author === 'v' ? 'visitor' : 'agent', id: author },
  body: '',
})
const drawn = (messages: Message[], firstUnread = 0) =>
  arrange(messages, firstUnread).map((e) =>
    e.kind === 'message' ? `${e.message.seq}${e.first ? ' first' : ''}${e.last ? ' last' : ''}` : e.kind,
  )

it('draws a run of one author together', () => {
  expect(drawn([at(1, 0), at(2, 1), at(3, 2, 'a'), at(4, 20, 'a')])).toEqual([
    'day',
    '1 first',
    '2 last',
    '3 first last',
    '4 first last',
  ])
})

it('begins each day with its name', () => {
  expect(drawn([at(1, 0), at(2, 60 * 24)])).toEqual(['day', '1 first last', 'day', '2 first last'])
})

it('puts a line before the first unread message, unless nothing was read', () => {
  expect(drawn([at(1, 0), at(2, 1)], 2)).toEqual(['day', '1 first last', 'unread', '2 first last'])
  expect(drawn([at(1, 0), at(2, 1)], 1)).toEqual(['day', '1 first', '2 last'])
})

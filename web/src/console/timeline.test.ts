import { expect, it } from 'vitest'
import type { Call, Message } from '../lib/protocol'
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
const call = (id: string, minute: number): Call => ({
  id,
  conversation: 'c',
  state: 'ended',
  media: 'video',
  started_by: 'visitor',
  created_at: new Date(2026, 2, 3, 12, minute, 30).toISOString(),
  participants: [],
})
const drawn = (messages: Message[], firstUnread = 0, calls: Call[] = [], hasEarlier = false) =>
  arrange(messages, firstUnread, calls, hasEarlier).map((e) =>
    e.kind === 'message' ? `${e.message.seq}${e.first ? ' first' : ''}${e.last ? ' last' : ''}` : e.kind === 'call' ? e.key : e.kind,
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

it('puts calls where they began, and never before a page that is missing', () => {
  const messages = [at(1, 0), at(2, 1), at(3, 2)]
  expect(drawn(messages, 0, [call('a', 0), call('b', 9)])).toEqual(['day', '1 first last', 'call a', '2 first', '3 last', 'call b'])
  expect(drawn(messages, 0, [call('a', -9), call('b', 60 * 24)], true)).toEqual(['day', '1 first', '2', '3 last', 'day', 'call b'])
  expect(drawn([], 0, [call('a', 0)])).toEqual(['day', 'call a'])
})

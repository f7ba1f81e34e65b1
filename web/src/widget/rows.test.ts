import { describe, expect, test } from 'vitest'
import { ApiError } from '../lib/api'
import type { Outgoing } from '../lib/conversation-sync'
import type { Call, Message } from '../lib/protocol'
import { buildRows, firstUnread, type MessageRow } from './rows'

const start = new Date(2026, 2, 10, 12, 0)

function message(seq: number, kind: 'visitor' | 'agent', minutes: number, agent = 'anna'): Message {
  return {
    id: `m${seq}`,
    conversation: 'c',
    seq,
    client_id: `k${seq}`,
    sent_at: new Date(start.getTime() + minutes * 60_000).toISOString(),
    author: kind === 'agent' ? { kind, id: agent, name: agent } : { kind, id: 'v' },
    body: `${seq}`,
  }
}

function outgoing(state: Outgoing['state'], error?: unknown): Outgoing {
  return { clientId: 'o1', body: 'out', at: new Date(start.getTime() + 60_000), state, error }
}

function build(messages: Message[], outbox: Outgoing[] = [], agentReadSeq = 0, newFrom = 0) {
  return buildRows({ messages, outbox, agentReadSeq, newFrom })
}

function messageRows(...args: Parameters<typeof build>): MessageRow[] {
  return build(...args).filter((r): r is MessageRow => r.kind === 'message')
}

describe('rows', () => {
  test('one day line a day', () => {
    const rows = build([message(1, 'visitor', 0), message(2, 'agent', 1), message(3, 'agent', 24 * 60)])
    expect(rows.map((r) => r.kind)).toEqual(['day', 'message', 'message', 'day', 'message'])
  })

  test('what one side writes in one go is one group with one name', () => {
    const rows = messageRows([message(1, 'agent', 0), message(2, 'agent', 1), message(3, 'agent', 2, 'ben'), message(4, 'agent', 10, 'ben')])
    expect(rows.map((r) => [r.name, r.first, r.last])).toEqual([
      ['anna', true, false],
      [undefined, false, true],
      ['ben', true, true],
      ['ben', true, true],
    ])
  })

  test('the new line breaks a group and stands before its message', () => {
    const rows = build([message(1, 'agent', 0), message(2, 'agent', 1)], [], 0, 2)
    expect(rows.map((r) => r.kind)).toEqual(['day', 'message', 'new', 'message'])
    expect((rows[3] as MessageRow).name).toBe('anna')
  })

  test('only the newest own message says how far it has come', () => {
    const two = [message(1, 'visitor', 0), message(2, 'visitor', 1), message(3, 'agent', 2)]
    expect(messageRows(two).map((r) => r.fate)).toEqual([undefined, 'sent', undefined])
    expect(messageRows(two, [], 2).map((r) => r.fate)).toEqual([undefined, 'seen', undefined])
    expect(messageRows(two, [outgoing('sending')], 2).map((r) => r.fate)).toEqual([undefined, undefined, undefined, 'sending'])
  })

  test('says why a message is not there yet', () => {
    const fate = (o: Outgoing) => messageRows([], [o])[0]?.fate
    expect(fate(outgoing('waiting', new ApiError(0, 'network')))).toBe('waiting')
    expect(fate(outgoing('waiting', new ApiError(429, 'rate')))).toBe('limited')
    expect(fate(outgoing('waiting', new ApiError(507, 'full')))).toBe('busy')
    expect(fate(outgoing('failed', new ApiError(413, 'message_too_long')))).toBe('too-long')
    expect(fate(outgoing('failed', new ApiError(422, 'x')))).toBe('refused')
    expect(fate(outgoing('failed', new Error('x')))).toBe('failed')
  })

  test('a stored message keeps the key that it had under way', () => {
    const stored = { ...message(1, 'visitor', 0), client_id: 'o1' }
    expect(messageRows([stored])[0]?.key).toBe(messageRows([], [outgoing('sending')])[0]?.key)
  })

  test('finds where the unread begins', () => {
    const all = [message(1, 'visitor', 0), message(2, 'agent', 1), message(3, 'visitor', 2), message(4, 'agent', 3)]
    expect(firstUnread(all, 0)).toBe(2)
    expect(firstUnread(all, 2)).toBe(4)
    expect(firstUnread(all, 4)).toBe(0)
  })
})

describe('calls among the messages', () => {
  const call = (id: string, minutes: number, change: Partial<Call> = {}): Call => ({
    id,
    conversation: 'c',
    state: 'ended',
    media: 'video',
    started_by: 'visitor',
    created_at: new Date(start.getTime() + minutes * 60_000).toISOString(),
    participants: [],
    ...change,
  })
  const shape = (messages: Message[], calls: Call[], outbox: Outgoing[] = [], hasEarlier = false) =>
    buildRows({ messages, outbox, agentReadSeq: 0, newFrom: 0, calls, hasEarlier }).map((r) =>
      r.kind === 'message' ? `${r.body}${r.first ? ' first' : ''}${r.last ? ' last' : ''}` : r.kind === 'call' ? `${r.key} ${r.fate}` : r.kind,
    )

  test('stand where they began, and end a run', () => {
    expect(shape([message(1, 'visitor', 0), message(2, 'visitor', 2)], [call('a', 1, { end_reason: 'missed' })])).toEqual([
      'day',
      '1 first last',
      'call-a missed',
      '2 first last',
    ])
  })

  test('begin a day of their own, and stand above what is still under way', () => {
    expect(shape([message(1, 'visitor', 0)], [call('a', 24 * 60, { state: 'live' })])).toEqual(['day', '1 first last', 'day', 'call-a live'])
    expect(shape([message(1, 'visitor', 0)], [call('a', 0.5, { state: 'live' })], [outgoing('sending')])).toEqual(['day', '1 first last', 'call-a live', 'out first last'])
  })

  test('wait for their page', () => {
    const earlier = [call('a', -10), call('b', 1)]
    expect(shape([message(2, 'visitor', 0)], earlier, [], true)).toEqual(['day', '2 first last', 'call-b failed'])
    expect(shape([message(2, 'visitor', 0)], earlier)).toEqual(['day', 'call-a failed', '2 first last', 'call-b failed'])
  })

  test('have a length when people talked', () => {
    const rows = buildRows({ messages: [], outbox: [], agentReadSeq: 0, newFrom: 0, calls: [call('a', 0, { answered_at: start.toISOString(), ended_at: new Date(start.getTime() + 61_000).toISOString() })] })
    expect(rows[1]).toMatchObject({ kind: 'call', fate: 'talked', seconds: 61, mine: true })
  })
})

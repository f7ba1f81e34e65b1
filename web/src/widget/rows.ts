// What the list of messages shows, as plain values: which message has a name above it, where a day begins, what is new,
// and how far the visitor's last message has come. No DOM.
import { ApiError } from '../lib/api'
import { callsBetween, fateOfCall, talked, type CallFate } from '../lib/calls'
import type { Outgoing } from '../lib/conversation-sync'
import type { Call, CallMedia, Message } from '../lib/protocol'

/** How far a message of the visitor has come. Only the newest one that arrived shows `sent` or `seen`. */
export type Fate = 'sending' | 'waiting' | 'limited' | 'busy' | 'failed' | 'too-long' | 'refused' | 'sent' | 'seen'

export interface MessageRow {
  kind: 'message'
  key: string
  mine: boolean
  /** Shown above the first message of a group; '' when the author has no name. */
  name?: string
  body: string
  at: Date
  fate?: Fate
  /** Milliseconds that the server asked to wait, counted from when it answered. */
  error?: unknown
  /** First and last of what one side wrote in one go: rounds the corners, shows the time. */
  first: boolean
  last: boolean
}

/** A call, in one line. */
export interface CallRow {
  kind: 'call'
  key: string
  /** The visitor rang. */
  mine: boolean
  media: CallMedia
  fate: CallFate
  at: Date
  /** How long people talked. */
  seconds?: number
}

export type Row = { kind: 'day'; key: string; at: Date } | { kind: 'new'; key: string } | MessageRow | CallRow

export interface RowsInput {
  messages: readonly Message[]
  outbox: readonly Outgoing[]
  agentReadSeq: number
  /** The first message that is marked as new; 0 for none. */
  newFrom: number
  /** The calls of the conversation, oldest first. */
  calls?: readonly Call[]
  /** There are messages before those that are here. */
  hasEarlier?: boolean
}

/** Messages of one side that are closer together than this read as one, in milliseconds. */
const together = 5 * 60_000

function fateOf(p: Outgoing): Fate {
  const status = p.error instanceof ApiError ? p.error.status : 0
  if (p.state === 'sending') return 'sending'
  if (p.state === 'waiting') return status === 429 ? 'limited' : status >= 500 ? 'busy' : 'waiting'
  return status === 413 ? 'too-long' : status >= 400 && status < 500 ? 'refused' : 'failed'
}

function dayOf(at: Date): string {
  return `${at.getFullYear()}-${at.getMonth() + 1}-${at.getDate()}`
}

/** A message as the grouping sees it. */
interface Item extends MessageRow {
  author: string
  seq: number
}

function items(input: RowsInput): Item[] {
  const base = { kind: 'message' as const, first: true, last: true }
  const stored = input.messages.map((m): Item => {
    const mine = m.author.kind === 'visitor'
    return {
      ...base,
      key: m.client_id,
      mine,
      name: mine ? undefined : (m.author.name ?? ''),
      body: m.body,
      at: new Date(m.sent_at),
      author: m.author.id,
      seq: m.seq,
    }
  })
  const newestMine = [...stored].reverse().find((m) => m.mine)
  if (newestMine) newestMine.fate = newestMine.seq <= input.agentReadSeq ? 'seen' : 'sent'
  const author = newestMine?.author ?? 'me'
  const waiting = input.outbox.map(
    (p): Item => ({ ...base, key: p.clientId, mine: true, body: p.body, at: p.at, author, seq: 0, fate: fateOf(p), error: p.error }),
  )
  // What is under way says how far things are; two marks in a row would only be noise.
  if (waiting.length > 0 && newestMine) newestMine.fate = undefined
  return [...stored, ...waiting]
}

function callRow(call: Call): CallRow {
  return {
    kind: 'call',
    key: `call-${call.id}`,
    mine: call.started_by === 'visitor',
    media: call.media,
    fate: fateOfCall(call),
    at: new Date(call.created_at),
    seconds: talked(call),
  }
}

/** Builds the rows from top to bottom. */
export function buildRows(input: RowsInput): Row[] {
  const rows: Row[] = []
  const calls = callsBetween(input.calls ?? [], input.messages[0]?.sent_at, input.hasEarlier === true).map(callRow)
  let day = ''
  let before: Item | undefined
  /** Begins a new day when it is one. */
  const dayAt = (at: Date): boolean => {
    if (dayOf(at) === day) return false
    day = dayOf(at)
    rows.push({ kind: 'day', key: `day-${day}`, at })
    return true
  }
  /** Calls that began before a message stand above it; those of now, above what is still under way. */
  const callsUntil = (at: number) => {
    while (calls[0] && calls[0].at.getTime() <= at) {
      const call = calls.shift()
      if (!call) return
      dayAt(call.at)
      rows.push(call)
      before = undefined
    }
  }
  for (const item of items(input)) {
    callsUntil(item.seq > 0 ? item.at.getTime() : Infinity)
    const newDay = dayAt(item.at)
    const isNew = item.seq > 0 && item.seq === input.newFrom
    const joins =
      before !== undefined &&
      !newDay &&
      !isNew &&
      before.mine === item.mine &&
      (item.mine || before.author === item.author) &&
      item.at.getTime() - before.at.getTime() < together
    if (isNew) rows.push({ kind: 'new', key: 'new' })
    if (joins && before) {
      before.last = false
      item.first = false
      item.name = undefined
    }
    rows.push(item)
    before = item
  }
  callsUntil(Infinity)
  return rows
}

/** The first message of an agent after `readSeq`: where the "New" line goes. 0 when there is none. */
export function firstUnread(messages: readonly Message[], readSeq: number): number {
  return messages.find((m) => m.seq > readSeq && m.author.kind === 'agent')?.seq ?? 0
}

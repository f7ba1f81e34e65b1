import { describe, expect, it } from 'vitest'
import { Api } from './api'
import { CallBook, callsBetween, clockLength, fateOfCall, ringLength, talked } from './calls'
import type { Call, CallChanged, ChatEvent } from './protocol'

const at = (second: number) => new Date(Date.UTC(2026, 0, 5, 12, 0, second)).toISOString()

const ringing = (id: string, change: Partial<Call> = {}): Call => ({
  id,
  conversation: 'c',
  state: 'ringing',
  media: 'video',
  started_by: 'visitor',
  created_at: at(0),
  ring_until: at(45),
  participants: [],
  ...change,
})

const changed = (call: Call, second = 1): CallChanged => ({
  id: `e${second}`,
  type: 'video.session.changed.v1',
  org: 'o',
  time: at(second),
  seq: 0,
  data: { session: call.id, conversation: call.conversation, state: call.state, media: call.media, started_by: call.started_by, ring_until: call.ring_until, end_reason: call.end_reason },
})

/** A server with a few calls, that can lose an answer. */
class Server {
  calls = new Map<string, Call>()
  asked: string[] = []
  lose = 0
  busy = ''
  down = false
  available: boolean | undefined
  body: unknown

  fetch = (async (input: string, init?: RequestInit) => {
    const method = init?.method ?? 'GET'
    const path = String(input).replace('/api/v1', '')
    this.asked.push(`${method} ${path}`)
    if (this.down) throw new TypeError('down')
    const [, , first, id = '', verb] = path.split('/')
    if (first === 'conversations') {
      if (method === 'GET') return json(200, { items: [...this.calls.values()].filter((c) => c.conversation === id) })
      if (this.busy) return json(409, { code: 'call_busy' })
      const { client_id, media } = JSON.parse(String(init?.body)) as { client_id: string; media: Call['media'] }
      const call = this.calls.get(client_id) ?? ringing(client_id, { media })
      this.calls.set(client_id, call)
      if (this.lose-- > 0) throw new TypeError('cut')
      return json(201, call)
    }
    if (first === 'notices') {
      this.body = JSON.parse(String(init?.body))
      return new Response(null, { status: 204 })
    }
    if (first === 'calls' && !id) return json(200, { items: [...this.calls.values()].filter((c) => c.state !== 'ended'), available: this.available })
    const call = this.calls.get(id)
    if (!call) return json(404, { code: 'call_unknown' })
    if (verb === 'accept') {
      if (call.state !== 'ringing') return json(409, { code: 'call_taken' })
      this.calls.set(id, { ...call, state: 'live', answered_at: at(5) })
    } else if (verb) this.calls.set(id, { ...call, state: 'ended', end_reason: verb === 'decline' ? 'declined' : 'hung_up', ended_at: at(9) })
    return json(200, this.calls.get(id))
  }) as typeof fetch
}

const json = (status: number, body: unknown) =>
  new Response(JSON.stringify(body), { status, headers: { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json' } })

/** Lets every promise settle that can. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

function setup() {
  const server = new Server()
  const timers: { fn: () => void; ms: number; off: boolean }[] = []
  let changes = 0
  const book = new CallBook({
    api: new Api({ fetch: server.fetch }),
    prefix: '/widget',
    onChange: () => changes++,
    later: (fn, ms) => {
      const t = { fn, ms, off: false }
      timers.push(t)
      return () => (t.off = true)
    },
  })
  return { server, book, timers, changes: () => changes }
}

describe('what is known', () => {
  it('only goes forward, in whatever order it is told', async () => {
    const { server, book } = setup()
    const call = ringing('a')
    server.calls.set('a', { ...call, state: 'ended', end_reason: 'hung_up', answered_at: at(2), ended_at: at(9) })
    book.take(changed({ ...call, state: 'ended', end_reason: 'hung_up' }, 9))
    book.take(changed({ ...call, state: 'live' }, 2))
    book.put(call)
    expect(book.get('a')?.state).toBe('ended')
    await settled()
    expect(book.get('a')).toMatchObject({ state: 'ended', answered_at: at(2) })
    expect(book.running('c')).toBeUndefined()
  })

  it('shows an event at once and fetches the rest, once for many', async () => {
    const { server, book } = setup()
    const call = ringing('a', { participants: [{ id: 'p', kind: 'visitor', name: 'Mara' }] })
    server.calls.set('a', call)
    book.take(changed(call))
    expect(book.running('c')).toMatchObject({ id: 'a', state: 'ringing', participants: [] })
    for (let i = 0; i < 5; i++) book.take({ ...changed(call), type: 'video.participant.joined.v1', data: { session: 'a', conversation: 'c', identity: 'p', kind: 'visitor' } } as ChatEvent)
    await settled()
    await settled()
    expect(book.get('a')?.participants[0]?.name).toBe('Mara')
    expect(server.asked).toEqual(['GET /widget/calls/a', 'GET /widget/calls/a'])
  })

  it('leaves other events alone', () => {
    const { server, book, changes } = setup()
    book.take({ id: 'e', type: 'chat.read.v1', org: 'o', time: at(0), seq: 1, data: { conversation: 'c', by: 'agent', seq: 1 } })
    expect(changes()).toBe(0)
    expect(server.asked).toEqual([])
  })

  it('drops what was erased, and what was asked before it was cleared', async () => {
    const { server, book } = setup()
    book.put(ringing('a'))
    await book.refresh('a')
    expect(book.all).toEqual([])
    server.calls.set('b', ringing('b'))
    const late = book.load('c')
    book.clear()
    await late
    expect(book.all).toEqual([])
  })

  it('keeps what it has when the server is away', async () => {
    const { server, book } = setup()
    book.put(ringing('a'))
    server.down = true
    await book.refresh('a')
    await expect(book.load('c')).rejects.toMatchObject({ code: 'network' })
    expect(book.running('c')?.id).toBe('a')
  })

  it('asks about calls that run no more', async () => {
    const { server, book } = setup()
    book.put(ringing('a'))
    server.calls.set('a', ringing('a', { state: 'ended', end_reason: 'missed' }))
    await book.loadRunning()
    await settled()
    expect(book.get('a')).toMatchObject({ state: 'ended', end_reason: 'missed' })
  })
})

it('learns whether the server holds calls', async () => {
  const { server, book } = setup()
  for (const [available, off] of [[undefined, false], [false, true], [true, false]] as const) {
    server.available = available
    await book.loadRunning()
    expect(book.off).toBe(off)
  }
})

it('acknowledges the notice in the language that it was read in', async () => {
  const { server, book } = setup()
  await book.acknowledge('2026-11-21', 'de')
  expect(server.body).toEqual({ version: '2026-11-21', surface: 'widget', lang: 'de' })
})

describe('a ring', () => {
  it('whose end was never told is asked about, by the length it was given and not by our clock', async () => {
    const { server, book, timers } = setup()
    book.put(ringing('a'))
    book.put(ringing('a')) // told twice, watched once
    expect(timers.map((t) => t.ms)).toEqual([49_000])
    server.calls.set('a', ringing('a', { state: 'ended', end_reason: 'missed' }))
    timers[0]!.fn()
    await settled()
    expect(book.get('a')?.state).toBe('ended')
    expect(timers.every((t, i) => i === 0 || t.off)).toBe(true)
  })

  it('rings once when the answer is lost', async () => {
    const { server, book } = setup()
    server.lose = 1
    const call = await book.start('c', 'audio')
    expect(call.media).toBe('audio')
    expect(server.calls.size).toBe(1)
  })

  it('gives way to the call that runs already', async () => {
    const { server, book } = setup()
    server.busy = 'a'
    server.calls.set('a', ringing('a', { started_by: 'agent' }))
    expect(await book.start('c', 'video')).toMatchObject({ id: 'a', started_by: 'agent' })
    server.calls.clear()
    book.clear()
    await expect(book.start('c', 'video')).rejects.toMatchObject({ code: 'call_busy' })
  })

  it('that somebody else took is looked at again', async () => {
    const { server, book } = setup()
    book.put(ringing('a'))
    server.calls.set('a', ringing('a', { state: 'live', answered_at: at(3) }))
    await expect(book.accept('a')).rejects.toMatchObject({ code: 'call_taken' })
    expect(book.get('a')?.state).toBe('live')
  })

  it('is answered, declined and ended', async () => {
    const { server, book } = setup()
    for (const id of ['a', 'b']) server.calls.set(id, ringing(id))
    expect(await book.accept('a')).toMatchObject({ state: 'live' })
    expect(await book.end('a')).toMatchObject({ state: 'ended', end_reason: 'hung_up' })
    expect(await book.decline('b')).toMatchObject({ end_reason: 'declined' })
  })
})

describe('the line in the timeline', () => {
  it('says what became of it', () => {
    expect(fateOfCall(ringing('a'))).toBe('ringing')
    expect(fateOfCall(ringing('a', { state: 'live' }))).toBe('live')
    expect(fateOfCall(ringing('a', { state: 'ended', end_reason: 'missed' }))).toBe('missed')
    expect(fateOfCall(ringing('a', { state: 'ended', end_reason: 'shutdown' }))).toBe('failed')
    expect(fateOfCall(ringing('a', { state: 'ended', end_reason: 'shutdown', answered_at: at(1) }))).toBe('talked')
  })

  it('has a length when people talked', () => {
    expect(talked(ringing('a', { answered_at: at(5), ended_at: at(52) }))).toBe(47)
    expect(talked(ringing('a', { answered_at: at(5), ended_at: at(4) }))).toBe(0)
    expect(talked(ringing('a', { ended_at: at(52) }))).toBeUndefined()
    expect([0, 61, 3729].map(clockLength)).toEqual(['0:00', '1:01', '1:02:09'])
    expect(ringLength(ringing('a', { ring_until: null }))).toBe(45_000)
  })

  it('waits for its page of messages', () => {
    const calls = [ringing('a', { created_at: at(1) }), ringing('b', { created_at: at(30) })]
    expect(callsBetween(calls, at(10), true).map((c) => c.id)).toEqual(['b'])
    expect(callsBetween(calls, at(10), false)).toHaveLength(2)
    expect(callsBetween(calls, undefined, true)).toHaveLength(2)
  })
})

import { beforeEach, describe, expect, test } from 'vitest'
import { Api } from '../lib/api'
import { CallBook } from '../lib/calls'
import type { Call } from '../lib/protocol'
import { Calling } from './calling'

const at = (second: number) => new Date(Date.UTC(2026, 0, 5, 12, 0, second)).toISOString()
const json = (status: number, body: unknown) =>
  new Response(body === undefined ? null : JSON.stringify(body), { status, headers: { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json' } })
const settled = async () => {
  for (let i = 0; i < 5; i++) await new Promise<void>((resolve) => setImmediate(resolve))
}

/** The server's side of one conversation, c. */
class Server {
  calls: Call[] = []
  told: string[] = []
  down = 0

  ring(by: 'visitor' | 'agent', id = `call${this.calls.length + 1}`): Call {
    const call: Call = { id, conversation: 'c', state: 'ringing', media: 'video', started_by: by, created_at: at(this.calls.length), ring_until: at(45), participants: [] }
    this.calls.push(call)
    return call
  }

  set(id: string, change: Partial<Call>): Call {
    const now = { ...this.calls.find((c) => c.id === id)!, ...change }
    this.calls = this.calls.map((c) => (c.id === id ? now : c))
    return now
  }

  fetch = (async (input: string, init?: RequestInit) => {
    const [, , , , first, id = '', verb] = String(input).split('/')
    const method = init?.method ?? 'GET'
    if (method === 'POST') this.told.push(`${first === 'calls' ? verb : 'start'} ${id}`)
    if (this.down > 0) {
      this.down--
      throw new TypeError('down')
    }
    if (first === 'conversations') {
      if (method === 'GET') return json(200, { items: this.calls })
      if (this.calls.some((c) => c.state !== 'ended')) return json(409, { code: 'call_busy' })
      return json(201, this.ring('visitor'))
    }
    const call = this.calls.find((c) => c.id === id)
    if (!call) return json(404, { code: 'call_unknown' })
    switch (verb) {
      case 'accept':
        return call.state === 'ringing' ? json(200, this.set(id, { state: 'live', answered_at: at(9) })) : json(409, { code: 'call_taken' })
      case 'decline':
        return json(200, this.set(id, { state: 'ended', end_reason: 'declined' }))
      case 'end':
      case 'leave':
        return json(200, this.set(id, { state: 'ended', end_reason: call.state === 'live' ? 'hung_up' : 'cancelled' }))
      case 'join':
        return json(200, { url: '/rtc', token: `t-${id}`, identity: 'i' })
      default:
        return json(200, call)
    }
  }) as typeof fetch
}

let server: Server
let book: CallBook
let calling: Calling
let conversation: string | undefined
let waits: (() => void)[]

beforeEach(() => {
  server = new Server()
  conversation = 'c'
  waits = []
  const later = (fn: () => void) => {
    waits.push(fn)
    return () => {}
  }
  book = new CallBook({ api: new Api({ fetch: server.fetch }), prefix: '/widget', later: () => () => {}, onChange: () => calling.follow() })
  calling = new Calling({ book, conversation: () => conversation, later, onChange: () => {} })
})

const tell = (call: Call) => book.put(call)
const kind = () => calling.scene.kind

describe('a visitor who calls', () => {
  test('is asked for a line first, when nothing was said yet', () => {
    conversation = undefined
    calling.begin('video')
    expect(kind()).toBe('none')
    expect(calling.note).toBe('first')
  })

  test('rings with the last press of the preview, and not before', async () => {
    calling.begin('audio')
    expect(calling.scene).toMatchObject({ kind: 'here', media: 'audio', skipPreview: false })
    expect(server.told).toEqual([])
    expect(await calling.join()).toMatchObject({ token: 't-call1' })
    expect(server.told).toEqual(['start c', 'join call1'])
    expect(calling.scene).toMatchObject({ kind: 'here', call: { id: 'call1' } })
    // The room was lost and is entered again: it does not ring again.
    await calling.join()
    expect(server.told.slice(2)).toEqual(['join call1'])
  })

  test('goes into the call of an agent who rang at the same moment', async () => {
    calling.begin('video')
    server.ring('agent')
    await calling.join()
    expect(server.told).toEqual(['start c', 'accept call1', 'join call1'])
    expect(calling.scene).toMatchObject({ kind: 'here', call: { id: 'call1', state: 'live' } })
  })

  test('who closes the preview while it begins to ring, rings nobody', async () => {
    calling.begin('video')
    const joining = calling.join().catch((e: unknown) => e)
    calling.left('refused')
    expect(await joining).toMatchObject({ code: 'aborted' })
    await settled()
    expect(server.calls[0]).toMatchObject({ state: 'ended', end_reason: 'cancelled' })
    expect(kind()).toBe('none')
  })

  test('who begins anew while the first call begins to ring, is not led into that one', async () => {
    calling.begin('video')
    const joining = calling.join().catch((e: unknown) => e)
    calling.left('refused')
    calling.begin('audio')
    expect(await joining).toMatchObject({ code: 'aborted' })
    await settled()
    expect(server.calls[0]).toMatchObject({ state: 'ended', end_reason: 'cancelled' })
    expect(calling.scene).toMatchObject({ kind: 'here', media: 'audio' })
    expect(calling.scene).not.toHaveProperty('call')
  })

  test.each(['missed', 'declined'] as const)('reads that it was %s, and is asked for a message', async (end_reason) => {
    calling.begin('video')
    await calling.join()
    tell(server.set('call1', { state: 'ended', end_reason }))
    expect(kind()).toBe('here') // its own view says so first
    calling.left('ended')
    expect(kind()).toBe('none')
    expect(calling.note).toBe(end_reason)
    calling.dismissNote()
    expect(calling.note).toBeUndefined()
  })

  test('hangs up', async () => {
    calling.begin('video')
    await calling.join()
    tell(server.set('call1', { state: 'live', answered_at: at(5) }))
    calling.left('left')
    expect(kind()).toBe('none')
    await settled()
    expect(server.told.at(-1)).toBe('leave call1')
    expect(calling.note).toBeUndefined()
  })
})

describe('a visitor who is called', () => {
  test('answers, and reads the notice in the call', async () => {
    tell(server.ring('agent'))
    expect(kind()).toBe('incoming')
    const seen: string[] = []
    const answering = calling.accept()
    seen.push(kind())
    await answering
    seen.push(kind())
    // Never over "runs elsewhere", which would be the state of another window.
    expect(seen).toEqual(['incoming', 'here'])
  })

  test('declines, and is not offered it again while the server catches up', async () => {
    tell(server.ring('agent'))
    const declining = calling.decline()
    expect(kind()).toBe('none')
    await declining
    expect(server.told).toEqual(['decline call1'])
    expect(calling.isDone('call1')).toBe(true)
  })

  test('was too late', async () => {
    const call = tell(server.ring('agent'))
    server.set('call1', { state: 'ended', end_reason: 'missed' })
    await expect(calling.accept()).rejects.toMatchObject({ code: 'call_taken' })
    expect(kind()).toBe('none')
    expect(calling.isDone(call.id)).toBe(false)
  })

  test('without a network, may try again', async () => {
    tell(server.ring('agent'))
    server.down = 1
    // The card that was pressed hears of it: it says so, and takes another press.
    await expect(calling.accept()).rejects.toMatchObject({ code: 'network' })
    expect(kind()).toBe('incoming')
    await calling.accept()
    expect(kind()).toBe('here')
  })

  test('is rung again while the end of the last call is still on the page', async () => {
    tell(server.ring('agent'))
    await calling.accept()
    tell(server.set('call1', { state: 'ended', end_reason: 'hung_up' }))
    expect(calling.scene).toMatchObject({ kind: 'here', call: { id: 'call1' } })
    tell(server.ring('agent'))
    expect(calling.scene).toMatchObject({ kind: 'incoming', call: { id: 'call2' } })
    await calling.accept()
    expect(calling.scene).toMatchObject({ kind: 'here', call: { id: 'call2', state: 'live' } })
  })

  test('is told when the card cannot be shown, and only as long as that is so', () => {
    tell(server.ring('agent'))
    calling.unavailable()
    expect([kind(), calling.note]).toEqual(['incoming', 'unloaded'])
    calling.available()
    expect([kind(), calling.note]).toEqual(['incoming', undefined])
    calling.unavailable()
    tell(server.set('call1', { state: 'ended', end_reason: 'missed' }))
    expect([kind(), calling.note]).toEqual(['none', undefined])
    calling.begin('video')
    calling.unavailable()
    expect([kind(), calling.note]).toEqual(['none', 'failed'])
  })
})

describe('after a reload', () => {
  test('a call that runs is offered at once, and entered without a preview', async () => {
    server.ring('visitor')
    server.set('call1', { state: 'live', answered_at: at(5) })
    await book.load('c')
    expect(calling.scene).toMatchObject({ kind: 'rejoin', elsewhere: false })
    calling.rejoin()
    expect(calling.scene).toMatchObject({ kind: 'here', skipPreview: true })
    expect(await calling.join()).toMatchObject({ token: 't-call1' })
  })

  test('one that is open in another window says so', async () => {
    server.ring('visitor')
    server.set('call1', { state: 'live', participants: [{ id: 'p', kind: 'visitor', joined_at: at(6) }] })
    await book.load('c')
    expect(calling.scene).toMatchObject({ kind: 'rejoin', elsewhere: true })
    await calling.end()
    expect(kind()).toBe('none')
  })

  test('one that still rings can be cancelled, and is offered when it is answered', async () => {
    server.ring('visitor')
    await book.load('c')
    expect(kind()).toBe('outgoing')
    tell(server.set('call1', { state: 'live', answered_at: at(5) }))
    expect(kind()).toBe('rejoin')
    await calling.end()
    tell(server.ring('visitor', 'other'))
    expect(kind()).toBe('outgoing')
    await calling.end()
    expect(server.told.at(-1)).toBe('end other')
  })

  test('another page of the same visitor never goes in by itself', async () => {
    server.ring('visitor')
    server.set('call1', { participants: [{ id: 'p', kind: 'visitor', joined_at: at(1) }] })
    await book.load('c')
    expect(calling.scene).toMatchObject({ kind: 'rejoin', elsewhere: true })
    tell(server.set('call1', { state: 'live', answered_at: at(5) }))
    expect(calling.scene).toMatchObject({ kind: 'rejoin', elsewhere: true })
    expect(server.told).toEqual([])
  })
})

describe('hanging up', () => {
  test('is tried again while the server is out of reach', async () => {
    server.ring('visitor')
    server.set('call1', { state: 'live' })
    await book.load('c')
    calling.rejoin()
    server.down = 2
    calling.left('left')
    for (let i = 0; i < 2; i++) {
      await settled()
      waits.shift()!()
    }
    await settled()
    expect(server.told).toEqual(['leave call1', 'leave call1', 'leave call1'])
    expect(server.calls[0]?.state).toBe('ended')
  })

  test('shows the call again when it cannot be done', async () => {
    server.ring('visitor')
    server.set('call1', { state: 'live' })
    await book.load('c')
    server.down = 99
    const ending = calling.end()
    expect(kind()).toBe('none')
    for (let i = 0; i < 4; i++) {
      await settled()
      waits.shift()!()
    }
    await ending
    expect(kind()).toBe('rejoin')
  })

  test('somebody who was taken out is not led back in', async () => {
    server.ring('visitor')
    server.set('call1', { state: 'live' })
    await book.load('c')
    calling.rejoin()
    calling.left('removed')
    expect(kind()).toBe('none')
    expect(server.told).toEqual([])
  })
})

describe('a window of its own', () => {
  test('takes the call, and gives it back when it closes', async () => {
    server.ring('visitor')
    server.set('call1', { state: 'live' })
    await book.load('c')
    calling.rejoin()
    calling.handOver()
    expect(calling.scene).toMatchObject({ kind: 'away', call: { id: 'call1' } })
    expect(server.told).toEqual([])
    calling.closed()
    expect(kind()).toBe('rejoin')
  })

  test('ends with the call', async () => {
    calling.begin('video')
    await calling.join()
    calling.handOver()
    tell(server.set('call1', { state: 'ended', end_reason: 'hung_up' }))
    expect(kind()).toBe('none')
  })

  test('may begin the call that it took along', () => {
    calling.begin('video')
    calling.handOver()
    tell(server.ring('visitor'))
    expect(calling.scene).toMatchObject({ kind: 'away', call: { id: 'call1' } })
    tell(server.set('call1', { state: 'ended', end_reason: 'missed' }))
    expect(kind()).toBe('none')
  })

  test('goes on with what it was given', async () => {
    server.ring('visitor')
    server.set('call1', { state: 'live' })
    await book.load('c')
    calling.resume('call1', 'video')
    expect(calling.scene).toMatchObject({ kind: 'here', call: { id: 'call1' } })
    calling.reset()
    calling.resume(undefined, 'audio')
    expect(calling.scene).toMatchObject({ kind: 'here', media: 'audio', call: undefined })
  })
})

test('a conversation that is gone takes its call along', async () => {
  server.ring('agent')
  await book.load('c')
  await calling.accept()
  book.clear()
  calling.reset()
  expect(kind()).toBe('none')
  expect(await calling.join().catch((e: unknown) => e)).toMatchObject({ code: 'call_not_live' })
})

import { beforeEach, describe, expect, it } from 'vitest'
import { Api } from '../lib/api'
import type { Call, CallChanged, Conversation } from '../lib/protocol'
import { Calls } from './calls.svelte'

const at = (second: number) => new Date(Date.UTC(2026, 0, 5, 12, 0, second)).toISOString()
const json = (status: number, body: unknown) =>
  new Response(JSON.stringify(body), { status, headers: { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json' } })
const settled = async () => {
  for (let i = 0; i < 8; i++) await new Promise<void>((resolve) => setImmediate(resolve))
}
const person = (id: string): Conversation => ({ id, visitor: { id: `v-${id}`, name: id.toUpperCase(), online: true }, site: { id: 's', name: 'Shop' } }) as Conversation

let server: Map<string, Call>
let told: string[]
let busy: boolean
let down: number
let available: boolean
let waits: (() => void)[]
let calls: Calls

const ring = (id: string, change: Partial<Call> = {}): Call => {
  const call: Call = { id, conversation: `c-${id}`, state: 'ringing', media: 'video', started_by: 'visitor', created_at: at(server.size), ring_until: at(45), participants: [], ...change }
  server.set(id, call)
  return call
}
const change = (id: string, to: Partial<Call>): Call => {
  const call = { ...server.get(id)!, ...to }
  server.set(id, call)
  return call
}
const event = (call: Call): CallChanged => ({
  id: 'e',
  type: 'video.session.changed.v1',
  org: 'o',
  time: at(1),
  seq: 0,
  data: { session: call.id, conversation: call.conversation, state: call.state, media: call.media, started_by: call.started_by, ring_until: call.ring_until, end_reason: call.end_reason },
})

beforeEach(() => {
  server = new Map()
  told = []
  busy = false
  down = 0
  available = true
  waits = []
  const fetch = (async (input: string, init?: RequestInit) => {
    const url = new URL(String(input), 'http://x')
    const [, , , first, id = '', verb] = url.pathname.split('/')
    const method = init?.method ?? 'GET'
    if (method === 'POST') told.push(`${first === 'calls' ? verb : 'start'} ${id}`)
    if (method === 'POST' && down > 0) {
      down--
      throw new TypeError('down')
    }
    if (first === 'conversations' && !id) {
      told.push(`ask ${url.searchParams.get('ids')}`)
      return json(200, { items: (url.searchParams.get('ids') ?? '').split(',').map(person) })
    }
    if (first === 'conversations') {
      if (method === 'GET') return json(200, { items: [...server.values()].filter((c) => c.conversation === id) })
      if (busy) return json(409, { code: 'call_busy' })
      return json(201, ring('new', { conversation: id, started_by: 'agent', agent: { id: 'me' } }))
    }
    if (!id) return json(200, { items: [...server.values()].filter((c) => c.state !== 'ended'), available })
    const call = server.get(id)
    if (!call) return json(404, { code: 'call_unknown' })
    switch (verb) {
      case 'accept':
        return call.state === 'ringing' ? json(200, change(id, { state: 'live', answered_at: at(9), agent: { id: 'me' } })) : json(409, { code: 'call_taken' })
      case 'decline':
      case 'end':
      case 'force-end':
      case 'leave':
        return json(200, change(id, { state: 'ended', end_reason: 'hung_up' }))
      case 'join':
        return json(200, { url: '/rtc', token: `t-${id}`, identity: 'i' })
      default:
        return json(200, call)
    }
  }) as typeof globalThis.fetch
  calls = new Calls(new Api({ fetch }), 'me', (id) => (id === 'c-known' ? person(id) : undefined), (fn) => waits.push(fn))
})

const ids = (list: readonly Call[]) => list.map((c) => c.id).join(' ')

describe('who rings', () => {
  it('shows all of them, the longest-waiting first, and asks who they are once', async () => {
    ring('a')
    ring('known', { conversation: 'c-known' })
    ring('mine', { started_by: 'agent' })
    await calls.recover()
    await settled()
    expect(ids(calls.incoming)).toBe('a known')
    expect(told.filter((t) => t.startsWith('ask'))).toEqual(['ask c-a,c-mine'])
    expect(calls.conversation('c-a')?.visitor.name).toBe('C-A')
    expect(calls.conversation('c-known')?.visitor.name).toBe('C-KNOWN')
  })

  it('takes events, and leaves those of others alone', () => {
    expect(calls.take(event(ring('a')))).toBe(true)
    expect(calls.take({ id: 'e', type: 'chat.read.v1', org: 'o', time: at(0), seq: 1, data: { conversation: 'c', by: 'agent', seq: 1 } })).toBe(false)
    expect(ids(calls.incoming)).toBe('a')
    expect(calls.running('c-a')?.id).toBe('a')
  })

  it('marks what nobody took, until it is looked at', async () => {
    calls.take(event(ring('a')))
    calls.take(event(ring('b')))
    ring('old', { state: 'ended', end_reason: 'missed' })
    calls.take(event(change('a', { state: 'ended', end_reason: 'missed' })))
    calls.take(event(change('b', { state: 'live' })))
    calls.take(event(server.get('old')!))
    expect([...calls.missed]).toEqual(['c-a'])
    await calls.opened('c-a')
    expect(calls.missed.size).toBe(0)
  })
})

describe('answering', () => {
  it('opens the call on this page', async () => {
    calls.take(event(ring('a')))
    await calls.accept(server.get('a')!)
    expect(calls.here).toMatchObject({ conversation: 'c-a', skipPreview: false, call: { state: 'live' } })
    expect(ids(calls.incoming)).toBe('')
    expect(ids(calls.mine)).toBe('')
    expect((await calls.join()).token).toBe('t-a')
  })

  it('comes too late when a colleague was faster, and the call can be joined', async () => {
    const call = ring('a')
    calls.take(event(call))
    change('a', { state: 'live', agent: { id: 'other' } })
    await expect(calls.accept(call)).rejects.toMatchObject({ code: 'call_taken' })
    expect(calls.here).toBeNull()
    expect(ids(calls.mine)).toBe('')
    calls.enter(calls.running('c-a')!)
    expect(calls.here).toMatchObject({ call: { id: 'a' } })
  })

  it('is one call at a time', async () => {
    calls.take(event(ring('a')))
    calls.take(event(ring('b')))
    await calls.accept(server.get('a')!)
    await expect(calls.accept(server.get('b')!)).rejects.toMatchObject({ code: 'call_other' })
    calls.begin('c-c', 'audio')
    expect(calls.here?.conversation).toBe('c-a')
    expect(ids(calls.incoming)).toBe('b')
  })

  it('does not hold up the next call when the last one has ended and still says so', async () => {
    calls.take(event(ring('a')))
    await calls.accept(server.get('a')!)
    const first = calls.here!.visit
    calls.take(event(change('a', { state: 'ended', end_reason: 'hung_up' })))
    await settled()
    expect(calls.here).toMatchObject({ call: { id: 'a', state: 'ended' }, visit: first })
    expect(calls.busy).toBe(false)
    calls.take(event(ring('b', { conversation: 'c-a' }))) // the same visitor rings again
    await calls.accept(server.get('b')!)
    expect(calls.here).toMatchObject({ conversation: 'c-a', call: { id: 'b', state: 'live' } })
    expect(calls.here!.visit).not.toBe(first) // a view of its own
    expect(calls.busy).toBe(true)
    calls.take(event(change('b', { state: 'ended', end_reason: 'hung_up' })))
    await settled()
    calls.begin('c-z', 'audio')
    expect(calls.here).toMatchObject({ conversation: 'c-z', call: undefined })
  })

  it('declines', async () => {
    calls.take(event(ring('a')))
    const declining = calls.decline(server.get('a')!)
    expect(ids(calls.incoming)).toBe('')
    await declining
    expect(told.at(-1)).toBe('decline a')
  })
})

describe('calling', () => {
  it('rings with the last press of the preview', async () => {
    calls.begin('c-x', 'audio')
    expect(calls.here).toMatchObject({ media: 'audio', call: undefined })
    const { visit } = calls.here!
    expect(told).toEqual([])
    expect((await calls.join()).token).toBe('t-new')
    expect(calls.here).toMatchObject({ call: { id: 'new', state: 'ringing' }, visit }) // the view stays while it begins to ring
    calls.left('left')
    await settled()
    expect(told.at(-1)).toBe('end new')
    expect(ids(calls.mine)).toBe('')
  })

  it('is not begun where the server holds none', async () => {
    available = false
    await calls.recover()
    expect(calls.off).toBe(true)
    calls.begin('c-x', 'audio')
    expect(calls.here).toBeNull()
    available = true
    await calls.recover()
    calls.begin('c-x', 'audio')
    expect(calls.here).not.toBeNull()
  })

  it('answers instead, when the visitor rang meanwhile', async () => {
    calls.begin('c-a', 'video')
    busy = true
    ring('a')
    await calls.join()
    expect(told.filter((t) => !t.startsWith('ask'))).toEqual(['start c-a', 'accept a', 'join a'])
  })

  it('rings nobody when the preview is closed while it begins', async () => {
    calls.begin('c-x', 'video')
    const joining = calls.join().catch((e: unknown) => e)
    calls.left('refused')
    expect(await joining).toMatchObject({ code: 'aborted' })
    await settled()
    expect(server.get('new')?.state).toBe('ended')
  })
})

describe('leaving', () => {
  beforeEach(async () => {
    ring('a', { state: 'live', agent: { id: 'me' }, participants: [{ id: 'p', kind: 'agent', member: 'me', joined_at: at(2) }, { id: 'q', kind: 'agent', member: 'other', joined_at: at(3), name: 'Jonas' }, { id: 'v', kind: 'visitor', joined_at: at(2) }] })
    await calls.recover()
    await settled()
  })

  it('after a reload the call is offered again', () => {
    expect(ids(calls.mine)).toBe('a')
    calls.enter(calls.mine[0]!, true)
    expect(calls.here).toMatchObject({ skipPreview: true })
    expect(ids(calls.mine)).toBe('')
    expect(calls.inCompany).toBe(true)
    const name = (id: string) => calls.nameOf(id, () => undefined, (c) => c.visitor.name ?? '')
    expect([name('q'), name('v'), name('nobody')]).toEqual(['Jonas', 'C-A', ''])
  })

  it('leaves the others to their talk', async () => {
    calls.enter(calls.mine[0]!, true)
    calls.left('left')
    expect(ids(calls.mine)).toBe('')
    await settled()
    expect(told.at(-1)).toBe('leave a')
  })

  it('is tried again, and said when it fails for good', async () => {
    down = 99
    const ending = calls.end(calls.mine[0]!).catch((e: unknown) => e)
    for (let i = 0; i < 4; i++) {
      await settled()
      waits.shift()!()
    }
    expect(await ending).toMatchObject({ code: 'network' })
    expect(ids(calls.mine)).toBe('a')
  })

  it('ends a colleague’s call by force', async () => {
    ring('b', { state: 'live', agent: { id: 'other' } })
    await calls.recover()
    await calls.end(server.get('b')!)
    expect(told.at(-1)).toBe('force-end b')
  })
})

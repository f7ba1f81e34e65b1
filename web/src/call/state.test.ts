import { describe, expect, it } from 'vitest'
import { canRetry, initial, leaveReasonOf, mayBeOpen, reduce, type Event, type State } from './state'
import type { CallSession, EndReason, Notice } from './types'

const notice = (acknowledged: boolean): Notice => ({ version: '2026-11-21', title: 'T', paragraphs: ['p'], acknowledged })
const session = (state: CallSession['state'], end_reason?: EndReason): CallSession => ({ id: 's', state, media: 'video', started_by: 'visitor', end_reason })
const run = (events: Event[], from: State = initial(undefined, true)) => events.reduce(reduce, from)

const seen: Event = { type: 'notice', notice: notice(false), skipPreview: false }
const known: Event = { type: 'notice', notice: notice(true), skipPreview: false }
const inRoom: Event[] = [known, { type: 'join' }, { type: 'entered' }]

describe('the way in', () => {
  it('shows the notice first, then the preview (promise G16)', () => {
    expect(run([seen]).step).toBe('notice')
    expect(run([seen, { type: 'acknowledged', skipPreview: false }]).step).toBe('preview')
    expect(run([known]).step).toBe('preview')
  })
  it('shows it also to who skips the preview', () => {
    const skipping: Event = { type: 'notice', notice: notice(false), skipPreview: true }
    expect(run([skipping]).step).toBe('notice')
    expect(run([skipping, { type: 'acknowledged', skipPreview: true }])).toMatchObject({ step: 'connecting', connection: 'connecting' })
  })
  it('stays at the notice when the answer could not be stored', () => {
    const s = run([seen, { type: 'acknowledge-failed' }])
    expect(s).toMatchObject({ step: 'notice', problem: 'acknowledge' })
    expect(run([{ type: 'acknowledged', skipPreview: false }], s)).toMatchObject({ step: 'preview', problem: undefined })
  })
  it('shows a changed notice again, and goes on from there', () => {
    const s = run([known, { type: 'join' }, { type: 'join-failed', fault: 'unacknowledged' }])
    expect(s).toMatchObject({ step: 'loading', noticeChanged: true, notice: undefined })
    expect(run([seen], s)).toMatchObject({ step: 'notice', noticeChanged: true })
    expect(run([seen, { type: 'acknowledged', skipPreview: false }], s).noticeChanged).toBe(false)
  })
  it('has no device open while a notice is read, the first or a changed one (promise G16)', () => {
    const changed: Event = { type: 'join-failed', fault: 'unacknowledged' }
    const way = [[], [seen], [known, { type: 'join' }, changed], [known, { type: 'join' }, changed, seen]] as Event[][]
    expect(way.map((events) => run(events).step)).toEqual(['loading', 'notice', 'loading', 'notice'])
    for (const events of way) expect(mayBeOpen(run(events).step)).toBe(false)
    const lost = [...inRoom, { type: 'dropped', drop: 'lost' }, { type: 'rejoin-failed', fault: 'unacknowledged', final: true }] as Event[]
    expect(mayBeOpen(run(lost).step)).toBe(false)
    expect((['preview', 'connecting', 'room', 'over', 'problem'] as const).map(mayBeOpen)).toEqual([true, true, true, false, false])
  })
  it('enters', () => expect(run(inRoom)).toMatchObject({ step: 'room', connection: 'live', entered: true }))
  it('can be tried again after a refusal', () => {
    const s = run([known, { type: 'join' }, { type: 'join-failed', fault: 'path' }])
    expect(s).toMatchObject({ step: 'problem', problem: 'path' })
    expect(canRetry(s)).toBe(true)
    expect(run([{ type: 'retry' }], s)).toMatchObject({ step: 'connecting', problem: undefined })
    const hopeless = run([known, { type: 'join' }, { type: 'join-failed', fault: 'unsupported' }])
    expect(canRetry(hopeless)).toBe(false)
    expect(canRetry(run([known, { type: 'join' }, { type: 'join-failed', fault: 'off' }]))).toBe(false)
    const unread = run([{ type: 'notice-failed' }])
    expect(unread).toMatchObject({ step: 'problem', problem: 'notice' })
    expect(run([{ type: 'retry' }], unread).step).toBe('loading')
  })
  it.each([
    ['over', 'ended'],
    ['taken', 'taken'],
    ['shutdown', 'shutdown'],
  ] as const)('knows a call that is not there any more: %s', (fault, over) => {
    expect(run([known, { type: 'join' }, { type: 'join-failed', fault }])).toMatchObject({ step: 'over', over })
  })
})

describe('in the room', () => {
  it('reconnects without leaving the room', () => {
    const s = run([...inRoom, { type: 'reconnecting' }])
    expect(s).toMatchObject({ step: 'room', connection: 'reconnecting' })
    expect(run([{ type: 'reconnected' }], s).connection).toBe('live')
  })
  it('rejoins when the room is lost, and gives up for good only at the end', () => {
    const s = run([...inRoom, { type: 'dropped', drop: 'lost' }])
    expect(s).toMatchObject({ step: 'room', connection: 'rejoining' })
    expect(run([{ type: 'reconnected' }, { type: 'reconnecting' }], s).connection).toBe('rejoining')
    expect(run([{ type: 'rejoin-failed', fault: 'server', final: false }], s).connection).toBe('rejoining')
    expect(run([{ type: 'entered' }], s).connection).toBe('live')
    const lost = run([{ type: 'rejoin-failed', fault: 'server', final: true }], s)
    expect(lost).toMatchObject({ step: 'over', over: 'lost' })
    expect(canRetry(lost)).toBe(true)
    expect(leaveReasonOf(lost)).toBe('failed')
  })
  it('ends when the call ended while we were out', () => {
    const s = run([...inRoom, { type: 'dropped', drop: 'lost' }, { type: 'rejoin-failed', fault: 'over', final: true }])
    expect(s).toMatchObject({ step: 'over', over: 'ended' })
    expect(leaveReasonOf(s)).toBe('ended')
  })
  it.each(['replaced', 'removed', 'shutdown'] as const)('is %s for good', (drop) => {
    const s = run([...inRoom, { type: 'dropped', drop }])
    expect(s).toMatchObject({ step: 'over', over: drop })
    expect(run([{ type: 'entered' }, { type: 'reconnected' }, { type: 'join' }], s)).toBe(s)
  })
  it('does not mind its own leaving', () => expect(run([...inRoom, { type: 'dropped', drop: 'left' }]).step).toBe('room'))
  it('can go on here when it went on elsewhere', () => {
    const s = run([...inRoom, { type: 'dropped', drop: 'replaced' }])
    expect(canRetry(s)).toBe(true)
    expect(run([{ type: 'retry' }], s).step).toBe('connecting')
  })
})

describe('the session', () => {
  it.each([
    ['hung_up', 'ended'],
    ['declined', 'declined'],
    ['missed', 'missed'],
    ['cancelled', 'cancelled'],
    ['forced', 'forced'],
    ['failed', 'failed'],
    ['shutdown', 'shutdown'],
    [undefined, 'ended'],
  ] as const)('ends the call wherever the person is: %s', (reason, over) => {
    for (const way of [[], [seen], [known], inRoom]) {
      expect(run([...way, { type: 'session', session: session('ended', reason) }])).toMatchObject({ step: 'over', over })
    }
  })
  it('gives the better reason after the room was closed', () => {
    const closed = run([...inRoom, { type: 'dropped', drop: 'ended' }])
    expect(closed.over).toBe('ended')
    expect(run([{ type: 'session', session: session('ended', 'forced') }], closed).over).toBe('forced')
    const removed = run([...inRoom, { type: 'dropped', drop: 'removed' }])
    expect(run([{ type: 'session', session: session('ended', 'hung_up') }], removed).over).toBe('removed')
  })
  it('cannot be joined again once it has ended', () => {
    const s = run([...inRoom, { type: 'session', session: session('ended', 'hung_up') }])
    expect(canRetry(s)).toBe(false)
  })
  it('is over from the start when it already was', () => expect(initial(session('ended', 'missed'), true)).toMatchObject({ step: 'over', over: 'missed' }))
  it('goes on otherwise', () => expect(run([...inRoom, { type: 'session', session: session('live') }]).step).toBe('room'))
})

it('says why the person is out', () => {
  expect(leaveReasonOf(run([seen]))).toBe('refused')
  expect(leaveReasonOf(run([known]))).toBe('refused')
  expect(leaveReasonOf(run(inRoom))).toBe('left')
  expect(leaveReasonOf(run([{ type: 'notice-failed' }]))).toBe('failed')
  expect(leaveReasonOf(run([...inRoom, { type: 'dropped', drop: 'removed' }]))).toBe('removed')
  expect(leaveReasonOf(run([...inRoom, { type: 'dropped', drop: 'replaced' }]))).toBe('replaced')
  expect(leaveReasonOf(run([...inRoom, { type: 'dropped', drop: 'shutdown' }]))).toBe('ended')
})

it('knows whether there is a network', () => {
  const s = run([...inRoom, { type: 'online', online: false }])
  expect(s).toMatchObject({ online: false, step: 'room' })
})

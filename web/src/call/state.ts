// Where the person is in the call, and why. A reducer: every change is an event, and every combination can be tried
// without a browser.
import type { JoinFault, Drop } from './problems'
import type { CallSession, CallStep, LeaveReason, Notice } from './types'

/** Why the call is over for this person. */
export type Over =
  | 'ended'
  | 'declined'
  | 'missed'
  | 'cancelled'
  | 'forced'
  | 'failed'
  | 'shutdown'
  | 'removed'
  | 'replaced'
  | 'taken'
  | 'lost'

/** `rejoining`: the room was lost, and we are on the way in again with a fresh grant. */
export type Connection = 'none' | 'connecting' | 'live' | 'reconnecting' | 'rejoining'

export interface State {
  step: CallStep
  connection: Connection
  online: boolean
  notice?: Notice
  session?: CallSession
  over?: Over
  /** Set with `step: problem`. */
  problem?: 'notice' | 'acknowledge' | JoinFault
  /** The notice had to be shown again because it changed while we were about to join. */
  noticeChanged: boolean
  /** We have been in the room: what is lost now is a call, not an attempt. */
  entered: boolean
}

export type Event =
  | { type: 'notice'; notice: Notice; skipPreview: boolean }
  | { type: 'notice-failed' }
  | { type: 'acknowledged'; skipPreview: boolean }
  | { type: 'acknowledge-failed' }
  | { type: 'join' }
  | { type: 'entered' }
  | { type: 'join-failed'; fault: JoinFault }
  | { type: 'reconnecting' }
  | { type: 'reconnected' }
  | { type: 'dropped'; drop: Drop }
  | { type: 'rejoin-failed'; fault: JoinFault; final: boolean }
  | { type: 'session'; session: CallSession }
  | { type: 'online'; online: boolean }
  | { type: 'retry' }

export function initial(session: CallSession | undefined, online: boolean): State {
  const state: State = { step: 'loading', connection: 'none', online, noticeChanged: false, entered: false }
  return session ? reduce(state, { type: 'session', session }) : state
}

export function reduce(s: State, e: Event): State {
  // What is over stays over: only the person's own wish to try again leads out of it.
  if (s.step === 'over' && e.type !== 'retry' && e.type !== 'session' && e.type !== 'online') return s
  switch (e.type) {
    case 'notice':
      return { ...s, notice: e.notice, problem: undefined, ...afterNotice(e.notice.acknowledged, e.skipPreview) }
    case 'notice-failed':
      return { ...s, step: 'problem', problem: 'notice' }
    case 'acknowledged':
      return { ...s, problem: undefined, noticeChanged: false, ...afterNotice(true, e.skipPreview || s.entered) }
    case 'acknowledge-failed':
      return { ...s, step: 'notice', problem: 'acknowledge' }
    case 'join':
      return { ...s, step: 'connecting', connection: 'connecting', problem: undefined }
    case 'entered':
      return { ...s, step: 'room', connection: 'live', problem: undefined, entered: true }
    case 'join-failed':
      return joinFailed(s, e.fault)
    case 'reconnecting':
      return s.step === 'room' && s.connection === 'live' ? { ...s, connection: 'reconnecting' } : s
    case 'reconnected':
      return s.step === 'room' && s.connection === 'reconnecting' ? { ...s, connection: 'live' } : s
    case 'dropped':
      return dropped(s, e.drop)
    case 'rejoin-failed':
      if (e.fault === 'over' || e.fault === 'taken' || e.fault === 'shutdown' || e.fault === 'unacknowledged') return joinFailed(s, e.fault)
      return e.final ? over(s, 'lost') : s
    case 'session':
      return withSession(s, e.session)
    case 'online':
      return { ...s, online: e.online }
    case 'retry':
      return retry(s)
  }
}

function afterNotice(acknowledged: boolean, straightIn: boolean): Pick<State, 'step' | 'connection'> {
  if (!acknowledged) return { step: 'notice', connection: 'none' }
  return straightIn ? { step: 'connecting', connection: 'connecting' } : { step: 'preview', connection: 'none' }
}

function joinFailed(s: State, fault: JoinFault): State {
  switch (fault) {
    case 'over':
      return over(s, overOf(s.session) ?? 'ended')
    case 'taken':
      return over(s, 'taken')
    case 'shutdown':
      return over(s, 'shutdown')
    case 'unacknowledged':
      // The version changed between reading and joining: the new text has to be read first.
      return { ...s, step: 'loading', connection: 'none', notice: undefined, noticeChanged: true, problem: undefined }
    default:
      return { ...s, step: 'problem', connection: 'none', problem: fault }
  }
}

function dropped(s: State, drop: Drop): State {
  switch (drop) {
    case 'left':
      return s
    case 'lost':
      return s.step === 'room' ? { ...s, connection: 'rejoining' } : s
    case 'ended':
      return over(s, overOf(s.session) ?? 'ended')
    default:
      return over(s, drop)
  }
}

function withSession(s: State, session: CallSession): State {
  const next = { ...s, session }
  const reason = overOf(session)
  if (!reason) return next
  // The server's reason is the better one: "the room was closed" becomes "the other side hung up".
  const keep = s.step === 'over' && s.over !== 'ended' && s.over !== 'lost'
  return keep ? next : over(next, reason)
}

function retry(s: State): State {
  if (s.problem === 'notice') return { ...s, step: 'loading', problem: undefined }
  return { ...s, step: 'connecting', connection: 'connecting', problem: undefined, over: undefined }
}

function over(s: State, reason: Over): State {
  return { ...s, step: 'over', connection: 'none', over: reason, problem: undefined }
}

function overOf(session: CallSession | undefined): Over | undefined {
  if (session?.state !== 'ended') return undefined
  const reason = session.end_reason
  return reason === undefined || reason === 'hung_up' ? 'ended' : reason
}

/**
 * Whether devices and room may be open in a step. Before a notice that holds now was acknowledged none is, also when it
 * changed while they were open (promise G16); after the end none is.
 */
export function mayBeOpen(step: CallStep): boolean {
  return step === 'preview' || step === 'connecting' || step === 'room'
}

/** Whether "Try again" makes sense where the person now is. */
export function canRetry(s: State): boolean {
  if (s.step === 'problem') return s.problem !== 'unsupported' && s.problem !== 'off'
  return s.step === 'over' && s.session?.state !== 'ended' && (s.over === 'lost' || s.over === 'replaced')
}

/** What the one who mounted the call is told when the person closes the last view. */
export function leaveReasonOf(s: State): LeaveReason {
  if (s.step === 'notice' || s.step === 'preview' || s.step === 'loading') return 'refused'
  if (s.step === 'problem') return 'failed'
  if (s.step !== 'over') return 'left'
  switch (s.over) {
    case 'removed':
    case 'replaced':
      return s.over
    case 'lost':
      return 'failed'
    default:
      return 'ended'
  }
}

// What the call needs of whoever mounts it, and what it gives back. Types only: importing them loads nothing.

/** The notice about camera and microphone, as the server words it in the reader's language. */
export interface Notice {
  version: string
  title: string
  paragraphs: string[]
  /** This person has acknowledged this version before: the notice is not shown again. */
  acknowledged: boolean
}

/** What the server gives a participant to enter the room with. */
export interface JoinGrant {
  /** Where the media server listens, absolute or relative to the page: `/rtc`. */
  url: string
  token: string
  /** Our own random id in the room. */
  identity: string
}

/** Why the server says that a call is over. */
export type EndReason = 'hung_up' | 'declined' | 'missed' | 'cancelled' | 'forced' | 'failed' | 'shutdown'

/** A call as the API describes it; the call reads only what stands here. */
export interface CallSession {
  id: string
  state: 'ringing' | 'live' | 'ended'
  media: 'video' | 'audio'
  started_by: 'visitor' | 'agent'
  end_reason?: EndReason
  /** When an unanswered call gives up, RFC 3339. */
  ring_until?: string
}

/**
 * Why the person is out of the call, told when they left or closed the last view:
 * - `left`: they hung up (the caller of mountCall tells the server: leave or end);
 * - `refused`: they did not accept the notice, or closed the preview; no device was opened, or it is closed again;
 * - `ended`: the call is over, and they have read so;
 * - `removed`: somebody removed them;
 * - `replaced`: they went on in another window;
 * - `failed`: there was no way in, or the connection was lost for good.
 */
export type LeaveReason = 'left' | 'refused' | 'ended' | 'removed' | 'replaced' | 'failed'

/** Where the person is. `over` stays until they close it. */
export type CallStep = 'loading' | 'notice' | 'preview' | 'connecting' | 'room' | 'over' | 'problem'

export interface CallOptions {
  /** The language of the texts; unknown ones become English. */
  lang: string
  /** What was asked for: with `audio` the camera starts off and is not asked for. */
  media: 'video' | 'audio'
  /** The name that the person's own picture carries; "You" when empty. */
  selfName: string
  /** Who an identity of the room is. The room itself knows no names. Empty: not known (yet). */
  nameOf(identity: string): string
  /** The notice, fetched before any device is touched (promise G16). */
  notice(): Promise<Notice>
  /** Stores on the server that the notice was read and accepted; the devices are opened after it resolves. */
  acknowledge(version: string): Promise<void>
  /**
   * A fresh grant: for the first entry, and again each time the room was lost while the call goes on. Reject with an
   * ApiError: its `code` decides what is shown (`call_not_live`, `notice_unacknowledged`, `call_taken`, ...).
   */
  join(): Promise<JoinGrant>
  /** The person is out; called once. Remove the call from the page with `destroy`. */
  onLeave(reason: LeaveReason): void
  /** Each change of step, and once at the start. The devices are closed in `over`. */
  onStep?(step: CallStep): void
  /** Opens the call as a page of its own, for host pages that forbid camera or microphone to their frames. */
  onOpenTop?(): void
  /** Go straight in: the person was in this call a moment ago (a reload), or chose so. The notice is shown all the same. */
  skipPreview?: boolean
  /** The page where camera, sound and network can be tried. */
  checkUrl?: string
  /** Who is being called, for "Calling Maria"; without it the text names nobody. */
  peerName?: string
  /** The call as it is now. */
  session?: CallSession
}

export interface CallHandle {
  /** Hangs up: closes devices and room, then `onLeave('left')`. */
  leave(): Promise<void>
  /** The session has changed: answered, ended. Also when only names have changed. */
  update(session: CallSession): void
  /** Takes everything away at once, without calling anybody back. */
  destroy(): void
}

/** The card that says "Maria is calling" or "Calling Maria". Opens no device and loads no media library. */
export interface RingOptions {
  lang: string
  direction: 'incoming' | 'outgoing'
  media: 'video' | 'audio'
  /** Who calls, or is called; empty: not known. */
  name: string
  /** When the ringing stops, RFC 3339; shown as a thin line that runs out. */
  until?: string
  /** Ring aloud, softly, where the browser lets the page. */
  sound?: boolean
  onAccept?(): void | Promise<void>
  onDecline?(): void | Promise<void>
  /** Outgoing: the caller gives up. */
  onCancel?(): void | Promise<void>
  /** Takes the keyboard to the card when it appears. Incoming calls should not, while somebody is writing. */
  focus?: boolean
}

export interface RingHandle {
  update(change: Partial<Pick<RingOptions, 'name' | 'until'>>): void
  /** Says in words what became of the call ("Maria did not answer") and offers to close; `onClose` then. */
  over(reason: EndReason | 'taken', onClose: () => void): void
  destroy(): void
}

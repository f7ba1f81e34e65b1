// What went wrong, found from what browsers and servers throw. Pure, so that each case can be tried. The words for each
// stand in words.ts.

export type Device = 'camera' | 'microphone' | 'both' | 'screen'

/**
 * Why a device did not open:
 * - `denied` by the person, now or earlier; `dismissed`: asked, and not answered;
 * - `system`: the operating system's privacy settings; `page`: the page around the frame;
 * - `busy`: another program has it; `none`: there is none; `gone`: it was unplugged while in use;
 * - `insecure`: the page is not on HTTPS; `unsupported`: the browser cannot do it; `failed`: it did not start.
 */
export type DeviceFault =
  'denied' | 'dismissed' | 'system' | 'page' | 'busy' | 'none' | 'gone' | 'insecure' | 'unsupported' | 'failed'

export interface DeviceProblem {
  fault: DeviceFault
  device: Device
}

/** What is known about the page when a device does not open. */
export interface Surroundings {
  secure: boolean
  /** `navigator.mediaDevices` has the method that was needed. */
  able: boolean
  /** What the policy of the pages around us says; undefined where the browser does not tell. */
  allowed?: boolean
  /** What the Permissions API says about the device. */
  permission?: PermissionState
}

/** Finds out why a device did not open, from what was thrown and where we are. */
export function deviceFault(error: unknown, around: Surroundings): DeviceFault {
  if (!around.secure) return 'insecure'
  if (!around.able) return 'unsupported'
  const { name = '', message = '' } = (error ?? {}) as { name?: string; message?: string }
  switch (name) {
    case 'NotAllowedError':
    case 'PermissionDeniedError':
      if (around.allowed === false) return 'page'
      if (/system/i.test(message)) return 'system'
      if (/dismissed/i.test(message) || around.permission === 'prompt') return 'dismissed'
      return 'denied'
    case 'SecurityError':
      return around.allowed === false ? 'page' : 'denied'
    case 'NotFoundError':
    case 'DevicesNotFoundError':
    case 'OverconstrainedError':
    case 'ConstraintNotSatisfiedError':
      return 'none'
    case 'NotReadableError':
    case 'TrackStartError':
      return 'busy'
    case 'NotSupportedError':
      return 'unsupported'
    default:
      return 'failed'
  }
}

/**
 * Why there is no way into the room:
 * - `offline`: the machine has no network; `server`: the server does not answer;
 * - `path`: the server answers, and sound and picture find no way to it (no UDP, TCP or TURN);
 * - `over`: the call has ended; `taken`: somebody else answered; `unacknowledged`: the notice has changed;
 * - `token`: the grant was not taken; `full`: too many; `off`: this server holds no calls at all;
 * - `unsupported`: the browser has no WebRTC; `other`.
 */
export type JoinFault =
  'offline' | 'server' | 'path' | 'over' | 'taken' | 'unacknowledged' | 'token' | 'full' | 'off' | 'shutdown' | 'unsupported' | 'other'

export interface JoinAttempt {
  online: boolean
  /** The signalling connection stood before it failed: what is missing is the way for the media. */
  signalled: boolean
  /** The reason that the server gave with its refusal, by the media protocol's name. */
  reason?: string
}

/** Finds out why joining failed, from an ApiError of `join()` or a ConnectionError of the media library. */
export function joinFault(error: unknown, attempt: JoinAttempt): JoinFault {
  const e = (error ?? {}) as { name?: string; code?: unknown; status?: number; reasonName?: string; message?: string }
  if (typeof e.code === 'string') {
    const byCode: Record<string, JoinFault> = {
      call_not_live: 'over',
      call_unknown: 'over',
      call_ended: 'over',
      call_taken: 'taken',
      call_full: 'full',
      calls_off: 'off',
      notice_unacknowledged: 'unacknowledged',
    }
    const known = byCode[e.code]
    if (known) return known
    if (e.status === 404 || e.status === 410) return 'over'
    if (e.status === 0) return attempt.online ? 'server' : 'offline'
    return e.status !== undefined && e.status >= 500 ? 'server' : 'other'
  }
  const drop = attempt.reason === undefined ? 'lost' : dropOf(attempt.reason)
  if (drop === 'shutdown') return 'shutdown'
  if (drop === 'ended' || drop === 'removed') return 'over'
  if (!attempt.online) return 'offline'
  switch (e.reasonName) {
    case 'NotAllowed':
      return e.status === 404 ? 'over' : 'token'
    case 'LeaveRequest':
      return attempt.signalled ? 'path' : 'server'
    case 'ServerUnreachable':
    case 'ServiceNotFound':
    case 'WebSocket':
      return 'server'
    case 'InternalError':
    case 'Timeout':
      return attempt.signalled ? 'path' : 'server'
  }
  if (e.name === 'DeviceUnsupportedError') return 'unsupported'
  if (e.name === 'NegotiationError') return attempt.signalled ? 'path' : 'server'
  return 'other'
}

/** Whether trying again by itself may help: the network may come back, a grant may have been too old. */
export function worthRetrying(fault: JoinFault): boolean {
  return fault === 'offline' || fault === 'server' || fault === 'path' || fault === 'token'
}

/** How a room was left: by ourselves, for good, or by a loss that may be mended. */
export type Drop = 'left' | 'replaced' | 'removed' | 'ended' | 'shutdown' | 'lost'

/** Reads the name of the media protocol's reason for a disconnect; none at all is a lost connection. */
export function dropOf(reason: string | undefined): Drop {
  switch (reason) {
    case 'CLIENT_INITIATED':
      return 'left'
    case 'DUPLICATE_IDENTITY':
      return 'replaced'
    case 'PARTICIPANT_REMOVED':
      return 'removed'
    case 'SERVER_SHUTDOWN':
      return 'shutdown'
    case 'ROOM_DELETED':
    case 'ROOM_CLOSED':
      return 'ended'
    default:
      return 'lost'
  }
}

/** Why screens cannot be shared here; undefined: they can. */
export type ShareObstacle = 'phone' | 'browser' | 'page' | 'insecure'

export function shareObstacle(o: { secure: boolean; able: boolean; allowed?: boolean; phone: boolean }): ShareObstacle | undefined {
  if (!o.secure) return 'insecure'
  if (!o.able) return o.phone ? 'phone' : 'browser'
  // Some phones' browsers have the method and refuse every call of it.
  if (o.phone) return 'phone'
  return o.allowed === false ? 'page' : undefined
}

/**
 * The call: from the notice over the preview to the room, as plain elements that any page can hold. The widget's frame
 * and the console both mount it. Import it lazily, `await import('../call')`: this chunk and the much larger media
 * library behind it load when a call starts, never before. `import type` costs nothing.
 *
 * The element it is mounted in gives the size; the call fills it and follows it. Only tokens.css is needed around it.
 */
export { mountCall } from './call'
export { mountRing } from './ring'
export type {
  CallHandle,
  CallOptions,
  CallSession,
  CallStep,
  EndReason,
  JoinGrant,
  LeaveReason,
  Notice,
  RingHandle,
  RingOptions,
} from './types'

/**
 * What the loader, on the host page, and the frame, on Parley's origin, say to each other with postMessage. Both sides
 * check the sender's window and its exact origin, and neither ever posts to "*". The frame learns the host page's
 * address without query and fragment, and nothing else of the page.
 */

/** The page that the visitor is looking at: address without query and fragment, and title. */
export interface Page {
  url: string
  title: string
}

/** Loader to frame: the card was shown (move the focus in when the visitor asked for it) or hidden. */
export type ToFrame =
  | { parley: 'shown'; page: Page; focus: boolean }
  | { parley: 'hidden' }

/** `incoming` waits for an answer; `running` has camera or microphone of this frame. */
export type FrameCall = 'none' | 'incoming' | 'running'

/** How large the card is: as always, or with room for a picture beside the talk. The loader decides what that means. */
export type FrameSize = 'normal' | 'large'

/**
 * Frame to loader: it has drawn itself; the number of messages nobody has looked at, and whether there is a
 * conversation at all; the visitor wants the card closed; a call comes in or runs in the frame, which the launcher says
 * while the card is closed; the frame would like another size, as long as a call runs.
 */
export type ToHost =
  | { parley: 'ready' }
  | { parley: 'state'; unread: number; conversation: boolean }
  | { parley: 'call'; call: FrameCall }
  | { parley: 'size'; size: FrameSize }
  | { parley: 'close' }

/**
 * What the frame asks of the host page for its calls. Each stays with our origin alone; where the host page's own
 * Permissions-Policy forbids one, the frame opens the call in a window of its own.
 */
export const frameAllows = 'camera; microphone; display-capture; fullscreen; autoplay; picture-in-picture; screen-wake-lock; clipboard-write'

/** The frame's start values travel in the fragment of its address, which no server ever sees. */
export interface FrameStart {
  /** Origin of the host page; `null` when the frame was opened as a page of its own. */
  host: string | null
  /** Language that the host page is written in. */
  lang: string | null
  /** Opened by the frame to hold its call in a window of its own (widget/handover.ts). */
  handover: boolean
}

/** Writes the frame's address. */
export function frameAddress(base: string, site: string, host: string, lang: string): string {
  return `${base}w/${encodeURIComponent(site)}#host=${encodeURIComponent(host)}&lang=${lang}`
}

/** Reads the fragment of the frame's own address. */
export function readStart(hash: string): FrameStart {
  const values = new URLSearchParams(hash.replace(/^#/, ''))
  return { host: values.get('host'), lang: values.get('lang'), handover: values.get('call') === 'handover' }
}

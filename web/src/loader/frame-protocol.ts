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

/**
 * Frame to loader: it has drawn itself; the number of messages nobody has looked at, and whether there is a
 * conversation at all; the visitor wants the card closed.
 */
export type ToHost =
  | { parley: 'ready' }
  | { parley: 'state'; unread: number; conversation: boolean }
  | { parley: 'close' }

/** The frame's start values travel in the fragment of its address, which no server ever sees. */
export interface FrameStart {
  /** Origin of the host page; `null` when the frame was opened as a page of its own. */
  host: string | null
  /** Language that the host page is written in. */
  lang: string | null
}

/** Writes the frame's address. */
export function frameAddress(base: string, site: string, host: string, lang: string): string {
  return `${base}w/${encodeURIComponent(site)}#host=${encodeURIComponent(host)}&lang=${lang}`
}

/** Reads the fragment of the frame's own address. */
export function readStart(hash: string): FrameStart {
  const values = new URLSearchParams(hash.replace(/^#/, ''))
  return { host: values.get('host'), lang: values.get('lang') }
}

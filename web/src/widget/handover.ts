// A call in a window of its own, for host pages that forbid camera or microphone to their frames.
//
// The window is Parley's own page, /w/{site}#call=handover. It has no token: a frame's storage is kept apart from a
// page's, and an address would carry one into the history. So it asks the frame that opened it, by postMessage to our
// own origin only, and the frame answers nobody but the very window that it opened, on our own origin. The window keeps
// the token in memory. Nothing of this passes through the host page, and another page that opens such an address gets
// no answer and is told nothing.
import type { CallMedia } from '../lib/protocol'

/** What the window needs to go on with the call. */
export interface HandedOver {
  token: string
  /** Not there: the call has not rung yet. */
  call?: string
  media: CallMedia
}

/** Writes the address of the window that a call is handed to: it names nobody, and no token. */
export function handoverAddress(page: string, lang: string): string {
  return `${page.replace(/[?#].*$/, '')}#call=handover&lang=${lang}`
}

type Ask = { parley: 'handover-ask' }
type Answer = { parley: 'handover' } & HandedOver

/** How often the frame looks whether its window is still there, in milliseconds. */
const lookEvery = 1_000
/** How long the window waits for the frame, in milliseconds. */
const patience = 8_000

/** The frame's side. */
export class Handover {
  readonly #win: Window
  #window: Window | null = null
  #looking: ReturnType<typeof setInterval> | undefined

  constructor(
    win: Window,
    private readonly give: () => HandedOver | undefined,
    private readonly closed: () => void,
  ) {
    this.#win = win
    win.addEventListener('message', (e: MessageEvent) => {
      if (!this.#window || e.source !== this.#window || e.origin !== win.location.origin) return
      if ((e.data as Ask | null)?.parley !== 'handover-ask') return
      const given = this.give()
      if (!given) return
      const answer: Answer = { parley: 'handover', ...given }
      this.#window.postMessage(answer, win.location.origin)
    })
  }

  /** Opens the window; false when the browser does not let us. It has to be called from a press. */
  open(address: string): boolean {
    this.stop()
    this.#window = this.#win.open(address, '_blank')
    if (!this.#window) return false
    this.#looking = setInterval(() => {
      if (!this.#window?.closed) return
      this.stop()
      this.closed()
    }, lookEvery)
    return true
  }

  focus(): void {
    this.#window?.focus()
  }

  stop(): void {
    clearInterval(this.#looking)
    this.#window = null
  }
}

/** The window's side: asks its opener; undefined when nobody who may answer does. */
export function takeOver(win: Window): Promise<HandedOver | undefined> {
  const opener = win.opener as Window | null
  if (!opener || win.parent !== win) return Promise.resolve(undefined)
  return new Promise((resolve) => {
    const end = (got?: HandedOver) => {
      clearTimeout(timer)
      win.removeEventListener('message', hear)
      resolve(got)
    }
    const hear = (e: MessageEvent) => {
      if (e.source === opener && e.origin === win.location.origin) {
        const got = readAnswer(e.data)
        if (got) end(got)
      }
    }
    const timer = setTimeout(end, patience)
    win.addEventListener('message', hear)
    const ask: Ask = { parley: 'handover-ask' }
    // Another origin than ours does not even learn that we asked.
    opener.postMessage(ask, win.location.origin)
  })
}

function readAnswer(data: unknown): HandedOver | undefined {
  const a = (data ?? {}) as Partial<Answer>
  if (a.parley !== 'handover' || typeof a.token !== 'string' || a.token === '') return undefined
  return { token: a.token, media: a.media === 'audio' ? 'audio' : 'video', ...(typeof a.call === 'string' && { call: a.call }) }
}

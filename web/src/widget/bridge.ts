// The frame's end of the talk with the host page. It listens only to its parent window, only from the origin that the
// frame's address names, and answers only to that origin. Opened as a page of its own, it has nobody to talk to.
import type { FrameCall, FrameSize, FrameStart, Page, ToFrame, ToHost } from '../loader/frame-protocol'

export interface BridgeEvents {
  /** The card is on the screen; `focus`: the visitor asked for it. */
  shown(page: Page | undefined, focus: boolean): void
  hidden(): void
}

export class Bridge {
  readonly #host: string | undefined
  #told = ''
  #call: FrameCall = 'none'
  #size: FrameSize = 'normal'

  constructor(
    private readonly win: Window,
    start: FrameStart,
    on: BridgeEvents,
  ) {
    this.#host = hostOrigin(win, start.host)
    if (!this.#host) return
    win.addEventListener('message', (e: MessageEvent) => {
      if (e.source !== win.parent || e.origin !== this.#host) return
      const m = e.data as ToFrame | null
      if (m?.parley === 'shown') on.shown(readPage(m.page, e.origin), m.focus === true)
      else if (m?.parley === 'hidden') on.hidden()
    })
  }

  /** Whether the frame sits in a host page, which can close it. */
  get embedded(): boolean {
    return this.#host !== undefined
  }

  ready(): void {
    this.#tell({ parley: 'ready' })
  }

  close(): void {
    this.#tell({ parley: 'close' })
  }

  /** Tells the launcher what to show; the same thing twice is told once. */
  state(unread: number, conversation: boolean): void {
    const now = `${unread} ${conversation}`
    if (now === this.#told) return
    this.#told = now
    this.#tell({ parley: 'state', unread, conversation })
  }

  /** Tells the launcher of a call, for as long as the card is closed. */
  call(now: FrameCall): void {
    if (now === this.#call) return
    this.#call = now
    this.#tell({ parley: 'call', call: now })
  }

  /** Asks for room, or gives it back. */
  size(size: FrameSize): void {
    if (size === this.#size) return
    this.#size = size
    this.#tell({ parley: 'size', size })
  }

  #tell(m: ToHost): void {
    if (this.#host) this.win.parent.postMessage(m, this.#host)
  }
}

function hostOrigin(win: Window, named: string | null): string | undefined {
  if (win.parent === win || !named) return undefined
  let origin: string
  try {
    origin = new URL(named).origin
  } catch {
    return undefined
  }
  // Where the browser names the parent, it must be the one that the address names.
  const parent = win.location.ancestorOrigins?.[0]
  return origin === named && origin !== 'null' && (parent === undefined || parent === origin) ? origin : undefined
}

/** A page of the host's own origin, cut to what we keep of it. */
function readPage(page: unknown, origin: string): Page | undefined {
  const { url, title } = (page ?? {}) as Partial<Page>
  if (typeof url !== 'string' || typeof title !== 'string') return undefined
  try {
    const u = new URL(url)
    return u.origin === origin ? { url: u.origin + u.pathname, title: title.slice(0, 200) } : undefined
  } catch {
    return undefined
  }
}

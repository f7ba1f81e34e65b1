/**
 * The script that a host page includes:
 *
 *     <script src="https://parley.example/widget.js" data-site="SITE" async></script>
 *
 * It asks Parley for the site, draws a launcher, and opens Parley's frame when the visitor wants to talk. Until then it
 * sets nothing, stores nothing and knows nobody. It never reads the page beyond its address (without query and
 * fragment), its title and its language.
 */
import { frameAddress, frameAllows, type Page, type ToFrame, type ToHost } from './frame-protocol'
import { languages, pickLanguage, words } from './words'
import { draw, type View } from './view'

interface Site {
  id: string
  name: string
  accent?: string | null
}

/** What a host page may call. */
export interface ParleyApi {
  /** Opens the card, as if the visitor had pressed the launcher. */
  open(): void
  close(): void
}

declare global {
  interface Window {
    Parley?: ParleyApi
  }
}

/** Session storage of the host page, written when the visitor opens the widget: '1' it is open, '0' it was. */
const openKey = 'parley.open'
/** How long the frame may take before the card says that it could not be loaded, in milliseconds. */
const patience = 15_000

function remembered(): string | null {
  try {
    return sessionStorage.getItem(openKey)
  } catch {
    return null
  }
}

function remember(value: string | null): void {
  try {
    if (value === null) sessionStorage.removeItem(openKey)
    else sessionStorage.setItem(openKey, value)
  } catch {
    // Storage is blocked: the next page starts with the card closed.
  }
}

/** The launcher's logic, once the site is known. */
class Launcher implements ParleyApi {
  private readonly view: View
  private readonly origin: string
  private frame: HTMLIFrameElement | undefined
  private ready = false
  private opened = false
  private focus = false
  private conversation = false
  private timer: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly base: string,
    private readonly site: Site,
    private readonly lang: string,
  ) {
    this.origin = new URL(base).origin
    this.view = draw(words(lang), site.name, site.accent ?? undefined, {
      toggle: () => (this.opened ? this.close() : this.open()),
      close: () => this.close(),
      retry: () => this.load(),
    })
    addEventListener('message', (e) => this.hear(e))
    document.addEventListener('keydown', (e) => {
      if (e.key === 'Escape' && this.focused()) this.close()
    })
    document.addEventListener('focusin', (e) => {
      // Full screen covers the page, so the keyboard must not wander behind it.
      if (this.opened && this.full() && e.target !== this.view.host) this.frame?.focus()
    })
    window.visualViewport?.addEventListener('resize', () => this.fit())
    window.visualViewport?.addEventListener('scroll', () => this.fit())

    const before = remembered()
    if (before === '1') this.open(false)
    else if (before === '0') this.load()
  }

  open(focus = true): void {
    if (!this.opened) {
      this.opened = true
      this.focus = focus
      remember('1')
      this.fit()
      this.view.show(true)
      if (!this.frame) this.load()
      else this.tellShown()
    }
    if (focus) this.frame?.focus()
  }

  close(): void {
    if (!this.opened) return
    const back = this.focused()
    this.opened = false
    remember(this.conversation ? '0' : null)
    this.view.show(false)
    this.tell({ parley: 'hidden' })
    if (back) this.view.launcher.focus()
  }

  private load(): void {
    this.frame?.remove()
    this.view.failed(false)
    this.view.call('none')
    this.view.large(false)
    this.setReady(false)
    const frame = document.createElement('iframe')
    frame.title = words(this.lang).title.replace('{name}', this.site.name)
    frame.allow = frameAllows
    frame.src = frameAddress(this.base, this.site.id, location.origin, this.lang)
    this.frame = frame
    this.view.card.prepend(frame)
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.view.failed(!this.ready), patience)
  }

  private hear(e: MessageEvent): void {
    if (!this.frame || e.source !== this.frame.contentWindow || e.origin !== this.origin) return
    const m = e.data as ToHost | null
    if (m?.parley === 'ready') {
      this.setReady(true)
      clearTimeout(this.timer)
      this.view.failed(false)
      if (this.opened) this.tellShown()
    } else if (m?.parley === 'state') {
      this.conversation = m.conversation
      if (!this.opened) remember(m.conversation ? '0' : null)
      this.view.unread(m.unread)
    } else if (m?.parley === 'call') {
      this.view.call(m.call)
    } else if (m?.parley === 'size') {
      this.view.large(m.size === 'large')
    } else if (m?.parley === 'close') {
      this.close()
    }
  }

  private setReady(on: boolean): void {
    this.ready = on
    this.view.ready(on)
  }

  private tell(m: ToFrame): void {
    if (this.ready) this.frame?.contentWindow?.postMessage(m, this.origin)
  }

  private tellShown(): void {
    const page: Page = { url: location.origin + location.pathname, title: document.title }
    this.tell({ parley: 'shown', page, focus: this.focus })
    if (this.focus) this.frame?.focus()
    this.focus = true
  }

  /** Whether the keyboard is in our shadow root, the frame included. */
  private focused(): boolean {
    return document.activeElement === this.view.host
  }

  private full(): boolean {
    return matchMedia('(max-width: 480px), (max-height: 440px)').matches
  }

  /** Keeps the full-screen card above a phone's keyboard, which only the visual viewport tells about. */
  private fit(): void {
    const v = window.visualViewport
    if (!v || !this.opened) return
    const zoomed = v.scale > 1.01
    const set = (name: string, px: number) => this.view.card.style.setProperty(name, zoomed ? '' : `${px}px`)
    set('--top', v.offsetTop)
    set('--high', v.height)
  }
}

async function start(): Promise<void> {
  if (window.Parley) return
  const script = document.currentScript ?? document.querySelector('script[data-site][src*="widget.js"]')
  if (!(script instanceof HTMLScriptElement)) return
  const id = script.dataset.site ?? ''
  const base = new URL('.', script.src).href

  // The page may call before the site is known; the last word counts.
  const early: { wanted: boolean; launcher?: Launcher } = { wanted: false }
  window.Parley = {
    open: () => (early.launcher ? early.launcher.open() : void (early.wanted = true)),
    close: () => (early.launcher ? early.launcher.close() : void (early.wanted = false)),
  }

  const warn = (why: string) => console.warn(`Parley: the chat is not shown. ${why}`)
  let site: Site
  try {
    const answer = await fetch(`${base}api/v1/widget/sites/${encodeURIComponent(id)}`, { credentials: 'omit' })
    if (answer.status === 404) return warn(`There is no site "${id}". Check data-site in the page's script tag.`)
    if (answer.status === 403) return warn(`The site "${id}" does not allow ${location.origin}. Add this origin to the site in Parley's console.`)
    if (!answer.ok) return warn(`${base} answered ${answer.status}.`)
    site = (await answer.json()) as Site
  } catch {
    // A refusal without leave to read it looks like a lost line to a page.
    return warn(`${base} gave no answer that this page may read. Either it cannot be reached, or the site "${id}" does not allow ${location.origin}: add this origin to the site in Parley's console.`)
  }
  const lang = pickLanguage([document.documentElement.lang, ...navigator.languages], languages)
  early.launcher = new Launcher(base, site, lang)
  if (early.wanted) early.launcher.open()
}

void start()

// The frame as the visitor sees it: draws the session after each change and passes on what the visitor does.
import type { Page } from '../loader/frame-protocol'
import type { CallMedia, Message, WidgetSite } from '../lib/protocol'
import { applyAccent } from './accent'
import type { Bridge } from './bridge'
import { Chunk } from './chunk'
import { Composer } from './composer'
import { h, icon, setText } from './dom'
import { MessageList } from './list'
import { fill, type Lang, type Words } from './messages'
import { askToForget, detailsFields, editDetails, Menu } from './panels'
import { buildRows, firstUnread } from './rows'
import type { Session } from './session'
import type { Stage } from './stage'
import { clock } from './time'

export interface ViewOptions {
  root: HTMLElement
  lang: Lang
  words: Words
  session: Session
  bridge: Bridge
  /** The page where camera, sound and network can be tried. */
  checkUrl: string
  /** This page is the window that a call was handed to. */
  isWindow?: boolean
}

/** Where the card has no room for picture and talk side by side; stage.css says the same. */
const narrow = '(max-width: 639.98px)'

/** Whether calls can be held at all: not where the server has them switched off, nor in an old browser or on a page without HTTPS. */
function canCall(site: WidgetSite | undefined): boolean {
  if (site?.calls === false) return false
  return typeof RTCPeerConnection === 'function' && typeof navigator.mediaDevices?.getUserMedia === 'function'
}

/** How often a shown frame asks again whether somebody is there, in milliseconds. */
const siteEvery = 60_000

export class View {
  readonly #w: Words
  readonly #session: Session
  readonly #bridge: Bridge
  readonly #list: MessageList
  readonly #composer: Composer
  readonly #details: ReturnType<typeof detailsFields>
  readonly #who: HTMLDetailsElement
  readonly #menu: Menu
  readonly #call: Menu
  /** Shows and hides the talk during a call, where there is room for one of both only. */
  readonly #toggle: HTMLButtonElement
  readonly #toggleCount = h('span', { class: 'count-mark', hidden: true })
  readonly #stage = h('div', { class: 'stage', hidden: true })
  readonly #close: HTMLButtonElement

  readonly #title = h('h1', { tabIndex: -1 })
  readonly #status = h('p', { class: 'status' })
  readonly #initial = h('span', { class: 'initial', attrs: { 'aria-hidden': 'true' } })
  readonly #banner = h('p', { class: 'banner', attrs: { role: 'status' } })
  readonly #said = h('div', { class: 'hidden', attrs: { 'aria-live': 'polite' } })
  readonly #greeting = h('h2')
  readonly #greetingText = h('p')
  readonly #hello: HTMLElement
  readonly #helloSealed = h('span')
  readonly #notice = h('p', { class: 'note', hidden: true, attrs: { role: 'status' } })
  readonly #blocked = h('p', { class: 'note', hidden: true })
  readonly #callNote = h('p', { class: 'note', hidden: true, attrs: { role: 'status' } })
  readonly #foot: HTMLElement
  readonly #talk: HTMLElement
  readonly #loading = h('div', { class: 'skeleton', attrs: { 'aria-hidden': 'true' } }, h('i'), h('i'), h('i'))
  readonly #trouble: HTMLElement
  readonly #troubleTitle = h('h2')
  readonly #troubleText = h('p')
  readonly #again: HTMLButtonElement

  #shown: boolean
  #newFrom = 0
  #introduced = false
  #accented = false
  #wantsFocus = false
  #drawing = false
  #stageView: Stage | undefined
  readonly #stageCode: Chunk<typeof import('./stage')>
  /** The talk is shown beside a call that has taken its place. */
  #reading = false

  constructor(private readonly o: ViewOptions) {
    const { words: w, session, bridge } = o
    this.#w = w
    this.#session = session
    this.#bridge = bridge
    this.#shown = !bridge.embedded

    this.#list = new MessageList(w, clock(o.lang, w), {
      loadEarlier: () => session.sync.loadEarlier(),
      retry: (key) => {
        session.sync.retry(key)
        this.#composer.focus()
      },
      remove: (key) => this.#composer.restore(session.sync.discard(key) ?? ''),
      atEnd: () => this.draw(),
    })
    this.#composer = new Composer(w, { send: (text) => this.#send(text), typing: (on) => session.type(on) })
    this.#details = detailsFields(w)
    const summary = h('summary', { textContent: w.details_open })
    this.#who = h('details', { class: 'who' }, summary, h('p', { class: 'soft', textContent: w.details_hint }), this.#details.element)
    this.#menu = new Menu('menu', { label: w.menu, icon: 'more' }, [
      { text: w.menu_details, run: () => editDetails(o.root, w, session.details, (d) => session.saveDetails(d)) },
      { text: w.menu_forget, run: () => askToForget(o.root, w, this.#siteName(), () => session.forget()) },
    ])
    this.#call = new Menu('call-menu', { label: w.call, icon: 'phone' }, [
      { text: w.call_video, icon: 'video', run: () => this.#begin('video') },
      { text: w.call_audio, icon: 'phone', run: () => this.#begin('audio') },
    ])
    this.#toggle = h(
      'button',
      { class: 'icon-button call-toggle', type: 'button', hidden: true, onclick: () => this.#read(!this.#reading) },
      icon('talk'),
      this.#toggleCount,
    )
    this.#close = h(
      'button',
      { class: 'icon-button', type: 'button', title: w.close, attrs: { 'aria-label': w.close }, onclick: () => bridge.close() },
      icon('close'),
    )
    this.#hello = h(
      'section',
      { class: 'hello' },
      h('div', {}, this.#greeting, this.#greetingText),
      h('p', { class: 'sealed' }, icon('lock'), this.#helloSealed),
    )
    this.#again = h('button', { class: 'button', type: 'button', textContent: w.retry, onclick: () => void session.start() })
    this.#trouble = h('section', { class: 'trouble', attrs: { role: 'alert' } }, this.#troubleTitle, this.#troubleText, this.#again)
    this.#talk = h('div', { class: 'talk' }, this.#list.element, this.#list.jump)
    this.#foot = h('footer', {}, this.#notice, this.#callNote, this.#blocked, this.#who, this.#composer.element)
    this.#stageCode = new Chunk({
      load: () => import('./stage'),
      got: ({ Stage }) => this.#setStage(new Stage(this.#stageOptions())),
      failed: () => session.calling.unavailable(),
      again: () => this.changed(),
    })
    this.#place()
    this.#listen()
  }

  /** Draws on the next turn; many changes in one turn are drawn once. */
  changed(): void {
    if (this.#drawing) return
    this.#drawing = true
    queueMicrotask(() => {
      this.#drawing = false
      this.draw()
    })
  }

  /** Reads a new message to those who cannot see it. */
  say(message: Message): void {
    if (!this.#shown) return
    const name = message.author.name || this.#w.team
    this.#said.replaceChildren(h('p', { textContent: fill(this.#w.said, { name, text: message.body }) }))
  }

  /** The host page shows the card. */
  show(page: Page | undefined, focus: boolean): void {
    this.#shown = true
    this.#session.page = page
    void this.#session.refreshSite()
    this.#wantsFocus = focus
    this.draw()
  }

  hide(): void {
    this.#shown = false
    this.#newFrom = 0
    this.#session.type(false)
    this.draw()
  }

  draw(): void {
    const { phase, site } = this.#session
    if (site && !this.#accented) {
      this.#accented = true
      applyAccent(document.documentElement, site.accent)
    }
    const ready = phase === 'ready'
    this.#loading.hidden = phase !== 'loading'
    this.#trouble.hidden = phase !== 'failed' && phase !== 'unknown'
    this.#foot.hidden = !ready
    this.#menu.element.hidden = !ready || !this.#session.conversation
    this.#drawHead()
    this.#drawTrouble()
    this.#drawCall()
    if (ready) this.#drawTalk()
    else {
      this.#talk.hidden = true
      this.#hello.hidden = true
    }
    this.#drawBanner()
    this.#bridge.state(this.#session.unread, this.#session.conversation !== undefined)
    if (this.#wantsFocus && phase !== 'loading') this.#focus()
  }

  #place(): void {
    const tools = h('div', { class: 'tools' }, this.#call.element, this.#toggle, this.#menu.element)
    const head = h('header', {}, this.#initial, h('div', { class: 'names' }, this.#title, this.#status), tools)
    if (this.#bridge.embedded) tools.append(this.#close)
    const main = h('main', {}, this.#loading, this.#trouble, this.#stage, this.#hello, this.#talk, this.#foot)
    this.o.root.append(head, this.#banner, main, this.#said)
  }

  #listen(): void {
    document.addEventListener('keydown', (e) => {
      // During a call Escape belongs to what is open in it; the card has a button to be closed with.
      const taken = e.defaultPrevented || document.querySelector('dialog[open]') || (this.#session.calling.scene.kind === 'here' && !this.#over())
      if (e.key === 'Escape' && !taken) this.#bridge.close()
    })
    matchMedia(narrow).addEventListener('change', () => this.changed())
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState !== 'visible') return
      void this.#session.refreshSite()
      this.draw()
    })
    addEventListener('online', () => {
      this.#session.retryNow()
      this.#stageCode.hope()
      this.draw()
    })
    addEventListener('offline', () => this.draw())
    setInterval(() => {
      if (this.#looking()) void this.#session.refreshSite()
    }, siteEvery)
  }

  /** Whether the visitor can see the talk now. */
  #looking(): boolean {
    return this.#shown && document.visibilityState === 'visible' && !this.#covered()
  }

  /** Whether a call has taken the place of the talk. */
  #covered(): boolean {
    return this.#session.calling.scene.kind === 'here' && !this.#reading && !this.#over() && matchMedia(narrow).matches
  }

  /** Whether the call on this page only says how it ended: the talk has its place again. */
  #over(): boolean {
    return this.#stageView?.step === 'over'
  }

  #begin(media: CallMedia): void {
    const { calling } = this.#session
    calling.begin(media)
    if (calling.note === 'first') this.#composer.focus()
  }

  #read(on: boolean): void {
    this.#reading = on
    this.draw()
    if (!on) return
    this.#list.toEnd()
    if (!matchMedia('(pointer: coarse)').matches) this.#composer.focus()
  }

  #drawCall(): void {
    const { calling, phase, conversation, site } = this.#session
    const { scene } = calling
    const here = scene.kind === 'here'
    const over = this.#over()
    const root = this.o.root
    if (!here) this.#reading = false
    root.classList.toggle('calling', here)
    root.classList.toggle('reading', this.#reading || over)
    this.#call.element.hidden = phase !== 'ready' || scene.kind !== 'none' || !canCall(site) || this.o.isWindow === true
    this.#toggle.hidden = !here || over || !conversation
    this.#toggle.setAttribute('aria-pressed', String(this.#reading))
    const news = this.#reading ? 0 : this.#session.unread
    const label = news > 0 ? fill(this.#w.call_new_messages, { n: news }) : this.#w.call_messages
    this.#toggle.title = label
    this.#toggle.setAttribute('aria-label', label)
    this.#toggleCount.hidden = news === 0
    setText(this.#toggleCount, news > 99 ? '99+' : String(news))
    const { note } = calling
    this.#callNote.hidden = note === undefined
    setText(this.#callNote, note ? this.#w[`call_${note}`] : '')
    const wanted = scene.kind !== 'none' || this.o.isWindow === true
    if (wanted) this.#stageCode.want(('call' in scene && scene.call?.id) || scene.kind)
    else this.#stageCode.rest()
    this.#stageView?.draw()
    this.#bridge.call(here && !over ? 'running' : scene.kind === 'incoming' ? 'incoming' : 'none')
    this.#bridge.size(here && !over ? 'large' : 'normal')
  }

  #stageOptions(): ConstructorParameters<typeof Stage>[0] {
    const { lang, session, checkUrl, isWindow = false } = this.o
    return {
      element: this.#stage,
      lang,
      session,
      checkUrl,
      isWindow,
      siteName: () => this.#siteName(),
      framed: this.#bridge.embedded,
      changed: () => this.changed(),
    }
  }

  #setStage(stage: Stage): void {
    this.#stageView = stage
    this.#session.calling.available()
  }

  #focus(): void {
    this.#wantsFocus = false
    // A phone's keyboard covers half of the screen: there, reading comes first.
    if (this.#session.phase === 'ready' && !matchMedia('(pointer: coarse)').matches) this.#composer.focus()
    else this.#title.focus()
  }

  #siteName(): string {
    return this.#session.site?.name ?? this.#w.team
  }

  #send(text: string): boolean {
    const session = this.#session
    if (!session.conversation && !this.#who.hidden) {
      if (!this.#details.check()) {
        this.#who.open = true
        this.#details.check()
        return false
      }
      session.details = this.#details.read()
    }
    this.#newFrom = 0
    session.send(text)
    return true
  }

  #drawHead(): void {
    const { site, conversation, phase } = this.#session
    const name = conversation?.assignee?.name || site?.name || ''
    setText(this.#title, name || this.#w.chat)
    setText(this.#initial, [...name][0]?.toUpperCase() ?? '')
    setText(this.#status, phase === 'ready' && site ? (site.online ? this.#w.here : this.#w.away) : '')
    this.#status.classList.toggle('here', site?.online === true)
    const title = site ? fill(this.#w.chat_with, { name: site.name }) : this.#w.chat
    if (document.title !== title) document.title = title
  }

  #drawTrouble(): void {
    if (this.#trouble.hidden) return
    const unknown = this.#session.phase === 'unknown'
    setText(this.#troubleTitle, unknown ? this.#w.unknown : this.#w.load_failed)
    setText(this.#troubleText, unknown ? this.#w.unknown_text : this.#w.load_failed_text)
    this.#again.hidden = unknown
  }

  #drawBanner(): void {
    const offline = !navigator.onLine
    const lost = this.#session.connection === 'lost'
    const noWindow = this.#stageView?.noWindow
    setText(this.#banner, offline ? this.#w.offline : lost ? this.#w.reconnecting : noWindow ? this.#w.call_no_window : '')
  }

  #drawTalk(): void {
    const session = this.#session
    const { conversation, sync, site } = session
    const w = this.#w
    const talking = conversation !== undefined || sync.outbox.length > 0
    this.#hello.hidden = talking
    this.#talk.hidden = !talking
    this.#who.hidden = talking
    // What was filled in went along with the first message; a forgotten conversation must not find it here.
    if (conversation) this.#details.write({ name: '', email: '' })
    setText(this.#greeting, w.greeting)
    setText(this.#greetingText, site?.online ? w.greeting_text : w.away_text)
    const sealed = fill(w.sealed, { name: this.#siteName() })
    setText(this.#helloSealed, sealed)
    this.#notice.hidden = session.notice === undefined
    setText(this.#notice, session.notice ? w[session.notice] : '')
    this.#blocked.hidden = !session.blocked || !talking
    setText(this.#blocked, session.blocked ? w.blocked : '')
    if (!talking) {
      // What was forgotten or erased must not stay in the document, hidden or not.
      this.#list.clear()
      this.#said.replaceChildren()
      this.#introduced = false
      this.#newFrom = 0
      return
    }
    const reading = this.#looking() && this.#list.atEnd && this.#introduced
    if (!reading && session.unread > 0 && this.#newFrom <= session.readSeq) this.#newFrom = firstUnread(sync.messages, session.readSeq)
    this.#list.update({
      rows: buildRows({
        messages: sync.messages,
        outbox: sync.outbox,
        agentReadSeq: conversation?.agent_read_seq ?? 0,
        newFrom: this.#newFrom,
        calls: conversation ? session.calls.of(conversation.id) : [],
        hasEarlier: sync.hasEarlier,
      }),
      loaded: sync.loaded,
      hasEarlier: sync.hasEarlier,
      loadingEarlier: sync.loadingEarlier,
      sealed,
      typing: this.#typingText(),
      closed: conversation?.state === 'closed',
      unread: session.unread,
    })
    if (sync.loaded) this.#introduced = true
    if (this.#looking() && this.#list.atEnd && sync.loaded) session.markRead()
  }

  #typingText(): string {
    const { typing, conversation, sync } = this.#session
    if (typing === undefined) return ''
    const { assignee } = conversation ?? {}
    const said = [...sync.messages].reverse().find((m) => m.author.id === typing)?.author.name
    const name = assignee?.id === typing ? assignee.name : said
    return name ? fill(this.#w.typing, { name }) : this.#w.typing_team
  }
}

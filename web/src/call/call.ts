// Leads the person through the call: notice, preview, room, end. It holds the state, and carries out what each step asks
// for: fetch, open, enter, close.
import './call.css'
import './preview.css'
import './room.css'
import { h } from '../lib/dom'
import { joinWords, overWords, shareWords } from './explain'
import type { JoinError, Link } from './link'
import { LocalMedia } from './media'
import { notesFor } from './notes'
import { button, linkButton, page, type View } from './parts'
import { Preview } from './preview'
import type { Note } from './panel'
import { remarks, type Person, type Quality } from './people'
import { joinFault, shareObstacle, worthRetrying, type Device, type Drop, type JoinFault } from './problems'
import { RoomView, type RoomState } from './room'
import { Awake } from './screens'
import { initial, canRetry, leaveReasonOf, mayBeOpen, reduce, type Event, type State } from './state'
import { thisBrowser } from './surroundings'
import { localPicture } from './tile'
import type { CallHandle, CallOptions, CallSession, LeaveReason } from './types'
import { fill, wordsFor, type Words } from './words'

/** For so long a lost call is tried to be joined again, not counting the time without a network. */
const REJOIN_FOR_MS = 60_000
const REJOIN_DELAYS_MS = [0, 1000, 2000, 4000, 8000]
/** A weak connection is mentioned when it lasts: every network has a bad second. */
const WEAK_AFTER_MS = 4000
const FLASH_MS = 10_000

export function mountCall(el: HTMLElement, options: CallOptions): CallHandle {
  const call = new Call(el, options)
  return {
    leave: () => call.leave(),
    update: (session) => call.update(session),
    destroy: () => call.destroy(),
  }
}

class Call {
  readonly #w: Words
  readonly #root: HTMLElement
  readonly #said = h('div', { class: 'call-hidden', attrs: { 'aria-live': 'polite' } })
  readonly #browser = thisBrowser()
  readonly #awake = new Awake()
  #state: State
  #view: View | undefined
  #room: RoomView | undefined
  #media: LocalMedia | undefined
  #link: Link | undefined
  #ended = false
  /** Counts attempts to enter: what an older one still brings is thrown away. */
  #attempt = 0
  #wish: { camera: boolean; microphone: boolean }
  #picture: { track: MediaStreamTrack; picture: ReturnType<typeof localPicture> } | undefined

  #others: Person[] = []
  #own: { speaking: boolean; quality: Quality; sharing: boolean } = { speaking: false, quality: 'unknown', sharing: false }
  #since: number | undefined
  #soundBlocked = false
  #withoutVideo = false
  #weak: ReturnType<typeof setTimeout> | undefined
  #weakFor = false
  #hintDismissed = false
  #flashes = new Map<string, string>()

  constructor(
    el: HTMLElement,
    private readonly o: CallOptions,
  ) {
    this.#w = wordsFor(o.lang)
    this.#wish = { camera: o.media === 'video', microphone: true }
    this.#root = h('div', { class: 'call', attrs: { role: 'region', 'aria-label': this.#w.region } }, this.#said)
    this.#root.addEventListener('keydown', this.#key)
    addEventListener('online', this.#network)
    addEventListener('offline', this.#network)
    el.append(this.#root)
    this.#state = initial(o.session, navigator.onLine)
    this.#show()
    if (this.#state.step === 'loading') void this.#fetchNotice()
  }

  async leave(): Promise<void> {
    const closed = this.#link?.close()
    this.#out('left')
    await closed
  }

  update(session: CallSession): void {
    this.#dispatch({ type: 'session', session })
    this.#draw()
  }

  destroy(): void {
    this.#ended = true
    this.#attempt++
    removeEventListener('online', this.#network)
    removeEventListener('offline', this.#network)
    clearTimeout(this.#weak)
    this.#closeAll()
    this.#view?.destroy()
    this.#root.remove()
  }

  /** The person is out. Told once. */
  #out(reason: LeaveReason): void {
    if (this.#ended) return
    this.destroy()
    this.o.onLeave(reason)
  }

  #dispatch(event: Event): void {
    if (this.#ended) return
    const before = this.#state
    this.#state = reduce(before, event)
    const { step, over, problem } = this.#state
    if (step !== before.step || over !== before.over || problem !== before.problem) this.#stepped(before)
    else this.#draw()
  }

  /** Carries out what the new step asks for. */
  #stepped(before: State): void {
    const { step } = this.#state
    if (!mayBeOpen(step)) this.#closeAll()
    if (step === 'loading' && before.step !== 'loading') void this.#fetchNotice()
    if (step === 'preview') {
      void this.#openMedia().start(this.#wish)
      void import('./link').catch(() => undefined) // it loads while the person looks at the preview
    }
    if (step === 'connecting' && before.step !== 'connecting') void this.#join()
    this.#show()
  }

  // ---- Steps -------------------------------------------------------------------------------------------------------

  async #fetchNotice(): Promise<void> {
    try {
      const notice = await this.o.notice()
      this.#dispatch({ type: 'notice', notice, skipPreview: this.o.skipPreview === true })
    } catch {
      this.#dispatch({ type: 'notice-failed' })
    }
  }

  async #acknowledge(version: string): Promise<void> {
    try {
      await this.o.acknowledge(version)
      this.#dispatch({ type: 'acknowledged', skipPreview: this.o.skipPreview === true })
    } catch {
      this.#dispatch({ type: 'acknowledge-failed' })
    }
  }

  async #join(): Promise<void> {
    const attempt = ++this.#attempt
    const media = this.#openMedia()
    // What the preview has opened stays; without a preview the devices open while the way in is found.
    if (this.o.skipPreview || (!media.camera && !media.microphone && Object.keys(media.problems).length === 0)) void media.start(this.#wish)
    let fault = await this.#enter(attempt)
    // A grant lives briefly: it may have grown old while the person thought. A fresh one is asked for, once.
    if (fault === 'token' && attempt === this.#attempt) fault = await this.#enter(attempt)
    if (attempt !== this.#attempt || this.#ended) return
    if (fault === undefined) this.#dispatch({ type: 'entered' })
    else this.#dispatch({ type: 'join-failed', fault })
    if (fault === undefined) this.#say(this.#w.said_connected)
  }

  /** The room was lost, and the call may be going on: in again, with a fresh grant. */
  async #rejoin(): Promise<void> {
    const attempt = ++this.#attempt
    const stale = () => attempt !== this.#attempt || this.#ended
    let waited = 0
    for (let i = 0; !stale(); i++) {
      await network()
      const delay = REJOIN_DELAYS_MS[Math.min(i, REJOIN_DELAYS_MS.length - 1)] ?? 0
      await new Promise((done) => setTimeout(done, delay))
      if (stale()) return
      const began = Date.now()
      const fault = await this.#enter(attempt)
      if (stale()) return
      if (fault === undefined) {
        this.#dispatch({ type: 'entered' })
        this.#say(this.#w.said_reconnected)
        return
      }
      waited += Date.now() - began + delay
      this.#dispatch({ type: 'rejoin-failed', fault, final: !worthRetrying(fault) || waited > REJOIN_FOR_MS })
      if (this.#state.connection !== 'rejoining') return
    }
  }

  /** One attempt. Undefined: we are in. */
  async #enter(attempt: number): Promise<JoinFault | undefined> {
    const media = this.#openMedia()
    let link: Link | undefined
    try {
      const [library, grant] = await Promise.all([import('./link'), this.o.join()])
      if (attempt !== this.#attempt) return undefined
      const closed = this.#link?.close()
      link = new library.Link(media, this.#events(attempt))
      this.#link = link
      this.#root.append(link.sounds)
      await closed
      media.revive()
      await link.enter(grant)
      if (attempt === this.#attempt) return undefined
      await link.close()
      return undefined
    } catch (error) {
      if (link && this.#link === link) this.#link = undefined
      void link?.close()
      const known = (error as Partial<JoinError> | null)?.fault
      if (known) return known
      // The library itself did not load, or join() threw something of its own.
      const lost = error instanceof TypeError
      return joinFault(lost ? { code: 'network', status: 0 } : error, { online: navigator.onLine, signalled: false })
    }
  }

  #events(attempt: number) {
    const mine = <A extends unknown[]>(run: (...args: A) => void) => (...args: A) => {
      if (attempt === this.#attempt && !this.#ended) run(...args)
    }
    return {
      people: mine((others: Person[]) => this.#people(others)),
      self: mine((speaking: boolean, quality: Quality, sharing: boolean) => {
        this.#own = { speaking, quality, sharing }
        this.#weigh()
        this.#draw()
      }),
      reconnecting: mine(() => this.#dispatch({ type: 'reconnecting' })),
      reconnected: mine(() => {
        this.#dispatch({ type: 'reconnected' })
        this.#say(this.#w.said_reconnected)
      }),
      dropped: mine((drop: Drop) => this.#dropped(drop)),
      soundBlocked: mine((blocked: boolean) => {
        this.#soundBlocked = blocked
        this.#draw()
      }),
      mutedByHost: mine(() => {
        void this.#media?.setMicrophone(false)
        this.#flash('host', this.#w.muted_by_host)
      }),
      publishFailed: mine((kind: 'camera' | 'microphone' | 'screen') => this.#flash(kind, this.#w[`publish_failed_${kind}`])),
    }
  }

  #dropped(drop: Drop): void {
    this.#own = { ...this.#own, sharing: false }
    this.#dispatch({ type: 'dropped', drop })
    if (this.#state.connection === 'rejoining') void this.#rejoin()
  }

  // ---- Devices -----------------------------------------------------------------------------------------------------

  /** Only the steps after the notice ask for it (promise G16). */
  #openMedia(): LocalMedia {
    this.#media ??= new LocalMedia(this.#browser, {
      changed: () => {
        const media = this.#media
        if (media && !media.opening) this.#wish = { camera: media.cameraOn, microphone: media.microphoneOn }
        this.#link?.sync()
        this.#draw()
      },
      gone: (kind, replaced) => {
        if (replaced) this.#flash('replaced', this.#w.mic_replaced)
        else this.#say(this.#w[`gone_${kind}`])
      },
    })
    return this.#media
  }

  #closeAll(): void {
    this.#attempt++
    this.#awake.set(false)
    this.#mediaKeys(false)
    void this.#link?.close()
    this.#link = undefined
    const media = this.#media
    this.#media = undefined
    media?.stop()
    this.#picture = undefined
    this.#others = []
    this.#own = { speaking: false, quality: 'unknown', sharing: false }
  }

  readonly #toggleMicrophone = () => {
    const media = this.#media
    if (!media) return
    void media.setMicrophone(!media.microphoneOn).then(() => {
      if (!media.problems.microphone) this.#say(media.microphoneOn ? this.#w.said_own_mic_on : this.#w.said_own_mic_off)
    })
  }

  readonly #toggleCamera = () => {
    const media = this.#media
    if (!media) return
    void media.setCamera(!media.cameraOn).then(() => {
      if (!media.problems.camera) this.#say(media.cameraOn ? this.#w.said_own_camera_on : this.#w.said_own_camera_off)
    })
  }

  readonly #toggleShare = () => {
    const link = this.#link
    if (!link?.canShare) return
    if (this.#own.sharing) void link.unshare()
    else
      link.share().catch((error: unknown) => {
        const { name = '', message = '' } = (error ?? {}) as { name?: string; message?: string }
        // Whoever closes the browser's list has changed their mind: that needs no words.
        if (name === 'NotAllowedError' && !/system/i.test(message)) return
        this.#flash('share', name === 'NotAllowedError' ? this.#w.share_denied : this.#w.share_failed)
      })
  }

  // ---- What is seen ------------------------------------------------------------------------------------------------

  #show(): void {
    const { step } = this.#state
    const focused = this.#root.contains(document.activeElement) || document.activeElement === document.body
    // Connecting and being there are one view: the pictures stay where they are.
    const stays = this.#room !== undefined && (step === 'connecting' || step === 'room')
    if (!stays) {
      this.#view?.destroy()
      this.#room = undefined
      this.#view = this.#makeView()
      this.#root.append(this.#view.element)
      if (focused) this.#view.focus()
    }
    this.#root.dataset['step'] = step
    this.#awake.set(step === 'room')
    this.#mediaKeys(step === 'room')
    this.#draw()
    this.o.onStep?.(step)
  }

  #makeView(): View {
    const w = this.#w
    switch (this.#state.step) {
      case 'loading':
        return { ...page(w.loading, [], []), focus: () => undefined }
      case 'notice':
        return this.#noticeView()
      case 'preview':
        return new Preview({
          w,
          media: this.#openMedia(),
          selfName: this.o.selfName,
          peerName: this.o.peerName ?? '',
          framed: this.#browser.framed,
          audioOnly: this.o.media === 'audio',
          checkUrl: this.o.checkUrl,
          join: () => this.#dispatch({ type: 'join' }),
          cancel: () => this.#out('refused'),
          openTop: this.o.onOpenTop,
        })
      case 'connecting':
      case 'room': {
        this.#room = new RoomView(w, this.#openMedia(), this.#root, {
          microphone: this.#toggleMicrophone,
          camera: this.#toggleCamera,
          share: this.#toggleShare,
          leave: () => this.#out('left'),
          choose: (kind, id) => void this.#choose(kind, id),
          say: (text) => this.#say(text),
        })
        return this.#room
      }
      case 'over':
        return this.#overView()
      case 'problem':
        return this.#problemView()
    }
  }

  #noticeView(): View {
    const { notice, noticeChanged, problem } = this.#state
    const w = this.#w
    if (!notice) return page(w.loading, [], [])
    const accept = button(w.notice_accept, 'primary', () => {
      accept.disabled = refuse.disabled = true
      void this.#acknowledge(notice.version)
    })
    const refuse = button(w.notice_refuse, 'plain', () => this.#out('refused'))
    return page(
      notice.title,
      [
        noticeChanged && h('p', { class: 'call-changed', textContent: w.notice_changed }),
        ...notice.paragraphs.map((text) => h('p', { textContent: text })),
        h('p', { class: 'call-soft', textContent: `${w.notice_no_device} ${fill(w.notice_version, { version: notice.version })}` }),
        problem === 'acknowledge' && h('p', { class: 'call-wrong', textContent: w.notice_save_failed, attrs: { role: 'alert' } }),
      ],
      [refuse, accept],
      'shield',
    )
  }

  #overView(): View {
    const w = this.#w
    const { over = 'ended' } = this.#state
    const { title, text } = overWords(w, over, this.o.peerName ?? '')
    const buttons: HTMLElement[] = [button(w.close, 'plain', () => this.#out(leaveReasonOf(this.#state)))]
    if (over === 'lost' && this.o.checkUrl) buttons.push(linkButton(w.check_short, this.o.checkUrl))
    if (canRetry(this.#state)) {
      const again = over === 'replaced' ? w.continue_here : w.rejoin
      buttons.push(button(again, 'primary', () => this.#dispatch({ type: 'retry' })))
    }
    return page(title, [h('p', { textContent: text })], buttons, over === 'lost' || over === 'failed' ? 'warn' : 'hangUp')
  }

  #problemView(): View {
    const w = this.#w
    const { problem = 'other' } = this.#state
    const { title, text, check } = joinWords(w, problem)
    const buttons: HTMLElement[] = [button(w.close, 'plain', () => this.#out('failed'))]
    if (check && this.o.checkUrl) buttons.push(linkButton(w.check_short, this.o.checkUrl))
    if (canRetry(this.#state)) buttons.push(button(w.retry, 'primary', () => this.#dispatch({ type: 'retry' })))
    return page(title, [h('p', { textContent: text, attrs: { role: 'alert' } })], buttons, 'warn')
  }

  #draw(): void {
    if (this.#ended) return
    if (this.#room) this.#room.update(this.#roomState())
    else if (this.#view instanceof Preview) this.#view.update()
  }

  #roomState(): RoomState {
    const media = this.#media
    const { session, connection } = this.#state
    const w = this.#w
    const name = this.o.peerName ?? ''
    const waiting = session?.state === 'ringing' ? (name ? fill(w.calling, { name }) : w.calling_nobody) : name ? fill(w.waiting, { name }) : w.waiting_nobody
    return {
      self: {
        identity: 'self',
        self: true,
        mic: media?.microphoneOn ?? false,
        hasMic: media?.microphone !== undefined,
        camera: this.#ownPicture(),
        speaking: this.#own.speaking,
        quality: this.#own.quality,
      },
      others: this.#others,
      nameOf: (p) => (p.self ? this.o.selfName : this.o.nameOf(p.identity)),
      waiting: connection === 'connecting' ? w.connecting : connection === 'live' ? waiting : '',
      withoutVideo: this.#withoutVideo,
      sharing: this.#own.sharing,
      shareReason: this.#shareReason(),
      entered: connection === 'live',
      notes: this.#notes(),
      since: this.#since,
    }
  }

  #ownPicture() {
    const track = this.#media?.camera
    if (track !== this.#picture?.track) this.#picture = track && { track, picture: localPicture(track) }
    return this.#picture?.picture
  }

  #name(identity: string): string {
    return this.o.nameOf(identity) || this.#w.somebody
  }

  #shareReason(): string {
    const { secure, phone, devices } = this.#browser
    const able = typeof (devices as Partial<MediaDevices> | undefined)?.getDisplayMedia === 'function'
    const obstacle = shareObstacle({ secure, able, phone, allowed: this.#browser.allowed('display-capture') })
    return obstacle ? shareWords(this.#w, obstacle) : ''
  }

  #notes(): Note[] {
    const media = this.#media
    const { connection, online } = this.#state
    const device = (run: (kind: 'camera' | 'microphone') => void) => (which: Device) => {
      if (which !== 'microphone') run('camera')
      if (which !== 'camera') run('microphone')
      this.#draw()
    }
    const facts = {
      online,
      connection,
      soundBlocked: this.#soundBlocked,
      problems: media?.problems ?? {},
      canTop: this.#browser.framed && this.o.onOpenTop !== undefined,
      flashes: this.#flashes,
      sharing: this.#own.sharing,
      weak: this.#weakFor && !this.#hintDismissed,
      quality: this.#own.quality,
      cameraOn: media?.cameraOn ?? false,
      othersVideo: this.#others.some((p) => p.camera),
      withoutVideo: this.#withoutVideo,
    }
    return notesFor(this.#w, facts, {
      playSound: () => this.#link?.startSound(),
      openTop: () => this.o.onOpenTop?.(),
      openAgain: (which) => void media?.start({ camera: which !== 'microphone', microphone: which !== 'camera' }),
      forget: device((kind) => delete media?.problems[kind]),
      unflash: (id) => this.#unflash(id),
      stopSharing: this.#toggleShare,
      cameraOff: () => void media?.setCamera(false),
      showVideo: (on) => {
        this.#withoutVideo = !on
        this.#draw()
      },
      dismissHint: () => {
        this.#hintDismissed = true
        this.#draw()
      },
    })
  }

  // ---- What happens in the room ------------------------------------------------------------------------------------

  #people(others: Person[]): void {
    const w = this.#w
    const said = { joined: w.said_joined, left: w.said_left, 'mic-off': w.said_mic_off, 'mic-on': w.said_mic_on, 'screen-on': w.said_screen_on, 'screen-off': w.said_screen_off }
    for (const { what, identity } of remarks(this.#others, others)) this.#say(fill(said[what], { name: this.#name(identity) }))
    this.#others = others
    if (others.length > 0) this.#since ??= Date.now()
    this.#draw()
  }

  #weigh(): void {
    const weak = this.#own.quality === 'poor' || this.#own.quality === 'lost'
    if (!weak) {
      clearTimeout(this.#weak)
      this.#weak = undefined
      // What was dismissed is dismissed for this spell only.
      this.#weakFor = this.#hintDismissed = false
    } else
      this.#weak ??= setTimeout(() => {
        this.#weakFor = true
        this.#draw()
      }, WEAK_AFTER_MS)
  }

  async #choose(kind: 'camera' | 'microphone' | 'speaker', id: string): Promise<void> {
    await this.#media?.choose(kind, id)
    if (kind === 'speaker') this.#link?.setSpeaker(id)
  }

  /** A note that goes by itself. */
  #flash(id: string, text: string): void {
    this.#flashes.set(id, text)
    setTimeout(() => this.#unflash(id), FLASH_MS)
    this.#draw()
  }

  #unflash(id: string): void {
    if (this.#flashes.delete(id)) this.#draw()
  }

  /** Tells a screen reader. Each remark is an element of its own: one does not swallow the other. */
  #say(text: string): void {
    const line = h('p', { textContent: text })
    this.#said.append(line)
    setTimeout(() => line.remove(), FLASH_MS)
  }

  readonly #key = (e: KeyboardEvent) => {
    if (!this.#room || e.defaultPrevented || e.ctrlKey || e.metaKey || e.altKey || e.repeat) return
    if (e.target instanceof Element && e.target.closest('input, textarea, select, [contenteditable]')) return
    if (!this.#room.key(e.key.toLowerCase())) return
    e.preventDefault()
    e.stopPropagation() // the page around has keys of its own
  }

  readonly #network = () => this.#dispatch({ type: 'online', online: navigator.onLine })

  /** The keys of keyboards, headsets and of the small window. */
  #mediaKeys(on: boolean): void {
    const session = navigator.mediaSession as MediaSession | undefined
    if (!session) return
    const set = (action: string, run: () => void) => {
      try {
        session.setActionHandler(action as MediaSessionAction, on ? run : null)
      } catch {
        // This browser does not know the action.
      }
    }
    set('togglemicrophone', this.#toggleMicrophone)
    set('togglecamera', this.#toggleCamera)
    set('hangup', () => this.#out('left'))
    set('enterpictureinpicture', () => this.#room?.openSmallWindow())
  }
}

/** Resolves when there is a network. */
function network(): Promise<void> {
  if (navigator.onLine) return Promise.resolve()
  return new Promise((done) => addEventListener('online', () => done(), { once: true }))
}

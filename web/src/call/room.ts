// The room on the screen: notes above, the stage, the bar below, and the panel over it.
import { h, setText } from '../lib/dom'
import type { LocalMedia } from './media'
import { control, type View } from './parts'
import { Notes, Panel, type Note, type PanelAction } from './panel'
import { duration, type Person } from './people'
import { FullScreen, SmallWindow } from './screens'
import { Stage } from './stage'
import type { Words } from './words'

export interface RoomState {
  self: Person
  others: readonly Person[]
  /** '' when it is not known. */
  nameOf(p: Person): string
  waiting: string
  withoutVideo: boolean
  sharing: boolean
  /** Why the screen cannot be shared here. */
  shareReason: string
  /** Nothing can be shared before the room is there. */
  entered: boolean
  notes: Note[]
  /** When the first of the others was there, for the clock. */
  since: number | undefined
}

export interface RoomActions {
  microphone(): void
  camera(): void
  share(): void
  leave(): void
  choose(kind: 'camera' | 'microphone' | 'speaker', id: string): void
  say(text: string): void
}

export class RoomView implements View {
  readonly element: HTMLElement
  readonly #stage: Stage
  readonly #notes: Notes
  readonly #panel: Panel
  readonly #small: SmallWindow
  readonly #full: FullScreen
  readonly #clock = h('span', { class: 'call-clock', attrs: { role: 'timer' } })
  readonly #mic
  readonly #camera
  readonly #share
  readonly #pip
  readonly #wide
  readonly #more
  readonly #leave
  readonly #ticking: ReturnType<typeof setInterval>
  #state: RoomState | undefined

  constructor(
    private readonly w: Words,
    private readonly media: LocalMedia,
    private readonly root: HTMLElement,
    private readonly act: RoomActions,
  ) {
    const changed = () => this.#state && this.update(this.#state)
    const why = (reason: string) => act.say(reason)
    this.#stage = new Stage(w, act.say)
    this.#notes = new Notes(w)
    this.#small = new SmallWindow(() => this.#stage.mainVideo, changed)
    this.#full = new FullScreen(root, changed)
    this.#panel = new Panel(w, media, act.choose, () => this.#panelClosed())
    this.#mic = control('M', act.microphone, why)
    this.#camera = control('V', act.camera, why)
    this.#share = control('S', act.share, (reason) => this.#explain(reason))
    this.#pip = control(undefined, () => this.#small.toggle(), why)
    this.#wide = control('F', () => this.#full.toggle(), why)
    this.#more = control(undefined, () => this.#toggleMore(), why)
    this.#more.element.setAttribute('aria-expanded', 'false')
    this.#more.element.setAttribute('aria-haspopup', 'dialog')
    this.#leave = control(undefined, act.leave, why)
    this.element = this.#build()
    this.#ticking = setInterval(() => this.#tick(), 1000)
    root.addEventListener('pointerdown', this.#outside)
  }

  focus(): void {
    this.#mic.element.focus({ preventScroll: true })
  }

  update(s: RoomState): void {
    this.#state = s
    const { w } = this
    const { microphoneOn, cameraOn } = this.media
    this.#stage.update(s)
    this.#notes.set(this.#reason ? [...s.notes, this.#reason] : s.notes)
    this.#mic.set({
      label: microphoneOn ? w.mic_turn_off : w.mic_turn_on,
      text: w.mic_short,
      icon: microphoneOn ? 'mic' : 'micOff',
      off: !microphoneOn,
    })
    this.#camera.set({
      label: cameraOn ? w.camera_turn_off : w.camera_turn_on,
      text: w.camera,
      icon: cameraOn ? 'camera' : 'cameraOff',
      off: !cameraOn,
    })
    this.#share.set({
      label: s.sharing ? w.share_stop : w.share,
      text: s.sharing ? w.share_stop_short : w.share_short,
      icon: s.sharing ? 'screenOff' : 'screen',
      on: s.sharing,
      reason: s.shareReason,
      busy: !s.entered,
    })
    this.#updateScreens()
    this.#more.set({ label: w.more_title, text: w.more, icon: 'settings' })
    this.#leave.set({ label: w.leave_call, text: w.leave, icon: 'hangUp' })
    this.#panel.update(this.#actions(s))
    this.#tick()
  }

  /** A key of the call: true when it was one. */
  key(key: string): boolean {
    const run = { m: this.act.microphone, v: this.act.camera, s: () => this.#share.element.click(), f: () => this.#full.toggle() }[key]
    if (!run || (key === 'f' && !this.#full.possible)) return false
    run()
    return true
  }

  openSmallWindow(): void {
    if (!this.#small.on) this.#small.toggle()
  }

  destroy(): void {
    clearInterval(this.#ticking)
    clearTimeout(this.#reasonTimer)
    this.#small.destroy()
    this.#full.destroy()
    this.#panel.destroy()
    this.#stage.destroy()
    this.root.removeEventListener('pointerdown', this.#outside)
    this.element.remove()
  }

  #build(): HTMLElement {
    this.#leave.element.classList.add('call-leave')
    for (const only of [this.#share, this.#pip, this.#wide]) only.element.classList.add('call-wide-only')
    // On the phone, sharing is the one of them that everybody looks for.
    const bar = h(
      'div',
      { class: 'call-bar' },
      this.#clock,
      h(
        'div',
        { class: 'call-controls' },
        this.#mic.element,
        this.#camera.element,
        this.#share.element,
        this.#pip.element,
        this.#wide.element,
        this.#more.element,
        this.#leave.element,
      ),
    )
    const middle = h('div', { class: 'call-middle' }, this.#notes.element, this.#stage.element)
    return h('div', { class: 'call-room' }, middle, bar, this.#panel.element)
  }

  #updateScreens(): void {
    const { w } = this
    const small = this.#small
    this.#pip.element.hidden = !small.possible
    this.#pip.set({ label: small.on ? w.pip_stop : w.pip, text: 'PiP', icon: 'pip', on: small.on, reason: this.#pipReason() })
    small.follow()
    this.#wide.element.hidden = !this.#full.possible
    const label = this.#full.on ? w.full_stop : w.full
    this.#wide.set({ label, text: w.full, icon: this.#full.on ? 'fullOff' : 'full' })
  }

  #pipReason(): string | undefined {
    return !this.#small.on && !this.#stage.mainVideo ? this.w.pip_none : undefined
  }

  #actions(s: RoomState): PanelAction[] {
    const { w } = this
    const actions: PanelAction[] = [
      {
        id: 'share',
        label: s.sharing ? w.share_stop : w.share,
        icon: s.sharing ? 'screenOff' : 'screen',
        reason: s.shareReason || undefined,
        inBar: true,
        run: this.act.share,
      },
    ]
    if (this.#small.possible) {
      const label = this.#small.on ? w.pip_stop : w.pip
      actions.push({ id: 'pip', label, icon: 'pip', reason: this.#pipReason(), inBar: true, run: () => this.#small.toggle() })
    }
    if (this.#full.possible) {
      const label = this.#full.on ? w.full_stop : w.full
      actions.push({ id: 'full', label, icon: this.#full.on ? 'fullOff' : 'full', inBar: true, run: () => this.#full.toggle() })
    }
    return actions
  }

  #tick(): void {
    const since = this.#state?.since
    setText(this.#clock, since === undefined ? '' : duration(Date.now() - since))
  }

  #toggleMore(): void {
    if (this.#panel.open) this.#panel.close()
    else {
      this.#more.element.setAttribute('aria-expanded', 'true')
      this.#panel.show()
    }
  }

  #panelClosed(): void {
    this.#more.element.setAttribute('aria-expanded', 'false')
    if (this.element.contains(document.activeElement) || document.activeElement === document.body) this.#more.element.focus({ preventScroll: true })
  }

  readonly #outside = (e: PointerEvent) => {
    const target = e.target as Node
    if (!this.#panel.open || this.#panel.element.contains(target) || this.#more.element.contains(target)) return
    this.#panel.close()
  }

  #reason: Note | undefined
  #reasonTimer: ReturnType<typeof setTimeout> | undefined

  /** A button that cannot be used says why, in a note that goes by itself. */
  #explain(text: string): void {
    const done = () => {
      clearTimeout(this.#reasonTimer)
      this.#reason = undefined
      if (this.#state) this.update(this.#state)
    }
    this.#reason = { id: 'reason', text, tone: 'plain', dismiss: done }
    clearTimeout(this.#reasonTimer)
    this.#reasonTimer = setTimeout(done, 12_000)
    if (this.#state) this.update(this.#state)
  }
}

// Where calls are: a ringing card, the call itself, or a line about one that is elsewhere. Loaded when the first call
// comes up, and never before; the media library comes later still, with the call (src/call).
import './stage.css'
import { mountCall, mountRing, type CallHandle, type CallSession, type CallStep, type RingHandle } from '../call'
import type { Call } from '../lib/protocol'
import { h, icon } from './dom'
import { Handover, handoverAddress } from './handover'
import type { Lang } from './messages'
import type { Session } from './session'
import { stageWords, type StageWords } from './stage-words'

export interface StageOptions {
  element: HTMLElement
  lang: Lang
  session: Session
  /** Who answers here, when no single person is known. */
  siteName(): string
  checkUrl: string
  /** The page is a frame, whose host may forbid it camera and microphone. */
  framed: boolean
  /** The page is the window of a call, and of nothing else. */
  isWindow: boolean
  /** Looks again at what else is on the screen. */
  changed: () => void
}

export class Stage {
  readonly #o: StageOptions
  #call: CallHandle | undefined
  #ring: { handle: RingHandle; call: string; over: boolean } | undefined
  #card = ''
  /** A call was here. */
  #held = false

  /** The window that the call should have gone to did not open. */
  noWindow = false
  /** How far the call on this page is; `over` once it only says how it ended. */
  step: CallStep | undefined
  readonly #w: StageWords
  readonly #handover: Handover

  constructor(o: StageOptions) {
    this.#o = o
    this.#w = stageWords[o.lang]
    const { calling } = o.session
    this.#handover = new Handover(
      window,
      () => {
        const { scene } = calling
        const { token } = o.session
        return scene.kind === 'away' && token ? { token, call: scene.call?.id, media: scene.media } : undefined
      },
      () => calling.closed(),
    )
  }

  /** Something is on the stage, which the scene alone does not tell: a card may still say how a ring ended. */
  get busy(): boolean {
    return this.#call !== undefined || this.#ring !== undefined || this.#card !== ''
  }

  draw(): void {
    const { scene } = this.#o.session.calling
    if (scene.kind !== 'here') {
      this.noWindow = false
      this.#dropCall()
    }
    if (scene.kind !== 'incoming' && scene.kind !== 'outgoing') this.#endRing(scene.kind === 'none')
    if (scene.kind !== 'rejoin' && scene.kind !== 'away') this.#dropCard()
    switch (scene.kind) {
      case 'here':
        this.#drawCall(scene.call)
        break
      case 'incoming':
      case 'outgoing':
        this.#drawRing(scene.call, scene.kind)
        break
      case 'rejoin':
        this.#drawCard(`rejoin ${scene.call.id} ${scene.elsewhere}`, () => this.#rejoinCard(scene.elsewhere))
        break
      case 'away':
        this.#drawCard('away', () => this.#awayCard())
        break
      case 'none':
        if (this.#o.isWindow && this.#held && !this.#ring) this.#drawCard('over', () => this.#windowCard())
    }
    this.#o.element.hidden = !this.busy
  }

  #drawCall(call: Call | undefined): void {
    if (this.#call) {
      if (call) this.#call.update(asSession(call))
      return
    }
    const { lang, session, checkUrl, framed } = this.#o
    const { calling, calls } = session
    const scene = calling.scene
    if (scene.kind !== 'here') return
    this.#call = mountCall(this.#fresh(), {
      lang,
      media: scene.media,
      selfName: session.visitor?.name ?? '',
      nameOf: (identity) => this.#nameOf(identity),
      notice: () => calls.notice(lang),
      acknowledge: (version) => calls.acknowledge(version, lang),
      join: () => calling.join(),
      onLeave: (reason) => calling.left(reason),
      onStep: (step) => {
        this.step = step
        this.#o.changed()
      },
      onOpenTop: framed ? () => this.#openTop() : undefined,
      skipPreview: scene.skipPreview,
      checkUrl,
      peerName: this.#peer(),
      session: call && asSession(call),
    })
    this.#held = true
  }

  /** Opens the call in a window of its own, because the host page gives its frames neither camera nor microphone. */
  #openTop(): void {
    this.noWindow = !this.#handover.open(handoverAddress(location.href, this.#o.lang))
    if (!this.noWindow) this.#o.session.calling.handOver()
    this.#o.changed()
  }

  #drawRing(call: Call, direction: 'incoming' | 'outgoing'): void {
    if (this.#ring?.call === call.id) return this.#ring.handle.update({ name: this.#peer(), until: call.ring_until ?? undefined })
    this.#ring?.handle.destroy()
    const { calling } = this.#o.session
    const handle = mountRing(this.#fresh(), {
      lang: this.#o.lang,
      direction,
      media: call.media,
      name: this.#peer(),
      sound: direction === 'incoming',
      onAccept: () => calling.accept(),
      onDecline: () => calling.decline(),
      onCancel: () => calling.end(),
    })
    this.#ring = { handle, call: call.id, over: false }
  }

  /** A ring that ended by itself says so in words; one that the visitor ended just goes. */
  #endRing(quietly: boolean): void {
    const ring = this.#ring
    if (!ring || (ring.over && quietly)) return
    const { calls, calling } = this.#o.session
    const call = calls.get(ring.call)
    if (quietly && call?.state === 'ended' && call.end_reason && !calling.isDone(call.id)) {
      ring.over = true
      ring.handle.over(call.end_reason, () => {
        this.#dropRing()
        this.#o.changed()
      })
      return
    }
    this.#dropRing()
  }

  #dropRing(): void {
    this.#ring?.handle.destroy()
    this.#ring = undefined
  }

  #dropCall(): void {
    this.#call?.destroy()
    this.#call = undefined
    this.step = undefined
  }

  #dropCard(): void {
    if (this.#card) this.#o.element.replaceChildren()
    this.#card = ''
  }

  #drawCard(look: string, make: () => HTMLElement): void {
    if (this.#card === look) return
    this.#fresh().replaceWith(make())
    this.#card = look
  }

  #rejoinCard(elsewhere: boolean): HTMLElement {
    const w = this.#w
    const { calling } = this.#o.session
    return this.#lineCard(elsewhere ? w.elsewhere : w.runs, [
      h('button', { class: 'button', type: 'button', textContent: w.end, onclick: () => void calling.end() }),
      h('button', { class: 'button filled', type: 'button', textContent: elsewhere ? w.bring : w.rejoin, onclick: () => calling.rejoin() }),
    ])
  }

  #awayCard(): HTMLElement {
    const w = this.#w
    return this.#lineCard(w.away, [
      h('button', { class: 'button', type: 'button', textContent: w.show_window, onclick: () => this.#handover.focus() }),
    ])
  }

  #windowCard(): HTMLElement {
    const w = this.#w
    return this.#lineCard(w.over_window, [
      h('button', { class: 'button', type: 'button', textContent: w.close_window, onclick: () => close() }),
    ])
  }

  #lineCard(text: string, buttons: HTMLElement[]): HTMLElement {
    const line = h('p', { attrs: { role: 'status' } }, icon('phone'), h('span', { textContent: text }))
    return h('div', { class: 'call-line' }, line, h('div', { class: buttons.length > 1 ? 'buttons' : 'buttons single' }, ...buttons))
  }

  /** A new, empty place: what was there before keeps none of it. */
  #fresh(): HTMLElement {
    const place = h('div', { class: 'call-place' })
    this.#o.element.replaceChildren(place)
    return place
  }

  #peer(): string {
    const { calling, conversation } = this.#o.session
    const call = 'call' in calling.scene ? calling.scene.call : undefined
    return call?.agent?.name || conversation?.assignee?.name || this.#o.siteName()
  }

  #nameOf(identity: string): string {
    const { scene } = this.#o.session.calling
    const call = 'call' in scene ? scene.call : undefined
    const found = call?.participants.find((p) => p.id === identity)
    return found?.kind === 'agent' ? found.name || this.#o.siteName() : ''
  }
}

/** The call as its own view reads it: what is not there is left out. */
export function asSession(call: Call): CallSession {
  const { id, state, media, started_by, end_reason, ring_until } = call
  return { id, state, media, started_by, ...(end_reason && { end_reason }), ...(ring_until && { ring_until }) }
}

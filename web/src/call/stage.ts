// The pictures of everybody, placed for the size at hand. Tiles live as long as their person, so that a picture is never
// taken out and put in again when somebody else comes or goes.
import { h, setText } from '../lib/dom'
import { arrange, cornerAfterKey, nearestCorner, type Cast, type Corner, type Placement, type Size } from './layout'
import type { Person } from './people'
import { Tile } from './tile'
import { fill, type Words } from './words'

export interface StageState {
  self: Person
  others: readonly Person[]
  /** '' when it is not known. */
  nameOf(p: Person): string
  /** Nobody else is there (yet): what to read meanwhile. */
  waiting: string
  /** Others' cameras are not shown, to spare the connection. */
  withoutVideo: boolean
}

const SELF = 'self'

export class Stage {
  readonly element: HTMLElement
  readonly #waiting = h('p', { class: 'call-waiting' })
  readonly #tiles = new Map<string, Tile>()
  readonly #watch: ResizeObserver
  #size: Size = { width: 0, height: 0 }
  #corner: Corner = 'bottom-right'
  #cast: Cast = { self: SELF, others: [], screens: [] }
  #screens: string[] = []
  #speaker = ''

  constructor(
    private readonly w: Words,
    private readonly say: (text: string) => void,
  ) {
    this.element = h('div', { class: 'call-stage' }, this.#waiting)
    this.#watch = new ResizeObserver(([entry]) => {
      if (!entry) return
      this.#size = { width: entry.contentRect.width, height: entry.contentRect.height }
      this.#place()
    })
    this.#watch.observe(this.element)
  }

  update(s: StageState): void {
    const { others } = s
    const keys = new Set<string>()
    this.#tile(SELF, keys).update(this.#ofSelf(s))
    for (const p of others) this.#tile(p.identity, keys).update(this.#ofCamera(s, p))
    for (const p of others) {
      if (p.screen) this.#tile(`${p.identity} screen`, keys).update(this.#ofScreen(s, p))
    }
    for (const [key, tile] of this.#tiles) {
      if (keys.has(key)) continue
      tile.remove()
      this.#tiles.delete(key)
    }
    // In the order in which the screens came, whoever shows them.
    this.#screens = this.#screens.filter((key) => keys.has(key))
    for (const p of others) {
      const key = `${p.identity} screen`
      if (p.screen && !this.#screens.includes(key)) this.#screens.push(key)
    }
    this.#speaker = others.find((p) => p.speaking)?.identity ?? this.#speaker
    this.#cast = { self: SELF, others: others.map((p) => p.identity), screens: this.#screens }
    setText(this.#waiting, others.length === 0 ? s.waiting : '')
    this.#waiting.hidden = others.length > 0 || s.waiting === ''
    this.element.classList.toggle('call-alone', others.length === 0)
    this.#place()
  }

  /** The video worth watching in a small window: the screen, else who speaks, else anybody. */
  get mainVideo(): HTMLVideoElement | undefined {
    const { others, screens } = this.#cast
    const order = [screens.at(-1), this.#speaker, ...others]
    for (const key of order) {
      const tile = key === undefined ? undefined : this.#tiles.get(key)
      if (tile && key !== SELF && tile.showsPicture) return tile.video
    }
    return undefined
  }

  destroy(): void {
    this.#watch.disconnect()
    for (const tile of this.#tiles.values()) tile.remove()
    this.#tiles.clear()
    this.element.remove()
  }

  #tile(key: string, keys: Set<string>): Tile {
    keys.add(key)
    let tile = this.#tiles.get(key)
    if (!tile) {
      tile = new Tile(() => this.#place())
      this.#tiles.set(key, tile)
      this.element.append(tile.element)
      if (key === SELF) this.#makeMovable(tile.element)
    }
    return tile
  }

  #ofSelf({ self, others, nameOf }: StageState) {
    const known = nameOf(self)
    const name = known || this.w.you
    return {
      name,
      named: known !== '',
      label: this.#label(name, self.mic, !self.camera),
      picture: self.camera,
      mirrored: true,
      whole: false,
      mic: self.mic,
      showMic: true,
      speaking: self.speaking && self.mic && others.length > 1,
      weak: '',
      note: '',
    }
  }

  #ofCamera(s: StageState, p: Person) {
    const known = s.nameOf(p)
    const name = known || this.w.somebody
    const weak = p.quality === 'poor' || p.quality === 'lost'
    // With one other person it is plain who speaks, and a frame that comes and goes disturbs.
    const alone = s.others.length === 1 && p.camera !== undefined
    return {
      name,
      named: known !== '',
      label: this.#label(name, p.mic, !p.camera),
      picture: s.withoutVideo ? undefined : p.camera,
      mirrored: false,
      whole: false,
      mic: p.mic,
      showMic: true,
      speaking: p.speaking && p.mic && !alone,
      weak: weak ? fill(this.w.weak_theirs, { name }) : '',
      note: p.camera ? (s.withoutVideo ? this.w.sound_only_picture : p.paused ? this.w.paused : '') : '',
    }
  }

  #ofScreen(s: StageState, p: Person) {
    const name = fill(this.w.screen_of, { name: s.nameOf(p) || this.w.somebody })
    return { name, named: false, label: name, picture: p.screen, mirrored: false, whole: true, mic: true, showMic: false, speaking: false, weak: '', note: '' }
  }

  #label(name: string, mic: boolean, cameraOff: boolean): string {
    return [name, !mic && this.w.is_muted, cameraOff && this.w.camera_is_off].filter(Boolean).join(', ')
  }

  #place(): void {
    if (this.#size.width === 0 || this.#size.height === 0) return
    const selfAspect = this.#tiles.get(SELF)?.aspect ?? 0
    const placed = arrange(this.#cast, this.#size, { corner: this.#corner, selfAspect })
    for (const p of placed) this.#tiles.get(p.key)?.place(p.rect, p.floats)
    this.#movable(placed.find((p) => p.key === SELF))
  }

  #movable(own: Placement | undefined): void {
    const e = this.#tiles.get(SELF)?.element
    if (!e) return
    if (own?.floats) {
      e.tabIndex = 0
      e.setAttribute('aria-description', this.w.move_help)
    } else {
      e.removeAttribute('tabindex')
      e.removeAttribute('aria-description')
    }
  }

  /** Dragged with a finger or a mouse, or sent to a corner with the arrow keys. */
  #makeMovable(e: HTMLElement): void {
    let from: { x: number; y: number; id: number } | undefined
    e.addEventListener('pointerdown', (ev) => {
      if (!e.classList.contains('call-floats') || ev.button !== 0) return
      from = { x: ev.clientX, y: ev.clientY, id: ev.pointerId }
      e.setPointerCapture(ev.pointerId)
      e.classList.add('call-dragged')
    })
    e.addEventListener('pointermove', (ev) => {
      if (from?.id === ev.pointerId) e.style.transform = `translate(${ev.clientX - from.x}px, ${ev.clientY - from.y}px)`
    })
    const drop = (ev: PointerEvent) => {
      if (from?.id !== ev.pointerId) return
      const moved = Math.hypot(ev.clientX - from.x, ev.clientY - from.y) > 8
      from = undefined
      const at = e.getBoundingClientRect()
      const stage = this.element.getBoundingClientRect()
      e.style.transform = ''
      e.classList.remove('call-dragged')
      if (!moved) return
      this.#corner = nearestCorner(at.x + at.width / 2 - stage.x, at.y + at.height / 2 - stage.y, this.#size)
      this.#place()
    }
    e.addEventListener('pointerup', drop)
    e.addEventListener('pointercancel', drop)
    e.addEventListener('keydown', (ev) => {
      const corner = e.classList.contains('call-floats') ? cornerAfterKey(this.#corner, ev.key) : undefined
      if (!corner) return
      ev.preventDefault()
      ev.stopPropagation()
      if (corner === this.#corner) return
      this.#corner = corner
      this.#place()
      const words = { 'top-left': 'corner_tl', 'top-right': 'corner_tr', 'bottom-left': 'corner_bl', 'bottom-right': 'corner_br' } as const
      this.say(this.w[words[corner]])
    })
  }
}

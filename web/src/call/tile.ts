// One picture with its name: a camera, a shared screen, or the initials in their place.
import { h, setText } from '../lib/dom'
import { icon, swapIcon } from './icons'
import { pictureBox, type Rect } from './layout'
import { initials, type Picture } from './people'

export interface TileState {
  name: string
  /** The name has initials worth showing; "You" and "Participant" have none. */
  named: boolean
  /** What a screen reader is told of the tile. */
  label: string
  picture: Picture | undefined
  /** A camera shows oneself as a mirror does. */
  mirrored: boolean
  /** Show all of it, crop nothing. */
  whole: boolean
  mic: boolean
  /** A screen has no microphone of its own. */
  showMic: boolean
  speaking: boolean
  weak: string
  /** In the place of the picture: "waits for a better connection". */
  note: string
}

export class Tile {
  readonly element: HTMLElement
  readonly video = h('video', { class: 'call-video', autoplay: true, muted: true, playsInline: true, attrs: { 'aria-hidden': 'true' } })
  readonly #face = h('span', { class: 'call-face', attrs: { 'aria-hidden': 'true' } })
  readonly #note = h('span', { class: 'call-tile-note' })
  readonly #name = h('span', { class: 'call-name-text', attrs: { dir: 'auto' } })
  readonly #micOff = h('span', { class: 'call-name-icon' }, icon('micOff'))
  readonly #weak = h('span', { class: 'call-name-icon call-weak' }, icon('weak'))
  #picture: Picture | undefined
  #rect: Rect = { x: 0, y: 0, width: 0, height: 0 }
  #whole = false

  /** `resized` is told when the picture's own proportions change: a phone was turned. */
  constructor(resized: () => void) {
    const chip = h('span', { class: 'call-name', attrs: { 'aria-hidden': 'true' } }, this.#micOff, this.#weak, this.#name)
    this.element = h('div', { class: 'call-tile', attrs: { role: 'group' } }, this.#face, this.video, this.#note, chip)
    this.video.addEventListener('resize', () => {
      this.#fit()
      resized()
    })
    // A picture appears with its first frame: before that, there is the name and not a black field.
    this.video.addEventListener('loadeddata', () => this.element.classList.add('call-shown'))
    this.video.addEventListener('emptied', () => this.element.classList.remove('call-shown'))
  }

  /** Width by height of what is shown; 0 when nothing is. */
  get aspect(): number {
    return this.#picture && this.video.videoHeight > 0 ? this.video.videoWidth / this.video.videoHeight : 0
  }

  get showsPicture(): boolean {
    return this.#picture !== undefined
  }

  update(s: TileState): void {
    const e = this.element
    if (e.getAttribute('aria-label') !== s.label) e.setAttribute('aria-label', s.label)
    setText(this.#name, s.name)
    const letters = s.named ? initials(s.name) : ''
    if (letters) setText(this.#face, letters)
    else swapIcon(this.#face, 'person')
    setText(this.#note, s.note)
    this.#micOff.hidden = s.mic || !s.showMic
    this.#weak.hidden = s.weak === ''
    this.#weak.title = s.weak
    this.#whole = s.whole
    e.classList.toggle('call-mirrored', s.mirrored)
    e.classList.toggle('call-speaking', s.speaking)
    e.classList.toggle('call-paused', s.note !== '')
    this.#show(s.picture)
    this.#fit()
  }

  place(rect: Rect, floats: boolean): void {
    this.#rect = rect
    const { style, classList } = this.element
    style.left = `${rect.x}px`
    style.top = `${rect.y}px`
    style.width = `${rect.width}px`
    style.height = `${rect.height}px`
    classList.toggle('call-floats', floats)
    classList.toggle('call-small', rect.width < 200 || rect.height < 130)
    classList.toggle('call-tiny', rect.width < 96)
    this.#fit()
  }

  remove(): void {
    this.#show(undefined)
    this.element.remove()
  }

  #show(picture: Picture | undefined): void {
    if (picture === this.#picture) return
    this.#picture?.detach(this.video)
    this.#picture = picture
    this.element.classList.remove('call-shown')
    picture?.attach(this.video)
    this.element.classList.toggle('call-has-picture', picture !== undefined)
  }

  #fit(): void {
    const { videoWidth: width, videoHeight: height } = this.video
    this.video.classList.toggle('call-whole', this.#whole)
    if (this.#rect.width === 0) return // in the preview, which has no places: there it fills its tile
    const box = this.#whole ? this.#rect : pictureBox({ width, height }, this.#rect)
    this.video.style.width = `${box.width}px`
    this.video.style.height = `${box.height}px`
  }
}

/** The person's own camera as a picture. */
export function localPicture(track: MediaStreamTrack): Picture {
  return {
    id: track.id,
    attach(video) {
      video.srcObject = new MediaStream([track])
      void video.play().catch(() => undefined) // it plays when the page may
    },
    detach(video) {
      video.srcObject = null
    },
  }
}

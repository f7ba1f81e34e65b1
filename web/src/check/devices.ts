// The part that needs the person: the notice first, then camera and microphone, then a tone. Each device is opened by a
// press that follows the notice and closed by another, or with the page.
import { h, setText } from '../lib/dom'
import { LocalMedia, type Kind } from '../call/media'
import { playTone, watchLevel } from '../call/meter'
import { thisBrowser } from '../call/surroundings'
import type { Page } from './page'
import type { Check } from './report'
import type { Words } from './texts'

/** Above this level somebody speaks; so many times in a row is no click of the table. 0 to 1. */
const voice = 0.35
const voiceTimes = 4
/** How long nobody may be heard before we say so, and how long a camera may take for its first picture, in milliseconds. */
const silentAfter = 10_000
const pictureAfter = 5_000

export class DevicePart {
  readonly element: HTMLElement
  readonly #page: Page
  readonly #w: Words
  #media: LocalMedia | undefined
  #withCamera = true
  #stopLevel: (() => void) | undefined
  #watched: MediaStreamTrack | undefined
  #shown: MediaStreamTrack | undefined
  #silence: ReturnType<typeof setTimeout> | undefined
  #darkness: ReturnType<typeof setTimeout> | undefined

  readonly #notice: HTMLElement
  readonly #skipped: HTMLElement
  readonly #open: HTMLElement
  readonly #asking: HTMLElement
  readonly #video: HTMLVideoElement
  readonly #level: HTMLElement
  readonly #speak: HTMLElement
  readonly #choices: Record<Kind, { row: HTMLElement; select: HTMLSelectElement }>
  readonly #play: HTMLButtonElement
  readonly #heard: HTMLElement

  constructor(page: Page, w: Words) {
    this.#page = page
    this.#w = w
    const button = (text: string, onclick: () => void, look = 'button') => h('button', { class: look, type: 'button', textContent: text, onclick })
    this.#notice = h(
      'div',
      { class: 'notice' },
      h('h3', { textContent: w.notice_title }),
      h('p', { textContent: w.notice_1 }),
      h('p', { textContent: w.notice_2 }),
      h('div', { class: 'buttons' }, button(w.open, () => void this.#start(true), 'button filled'), button(w.only_sound, () => void this.#start(false)), button(w.skip, () => this.#skip())),
    )
    this.#skipped = h('div', { hidden: true }, h('p', { class: 'soft', textContent: w.skipped_devices }), h('div', { class: 'buttons' }, button(w.try_after_all, () => this.#back())))
    this.#asking = h('p', { class: 'asking', hidden: true, textContent: w.asking, attrs: { role: 'status' } })
    this.#video = h('video', { muted: true, autoplay: true, playsInline: true, hidden: true, attrs: { 'aria-label': w.your_picture } })
    this.#level = h('div', { class: 'level', attrs: { role: 'meter', 'aria-label': w.level, 'aria-valuemin': '0', 'aria-valuemax': '100', 'aria-valuenow': '0' } }, h('i'))
    this.#speak = h('div', { class: 'speak', hidden: true }, h('p', { textContent: w.speak }), this.#level)
    this.#choices = { camera: this.#choice('camera', w.which_camera), microphone: this.#choice('microphone', w.which_microphone) }
    this.#open = h(
      'div',
      { class: 'open', hidden: true },
      this.#video,
      this.#choices.camera.row,
      this.#choices.microphone.row,
      this.#speak,
      h('div', { class: 'buttons' }, button(w.again, () => void this.#start(this.#withCamera)), button(w.close_devices, () => this.#close())),
    )
    this.#play = button(w.play, () => void this.#tone())
    this.#heard = h(
      'div',
      { class: 'heard', hidden: true },
      h('p', { textContent: w.heard }),
      h('div', { class: 'buttons' }, button(w.yes, () => this.#hears(true)), button(w.no, () => this.#hears(false))),
    )
    this.element = h(
      'section',
      { class: 'card', attrs: { 'aria-labelledby': 'devices' } },
      h('h2', { id: 'devices', textContent: w.group_devices }),
      this.#notice,
      this.#skipped,
      this.#asking,
      this.#open,
      page.rows(['camera', 'microphone']),
      page.rows(['speaker']),
      h('div', { class: 'buttons' }, this.#play),
      this.#heard,
    )
  }

  /** Closes the devices, and says nothing. */
  stop(): void {
    clearTimeout(this.#silence)
    clearTimeout(this.#darkness)
    this.#stopLevel?.()
    this.#stopLevel = undefined
    this.#watched = this.#shown = undefined
    this.#video.srcObject = null
    this.#media?.stop()
    this.#media = undefined
  }

  #choice(kind: Kind, label: string): { row: HTMLElement; select: HTMLSelectElement } {
    const select = h('select', { id: `choose-${kind}` })
    select.addEventListener('change', () => {
      this.#page.set(kind, { mark: 'running' })
      void this.#media?.choose(kind, select.value)
    })
    return { row: h('div', { class: 'field', hidden: true }, h('label', { htmlFor: select.id, textContent: label }), select), select }
  }

  async #start(withCamera: boolean): Promise<void> {
    this.stop()
    this.#withCamera = withCamera
    this.#notice.hidden = this.#skipped.hidden = true
    this.#open.hidden = false
    this.#page.set('camera', { mark: withCamera ? 'running' : 'skipped' })
    this.#page.set('microphone', { mark: 'running' })
    const media = new LocalMedia(thisBrowser(), { changed: () => this.#draw(), gone: () => this.#draw() }, {})
    this.#media = media
    const patience = setTimeout(() => (this.#asking.hidden = !media.opening), 800)
    await media.start({ camera: withCamera, microphone: true })
    clearTimeout(patience)
    this.#asking.hidden = true
    this.#draw()
  }

  #skip(): void {
    this.#notice.hidden = true
    this.#skipped.hidden = false
    for (const check of ['camera', 'microphone'] as const) this.#page.set(check, { mark: 'skipped' })
    this.#skipped.querySelector('button')?.focus()
  }

  #back(): void {
    this.#skipped.hidden = true
    this.#notice.hidden = false
    for (const check of ['camera', 'microphone'] as const) this.#page.set(check, { mark: 'waiting' })
    this.#notice.querySelector('button')?.focus()
  }

  /** Ends the check of camera and microphone; what was found stays. */
  #close(): void {
    this.stop()
    for (const check of ['camera', 'microphone'] as const) if (this.#page.found[check].mark === 'running') this.#page.set(check, { mark: 'skipped' })
    this.#open.hidden = true
    this.#notice.hidden = false
    this.#notice.querySelector('button')?.focus()
  }

  #draw(): void {
    const media = this.#media
    if (!media) return
    for (const kind of ['camera', 'microphone'] as const) {
      const fault = media.problems[kind]
      if (fault) this.#page.set(kind, { mark: 'bad', fault })
      this.#drawChoice(kind, media)
    }
    this.#drawPicture(media.camera)
    this.#listen(media.microphone)
  }

  #drawChoice(kind: Kind, media: LocalMedia): void {
    const { row, select } = this.#choices[kind]
    const list = media.lists[kind]
    row.hidden = list.length < 2
    const look = JSON.stringify(list)
    if (select.dataset.look !== look) {
      select.dataset.look = look
      select.replaceChildren(...list.map((d) => h('option', { value: d.id, textContent: d.label })))
    }
    select.value = media.chosen(kind)
  }

  #drawPicture(track: MediaStreamTrack | undefined): void {
    if (track === this.#shown) return
    this.#shown = track
    clearTimeout(this.#darkness)
    this.#video.hidden = !track
    this.#video.srcObject = track ? new MediaStream([track]) : null
    if (!track) return
    const found = () => {
      if (this.#shown !== track || this.#video.videoWidth === 0) return
      clearTimeout(this.#darkness)
      const { frameRate = 0 } = track.getSettings()
      const picture = { width: this.#video.videoWidth, height: this.#video.videoHeight, rate: Math.round(frameRate) }
      this.#page.set('camera', { mark: 'good', picture, device: track.label })
    }
    this.#video.onloadeddata = found
    this.#video.onresize = found // a phone that is turned
    this.#darkness = setTimeout(() => this.#page.set('camera', { mark: 'bad', fault: 'no_picture', device: track.label }), pictureAfter)
    void this.#video.play().catch(() => undefined)
  }

  #listen(track: MediaStreamTrack | undefined): void {
    if (track === this.#watched) return
    this.#watched = track
    this.#stopLevel?.()
    clearTimeout(this.#silence)
    this.#speak.hidden = !track
    if (!track) return
    let loud = 0
    this.#silence = setTimeout(() => this.#page.set('microphone', { mark: 'fair', fault: 'silent', device: track.label }), silentAfter)
    this.#stopLevel = watchLevel(track, (level) => {
      this.#level.style.setProperty('--level', String(level))
      this.#level.setAttribute('aria-valuenow', String(Math.round(level * 100)))
      loud = level > voice ? loud + 1 : 0
      if (loud !== voiceTimes || this.#page.found.microphone.mark === 'good') return
      clearTimeout(this.#silence)
      this.#page.set('microphone', { mark: 'good', device: track.label })
    })
  }

  async #tone(): Promise<void> {
    this.#play.disabled = true
    setText(this.#play, this.#w.playing)
    this.#set('speaker', 'running')
    try {
      await playTone('')
    } catch {
      // Not played is not heard: the question below finds out.
    }
    this.#play.disabled = false
    setText(this.#play, this.#w.play)
    this.#heard.hidden = false
    this.#heard.querySelector('button')?.focus()
  }

  #hears(yes: boolean): void {
    this.#heard.hidden = true
    this.#page.set('speaker', yes ? { mark: 'good' } : { mark: 'bad', fault: 'unheard' })
    this.#play.focus()
  }

  #set(check: Check, mark: 'running'): void {
    this.#page.set(check, { mark })
  }
}

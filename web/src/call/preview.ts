// Before joining: how I look, whether I am heard, and with which devices.
import { h, setText } from '../lib/dom'
import { deviceWords } from './explain'
import { icon } from './icons'
import { joinedProblems, type LocalMedia } from './media'
import { button, control, heading, Meter, picker, type View } from './parts'
import { playTone } from './meter'
import { canChooseSpeaker } from './surroundings'
import { localPicture, Tile } from './tile'
import { fill, type Words } from './words'

export interface PreviewOptions {
  w: Words
  media: LocalMedia
  selfName: string
  peerName: string
  /** The page around us may be what forbids a device. */
  framed: boolean
  audioOnly: boolean
  checkUrl?: string
  join(): void
  cancel(): void
  openTop?(): void
}

export class Preview implements View {
  readonly element: HTMLElement
  readonly #o: PreviewOptions
  readonly #title: HTMLElement
  readonly #tile = new Tile(() => undefined)
  readonly #meter: Meter
  readonly #problems = h('div', { class: 'call-problems', attrs: { role: 'status' } })
  readonly #problemsShown = { signature: '' }
  readonly #mic
  readonly #camera
  readonly #pickCamera
  readonly #pickMicrophone
  readonly #pickSpeaker
  readonly #join: HTMLButtonElement
  readonly #asking: HTMLElement
  #track: MediaStreamTrack | undefined
  #picture: ReturnType<typeof localPicture> | undefined

  constructor(o: PreviewOptions) {
    this.#o = o
    const { w, media } = o
    this.#title = heading(w.preview_title)
    this.#meter = new Meter(w)
    this.#mic = control(undefined, () => void media.setMicrophone(!media.microphoneOn), () => undefined)
    this.#camera = control(undefined, () => void media.setCamera(!media.cameraOn), () => undefined)
    this.#pickCamera = picker(w.camera, (id) => void media.choose('camera', id))
    this.#pickMicrophone = picker(w.microphone, (id) => void media.choose('microphone', id), this.#meter.element)
    const test = h('button', { class: 'call-link', type: 'button', textContent: w.speaker_test, onclick: () => void playTone(media.speaker) })
    this.#pickSpeaker = picker(w.speaker, (id) => void media.choose('speaker', id), test)
    this.#join = button(w.join, 'primary', o.join)
    this.#asking = h('p', { class: 'call-asking', attrs: { role: 'status' } })
    this.element = this.#build()
    this.update()
  }

  focus(): void {
    this.#title.focus({ preventScroll: true })
  }

  update(): void {
    const { w, media, selfName, audioOnly } = this.#o
    const { microphoneOn, cameraOn, lists } = media
    this.#mic.set({
      label: microphoneOn ? w.mic_turn_off : w.mic_turn_on,
      text: w.microphone,
      icon: microphoneOn ? 'mic' : 'micOff',
      off: !microphoneOn,
    })
    this.#camera.set({
      label: cameraOn ? w.camera_turn_off : w.camera_turn_on,
      text: w.camera,
      icon: cameraOn ? 'camera' : 'cameraOff',
      off: !cameraOn,
    })
    if (media.camera !== this.#track) {
      this.#track = media.camera
      this.#picture = media.camera && localPicture(media.camera)
    }
    this.#tile.update({
      name: selfName || w.you,
      named: selfName !== '',
      label: cameraOn ? w.self_picture : w.camera_is_off,
      picture: this.#picture,
      mirrored: true,
      whole: false,
      mic: true,
      showMic: false,
      speaking: false,
      weak: '',
      note: '',
    })
    this.#meter.follow(media.microphone)
    setText(this.#asking, media.opening && !media.camera && !media.microphone ? w.asking : '')
    this.#pickCamera.element.hidden = audioOnly && !cameraOn
    const empty = media.opening ? w.loading : w.none_listed
    this.#pickCamera.set(lists.camera, media.chosen('camera'), empty)
    this.#pickMicrophone.set(lists.microphone, media.chosen('microphone'), empty)
    this.#pickSpeaker.element.hidden = !canChooseSpeaker() || lists.speaker.length === 0
    this.#pickSpeaker.set(lists.speaker, media.speaker || (lists.speaker[0]?.id ?? ''), empty)
    setText(this.#join, !microphoneOn && !cameraOn ? w.join_listen : w.join)
    this.#drawProblems()
  }

  destroy(): void {
    this.#meter.stop()
    this.#tile.remove()
    this.element.remove()
  }

  #build(): HTMLElement {
    const { w, peerName, cancel, checkUrl } = this.#o
    const look = h(
      'div',
      { class: 'call-look' },
      this.#tile.element,
      h('div', { class: 'call-look-bar' }, this.#mic.element, this.#camera.element),
    )
    this.#tile.element.classList.add('call-look-tile')
    const who = peerName ? fill(w.preview_with, { name: peerName }) : ''
    const sets = h(
      'div',
      { class: 'call-look-side' },
      this.#title,
      who !== '' && h('p', { class: 'call-soft', textContent: who }),
      this.#asking,
      this.#problems,
      this.#pickMicrophone.element,
      this.#pickCamera.element,
      this.#pickSpeaker.element,
      checkUrl !== undefined && h('p', { class: 'call-soft' }, h('a', { href: checkUrl, target: '_blank', rel: 'noopener', textContent: w.check_link })),
      h('div', { class: 'call-buttons' }, button(w.not_now, 'plain', cancel), this.#join),
    )
    return h('div', { class: 'call-preview' }, h('div', { class: 'call-preview-inner' }, look, sets))
  }

  /** Drawn anew only when something changed: a button must not vanish under the finger. */
  #drawProblems(): void {
    const { w, media, framed, openTop } = this.#o
    const found = joinedProblems(media.problems)
    const signature = JSON.stringify(found)
    if (signature === this.#problemsShown.signature) return
    this.#problemsShown.signature = signature
    this.#problems.replaceChildren(
      ...found.map(({ device, fault }) => {
        const { title, text, retry, top } = deviceWords(w, device, fault, framed && openTop !== undefined)
        const again = () => {
          const camera = device !== 'microphone'
          const microphone = device !== 'camera'
          void media.start({ camera, microphone })
        }
        const acts = h('div', { class: 'call-acts' })
        if (top && openTop) acts.append(button(w.open_top, 'plain', openTop, 'out'))
        if (retry) acts.append(button(w.retry, 'plain', again))
        const words = h('div', {}, h('strong', { textContent: title }), h('p', { textContent: text }))
        if (acts.children.length > 0) words.append(acts)
        return h('div', { class: 'call-problem' }, icon('warn'), words)
      }),
    )
  }
}

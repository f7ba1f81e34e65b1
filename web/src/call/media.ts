// The person's own camera and microphone, from the preview to the end of the call. One place opens devices, and it opens
// none before the notice was acknowledged: whoever makes a LocalMedia has seen to that (promise G16).
import { deviceFault, type Device, type DeviceFault } from './problems'
import type { Browser } from './surroundings'

export type Kind = 'camera' | 'microphone'

export interface DeviceChoice {
  id: string
  label: string
}

export interface DeviceLists {
  camera: DeviceChoice[]
  microphone: DeviceChoice[]
  speaker: DeviceChoice[]
}

/** What was chosen last on this page. It lives in memory only: nothing about devices is stored. */
export interface Choices {
  camera?: string
  microphone?: string
  speaker?: string
}

const thisPage: Choices = {}

export interface MediaEvents {
  /** Anything changed: tracks, lists, problems. */
  changed(): void
  /** A device was taken away while it was on; `replaced`: another one took over. */
  gone(kind: Kind, replaced: boolean): void
}

export class LocalMedia {
  camera: MediaStreamTrack | undefined
  /** Open also while muted, so that unmuting is instant; then it is not enabled and carries silence. */
  microphone: MediaStreamTrack | undefined
  cameraOn = false
  microphoneOn = false
  opening = false
  lists: DeviceLists = { camera: [], microphone: [], speaker: [] }
  readonly problems: Partial<Record<Kind, DeviceFault>> = {}

  #stopped = false
  /**
   * Whether the person wants to be heard, by what they pressed last. Every microphone that opens reads it, whenever that is
   * and whatever for: nobody may be heard who has just muted.
   */
  #heard = true
  #queue: Promise<unknown> = Promise.resolve()
  #watched: PermissionStatus[] = []

  constructor(
    private readonly browser: Browser,
    private readonly on: MediaEvents,
    private readonly choices: Choices = thisPage,
  ) {
    browser.devices?.addEventListener?.('devicechange', this.#listChanged)
  }

  get speaker(): string {
    return this.choices.speaker ?? ''
  }

  /** The device in use, or the one that is going to be. */
  chosen(kind: Kind | 'speaker'): string {
    const track = kind === 'speaker' ? undefined : this[kind]
    return track?.getSettings().deviceId ?? this.choices[kind] ?? ''
  }

  /** Opens what is wanted. What cannot be opened is off afterwards, with its reason in `problems`. */
  start(wanted: { camera: boolean; microphone: boolean }): Promise<void> {
    return this.#run(async () => {
      const kinds = (['camera', 'microphone'] as const).filter((kind) => wanted[kind] && !this[kind])
      if (kinds.length > 0) await this.#open(kinds)
      await this.#list()
    })
  }

  setCamera(on: boolean): Promise<void> {
    return this.#run(async () => {
      if (!on) {
        this.#release('camera')
        delete this.problems.camera
        this.cameraOn = false
      } else if (!this.camera) {
        await this.#open(['camera'])
        await this.#list()
      }
    })
  }

  /** At once, and not after whatever the devices are busy with: nobody may be heard who has just muted. */
  setMicrophone(on: boolean): Promise<void> {
    this.#heard = on
    if (this.microphone) {
      this.microphone.enabled = on
      this.microphoneOn = on
      this.on.changed()
      return Promise.resolve()
    }
    if (!on) {
      this.microphoneOn = false
      delete this.problems.microphone
      this.on.changed()
      return Promise.resolve()
    }
    return this.#run(async () => {
      if (this.microphone || !this.#heard) return // it opened meanwhile, or is not wanted any more
      await this.#open(['microphone'])
      await this.#list()
    })
  }

  /** Takes another device. When it does not open, the one before it is taken back. */
  choose(kind: Kind | 'speaker', id: string): Promise<void> {
    if (kind === 'speaker') {
      this.choices.speaker = id
      this.on.changed()
      return Promise.resolve()
    }
    return this.#run(async () => {
      const before = this[kind]?.getSettings().deviceId ?? this.choices[kind]
      this.choices[kind] = id
      if (!this[kind] && !this.problems[kind]) return // off: it is opened when it is switched on
      // The old one first: some browsers end both when two are open.
      this.#release(kind)
      await this.#open([kind])
      const fault = this.problems[kind]
      if (fault && before !== undefined && before !== id) {
        this.choices[kind] = before
        await this.#open([kind])
        if (!this.problems[kind]) this.problems[kind] = fault
      }
      await this.#list()
    })
  }

  /** Opens again what was on and was closed behind our back, by the media library when the page seemed to go away. */
  revive(): void {
    const dead = (['camera', 'microphone'] as const).filter((kind) => this[kind]?.readyState === 'ended')
    if (dead.length === 0) return
    const wanted = { camera: dead.includes('camera'), microphone: dead.includes('microphone') }
    for (const kind of dead) this.#release(kind)
    void this.start(wanted)
  }

  /** Closes everything, for good. A device that opens later than this is closed at once. */
  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.browser.devices?.removeEventListener?.('devicechange', this.#listChanged)
    for (const status of this.#watched) status.onchange = null
    this.#release('camera')
    this.#release('microphone')
    this.cameraOn = this.microphoneOn = false
  }

  /** One after the other: two requests at once confuse browsers, and people who are asked twice. */
  #run(work: () => Promise<void>): Promise<void> {
    const next = this.#queue.then(async () => {
      if (this.#stopped) return
      this.opening = true
      this.on.changed()
      try {
        await work()
      } finally {
        this.opening = false
        if (!this.#stopped) this.on.changed()
      }
    })
    this.#queue = next.catch(() => undefined)
    return next
  }

  async #open(kinds: readonly Kind[]): Promise<void> {
    const { devices, secure } = this.browser
    // What the pages around us forbid is not asked for: the rest must not fail with it.
    const free = kinds.filter((kind) => this.browser.allowed(kind) !== false)
    for (const kind of kinds) {
      if (!secure || !devices?.getUserMedia) this.#fail(kind, secure ? 'unsupported' : 'insecure')
      else if (!free.includes(kind)) this.#fail(kind, 'page')
    }
    if (!secure || !devices?.getUserMedia || free.length === 0) return
    try {
      const stream = await devices.getUserMedia(this.#constraints(free))
      for (const track of stream.getTracks()) this.#adopt(track.kind === 'video' ? 'camera' : 'microphone', track)
    } catch (error) {
      if (free.length > 1) await this.#openEach(free, error)
      else if (free[0]) await this.#openOther(free[0], error)
    }
  }

  /** Together they failed: finds out which one is at fault, without asking a person again who has just said no. */
  async #openEach(kinds: readonly Kind[], error: unknown): Promise<void> {
    const name = (error as { name?: string } | null)?.name
    for (const kind of kinds) {
      const status = name === 'NotAllowedError' ? await this.browser.permission(kind) : undefined
      if (name === 'NotAllowedError' && status?.state !== 'granted') await this.#failWith(kind, error, status)
      else await this.#open([kind])
    }
  }

  /** A chosen device may be gone since: then any other one is better than none. */
  async #openOther(kind: Kind, error: unknown): Promise<void> {
    const name = (error as { name?: string } | null)?.name ?? ''
    if (this.choices[kind] !== undefined && /^(OverconstrainedError|NotFoundError)$/.test(name)) {
      delete this.choices[kind]
      await this.#open([kind])
      return
    }
    await this.#failWith(kind, error, await this.browser.permission(kind))
  }

  #constraints(kinds: readonly Kind[]): MediaStreamConstraints {
    const id = (kind: Kind) => (this.choices[kind] ? { deviceId: { exact: this.choices[kind] } } : undefined)
    return {
      audio: kinds.includes('microphone') && {
        echoCancellation: true,
        noiseSuppression: true,
        autoGainControl: true,
        ...id('microphone'),
      },
      video: kinds.includes('camera') && {
        width: { ideal: 1280 },
        height: { ideal: 720 },
        frameRate: { ideal: 30, max: 30 },
        ...(id('camera') ?? { facingMode: 'user' }),
      },
    }
  }

  #adopt(kind: Kind, track: MediaStreamTrack): void {
    if (this.#stopped) {
      track.stop()
      return
    }
    this.#release(kind)
    this[kind] = track
    delete this.problems[kind]
    if (kind === 'camera') this.cameraOn = true
    else track.enabled = this.microphoneOn = this.#heard
    track.addEventListener('ended', () => void this.#ended(kind, track))
  }

  async #ended(kind: Kind, track: MediaStreamTrack): Promise<void> {
    if (this[kind] !== track || this.#stopped) return
    await this.#run(async () => {
      if (this[kind] !== track) return
      this.#release(kind)
      const status = await this.browser.permission(kind)
      if (status?.state === 'denied') {
        await this.#failWith(kind, { name: 'NotAllowedError' }, status)
        this.on.gone(kind, false)
        return
      }
      delete this.choices[kind]
      if (kind === 'microphone') {
        // Another microphone is what everybody expects. Another camera might look where nobody wants it to.
        await this.#open([kind])
        if (this.microphone) {
          this.on.gone(kind, true)
          await this.#list()
          return
        }
      }
      this.#fail(kind, 'gone')
      this.on.gone(kind, false)
      await this.#list()
    })
  }

  async #failWith(kind: Kind, error: unknown, status: PermissionStatus | undefined): Promise<void> {
    const { secure, devices } = this.browser
    const around = { secure, able: !!devices?.getUserMedia, allowed: this.browser.allowed(kind), permission: status?.state }
    this.#fail(kind, deviceFault(error, around))
    if (!status || this.#stopped) return
    // Allowed in the browser's own settings meanwhile: no need to press anything here as well.
    this.#watched.push(status)
    status.onchange = () => {
      if (status.state !== 'granted' || !this.problems[kind]) return
      status.onchange = null
      void this.start({ camera: kind === 'camera', microphone: kind === 'microphone' })
    }
  }

  #fail(kind: Kind, fault: DeviceFault): void {
    this.problems[kind] = fault
    if (kind === 'camera') this.cameraOn = false
    else this.microphoneOn = false
  }

  #release(kind: Kind): void {
    const track = this[kind]
    this[kind] = undefined
    track?.stop()
  }

  readonly #listChanged = () => void this.#list().then(() => this.#stopped || this.on.changed())

  /** Asks for no permission: without one the names are empty, and the lists stay so. */
  async #list(): Promise<void> {
    const all = (await this.browser.devices?.enumerateDevices?.().catch(() => [])) ?? []
    const of = (kind: MediaDeviceKind) =>
      all.filter((d) => d.kind === kind && d.deviceId !== '' && d.label !== '').map((d) => ({ id: d.deviceId, label: d.label }))
    this.lists = { camera: of('videoinput'), microphone: of('audioinput'), speaker: of('audiooutput') }
  }
}

/** The two problems as one, when they are the same: nobody wants to read it twice. */
export function joinedProblems(problems: Partial<Record<Kind, DeviceFault>>): { device: Device; fault: DeviceFault }[] {
  const { camera, microphone } = problems
  if (camera && camera === microphone) return [{ device: 'both', fault: camera }]
  const out: { device: Device; fault: DeviceFault }[] = []
  if (microphone) out.push({ device: 'microphone', fault: microphone })
  if (camera) out.push({ device: 'camera', fault: camera })
  return out
}

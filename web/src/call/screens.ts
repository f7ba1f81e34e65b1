// Picture in picture and full screen, where the browser and the pages around us let us.

/** The small window that stays on top while the person looks at something else. */
export class SmallWindow {
  #video: HTMLVideoElement | undefined
  #busy = false

  constructor(
    private readonly main: () => HTMLVideoElement | undefined,
    private readonly changed: () => void,
  ) {
    document.addEventListener('leavepictureinpicture', this.#left, true)
  }

  get possible(): boolean {
    return document.pictureInPictureEnabled === true
  }

  get on(): boolean {
    return this.#video !== undefined && document.pictureInPictureElement === this.#video
  }

  toggle(): void {
    if (this.on) void document.exitPictureInPicture().catch(() => undefined)
    else void this.#enter(this.main())
  }

  /** When another picture has become the main one, the small window shows that: once it is open, it may. */
  follow(): void {
    if (!this.on || this.#busy) return
    const main = this.main()
    if (!main) void document.exitPictureInPicture().catch(() => undefined)
    else if (main !== this.#video && main.readyState >= HTMLMediaElement.HAVE_METADATA) void this.#enter(main)
  }

  destroy(): void {
    document.removeEventListener('leavepictureinpicture', this.#left, true)
    if (this.on) void document.exitPictureInPicture().catch(() => undefined)
    this.#video = undefined
  }

  async #enter(video: HTMLVideoElement | undefined): Promise<void> {
    if (!video || this.#busy) return
    this.#busy = true
    try {
      await video.requestPictureInPicture()
      this.#video = video
    } catch {
      // Not allowed after all, or no frame has arrived yet: the picture stays where it is.
    } finally {
      this.#busy = false
      this.changed()
    }
  }

  readonly #left = () => {
    if (!this.#busy) this.changed()
  }
}

export class FullScreen {
  constructor(
    private readonly root: HTMLElement,
    private readonly changed: () => void,
  ) {
    document.addEventListener('fullscreenchange', this.changed)
  }

  get possible(): boolean {
    return document.fullscreenEnabled === true && typeof this.root.requestFullscreen === 'function'
  }

  get on(): boolean {
    return document.fullscreenElement === this.root
  }

  toggle(): void {
    if (this.on) void document.exitFullscreen().catch(() => undefined)
    else void this.root.requestFullscreen().catch(() => undefined)
  }

  destroy(): void {
    document.removeEventListener('fullscreenchange', this.changed)
    if (this.on) void document.exitFullscreen().catch(() => undefined)
  }
}

/** Keeps the screen of a phone on while the call lasts. */
export class Awake {
  #lock: WakeLockSentinel | undefined
  #wanted = false

  set(on: boolean): void {
    if (on === this.#wanted) return
    this.#wanted = on
    if (on) {
      document.addEventListener('visibilitychange', this.#take)
      void this.#take()
    } else {
      document.removeEventListener('visibilitychange', this.#take)
      void this.#lock?.release().catch(() => undefined)
      this.#lock = undefined
    }
  }

  /** The browser takes the lock away when the page is hidden; it has to be taken again. */
  readonly #take = async () => {
    if (!this.#wanted || document.visibilityState !== 'visible' || !('wakeLock' in navigator)) return
    try {
      const lock = await navigator.wakeLock.request('screen')
      if (this.#wanted) this.#lock = lock
      else await lock.release()
    } catch {
      // Not allowed here, or the battery is low: the screen does what it always does.
    }
  }
}

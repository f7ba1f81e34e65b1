// The room itself: the only file that knows the media library. It loads with it, lazily, while the person reads the
// notice or looks at the preview.
import {
  ConnectionQuality,
  DisconnectReason,
  getLogger,
  LocalAudioTrack,
  LocalVideoTrack,
  LoggerNames,
  LogLevel,
  Room,
  RoomEvent,
  Track,
  isBrowserSupported,
  type LocalTrackPublication,
  type Participant,
  type RemoteTrack,
} from 'livekit-client'
import type { LocalMedia } from './media'
import { serverUrl, type Person, type Picture, type Quality } from './people'
import { dropOf, joinFault, type Drop, type JoinFault } from './problems'
import type { JoinGrant } from './types'

// What the library writes to the console names participants and addresses. The default level is not stored; its own
// setLogLevel would leave an entry in the browser's storage that nobody declared.
getLogger(LoggerNames.Default).setDefaultLevel(LogLevel.silent)

export interface LinkEvents {
  /** Who is there, ourselves left out, in the order in which they came. */
  people(others: Person[]): void
  /** Our own part as the room sees it. */
  self(speaking: boolean, quality: Quality, sharing: boolean): void
  reconnecting(): void
  reconnected(): void
  dropped(drop: Drop): void
  /** The browser plays no sound before the person touches the page. */
  soundBlocked(blocked: boolean): void
  /** Somebody who may has muted our microphone. */
  mutedByHost(): void
  publishFailed(kind: 'camera' | 'microphone' | 'screen'): void
}

/** Joining failed, for this reason. */
export class JoinError extends Error {
  constructor(readonly fault: JoinFault) {
    super(fault)
  }
}

export class Link {
  readonly #room: Room
  /** Sound of the others. It is in the document, because some browsers play nothing that is not. */
  readonly sounds = document.createElement('div')
  #closing = false
  #connected = false
  #signalled = false
  #syncing: Promise<void> = Promise.resolve()
  #told = false
  #pictures = new WeakMap<object, Picture>()
  #sharing: MediaStreamTrack[] = []

  constructor(
    private readonly media: LocalMedia,
    private readonly on: LinkEvents,
  ) {
    this.#room = new Room({
      singlePeerConnection: false,
      adaptiveStream: true,
      dynacast: true,
      disconnectOnPageLeave: true,
      // The devices are ours: after a loss they go into the next room as they are.
      stopLocalTrackOnUnpublish: false,
      publishDefaults: { simulcast: true, videoCodec: 'vp8', backupCodec: false, red: false, dtx: true },
      audioOutput: media.speaker ? { deviceId: media.speaker } : {},
    })
    this.sounds.hidden = true
    this.#listen()
  }

  static get supported(): boolean {
    return isBrowserSupported()
  }

  /** Enters the room and brings in what is open. Throws a JoinError. */
  async enter(grant: JoinGrant): Promise<void> {
    if (!Link.supported) throw new JoinError('unsupported')
    try {
      await this.#room.connect(serverUrl(grant.url, location.href), grant.token, { autoSubscribe: true })
    } catch (error) {
      const context = (error as { context?: unknown } | null)?.context
      const reason = typeof context === 'number' ? DisconnectReason[context] : undefined
      throw new JoinError(joinFault(error, { online: navigator.onLine, signalled: this.#signalled, reason }))
    }
    if (this.#closing) return
    this.#connected = true
    this.#tell()
    this.sync()
  }

  /** Brings what is published in line with the devices. Calls run one after the other, each with the newest state. */
  sync(): void {
    this.#syncing = this.#syncing.then(async () => {
      if (!this.#connected || this.#closing) return
      await this.#syncMicrophone().catch(() => this.#failed('microphone'))
      await this.#syncCamera().catch(() => this.#failed('camera'))
    })
  }

  get canShare(): boolean {
    return this.#connected && !this.#closing
  }

  /** Asks for a screen and shows it. Throws what the browser throws when the person refuses. */
  async share(): Promise<void> {
    const options: DisplayMediaStreamOptions & Record<string, unknown> = {
      video: { width: { max: 1920 }, height: { max: 1080 }, frameRate: { max: 30 } },
      audio: true,
      selfBrowserSurface: 'exclude', // a picture of the call in the call in the call helps nobody
      surfaceSwitching: 'include',
    }
    const stream = await navigator.mediaDevices.getDisplayMedia(options)
    const [video] = stream.getVideoTracks()
    if (!video || !this.canShare) {
      for (const track of stream.getTracks()) track.stop()
      return
    }
    video.contentHint = 'detail' // letters stay sharp, even if fewer frames a second get through
    this.#sharing = stream.getTracks()
    video.addEventListener('ended', () => void this.unshare())
    const local = this.#room.localParticipant
    try {
      await local.publishTrack(new LocalVideoTrack(video, undefined, true), { source: Track.Source.ScreenShare })
    } catch {
      await this.unshare()
      this.#failed('screen')
      return
    }
    const [audio] = stream.getAudioTracks()
    if (!audio) return
    // The screen is the thing; should its sound not be allowed, it is shown without.
    await local
      .publishTrack(new LocalAudioTrack(audio, undefined, true), { source: Track.Source.ScreenShareAudio, dtx: false })
      .catch(() => audio.stop())
  }

  async unshare(): Promise<void> {
    const stopped = this.#sharing
    this.#sharing = []
    for (const track of stopped) track.stop()
    const local = this.#room.localParticipant
    for (const source of [Track.Source.ScreenShare, Track.Source.ScreenShareAudio]) {
      const track = local.getTrackPublication(source)?.track
      if (track) await local.unpublishTrack(track, true).catch(() => undefined)
    }
    this.#tell()
  }

  setSpeaker(id: string): void {
    void this.#room.switchActiveDevice('audiooutput', id).catch(() => undefined)
  }

  /** Must be called from a click. */
  startSound(): void {
    void this.#room.startAudio().catch(() => undefined)
    void this.#room.startVideo().catch(() => undefined)
  }

  /** Leaves. The devices stay as they are: closing them is their owner's doing. */
  async close(): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    for (const track of this.#sharing) track.stop()
    this.sounds.remove()
    await this.#room.disconnect(false).catch(() => undefined)
  }

  #listen(): void {
    const room = this.#room
    const tell = () => this.#tell()
    for (const event of [
      RoomEvent.ParticipantConnected,
      RoomEvent.ParticipantDisconnected,
      RoomEvent.TrackPublished,
      RoomEvent.TrackUnpublished,
      RoomEvent.TrackMuted,
      RoomEvent.TrackUnmuted,
      RoomEvent.TrackStreamStateChanged,
      RoomEvent.ActiveSpeakersChanged,
      RoomEvent.ConnectionQualityChanged,
      RoomEvent.LocalTrackPublished,
      RoomEvent.LocalTrackUnpublished,
    ] as const)
      room.on(event, tell)
    room
      .on(RoomEvent.SignalConnected, () => (this.#signalled = true))
      .on(RoomEvent.TrackSubscribed, (track) => this.#play(track))
      .on(RoomEvent.TrackUnsubscribed, (track) => {
        for (const element of track.detach()) if (track.kind === Track.Kind.Audio) element.remove()
        this.#tell()
      })
      .on(RoomEvent.TrackMuted, (publication, participant) => {
        const mine = participant === room.localParticipant && publication.source === Track.Source.Microphone
        // The library also mutes a microphone that was unplugged: that is told otherwise.
        const works = this.media.microphoneOn && this.media.microphone?.readyState === 'live'
        if (mine && works) this.on.mutedByHost()
      })
      .on(RoomEvent.SignalReconnecting, () => this.on.reconnecting())
      .on(RoomEvent.Reconnecting, () => this.on.reconnecting())
      .on(RoomEvent.Reconnected, () => {
        this.on.reconnected()
        this.#tell()
        this.sync()
      })
      .on(RoomEvent.AudioPlaybackStatusChanged, () => this.on.soundBlocked(!room.canPlaybackAudio))
      .on(RoomEvent.Disconnected, (reason) => this.#gone(reason))
  }

  #gone(reason: DisconnectReason | undefined): void {
    const was = this.#connected
    this.#connected = false
    for (const track of this.#sharing) track.stop()
    this.#sharing = []
    if (this.#closing || !was) return // our own doing, or a failed attempt, which throws
    const drop = dropOf(reason === undefined ? undefined : DisconnectReason[reason])
    // The library leaves by itself when the page seems to go away. When it did not, we are still in the call.
    this.on.dropped(drop === 'left' ? 'lost' : drop)
  }

  #failed(kind: 'camera' | 'microphone' | 'screen'): void {
    // While the connection is being mended, publishing fails and is repeated: that is no news.
    if (this.#connected && !this.#closing && this.#room.state === 'connected') this.on.publishFailed(kind)
  }

  async #syncMicrophone(): Promise<void> {
    const local = this.#room.localParticipant
    const published = local.getTrackPublication(Track.Source.Microphone) as LocalTrackPublication | undefined
    const wanted = this.media.microphone
    if (!wanted) {
      await published?.track?.mute()
      return
    }
    if (!published?.track) {
      const track = new LocalAudioTrack(wanted, undefined, true)
      if (!this.media.microphoneOn) await track.mute() // into the room as muted: nobody hears the moment before
      await local.publishTrack(track, { source: Track.Source.Microphone })
    } else if (published.track.mediaStreamTrack !== wanted) {
      await published.track.replaceTrack(wanted, true)
    }
    const now = local.getTrackPublication(Track.Source.Microphone) as LocalTrackPublication | undefined
    if (this.media.microphoneOn) await now?.track?.unmute()
    else await now?.track?.mute()
  }

  async #syncCamera(): Promise<void> {
    const local = this.#room.localParticipant
    const published = local.getTrackPublication(Track.Source.Camera) as LocalTrackPublication | undefined
    const wanted = this.media.camera
    if (!wanted) {
      await published?.track?.mute()
      return
    }
    if (!published?.track) {
      await local.publishTrack(new LocalVideoTrack(wanted, undefined, true), { source: Track.Source.Camera })
      return
    }
    if (published.track.mediaStreamTrack !== wanted) await published.track.replaceTrack(wanted, true)
    await published.track.unmute()
  }

  #play(track: RemoteTrack): void {
    if (track.kind === Track.Kind.Audio) this.sounds.append(track.attach())
    this.#tell()
  }

  /** Tells the newest state once, however many events led to it. */
  #tell(): void {
    if (this.#told) return
    this.#told = true
    queueMicrotask(() => {
      this.#told = false
      if (this.#closing || !this.#connected) return
      const { localParticipant: local, remoteParticipants } = this.#room
      const others = [...remoteParticipants.values()].sort((a, b) => (a.joinedAt?.getTime() ?? 0) - (b.joinedAt?.getTime() ?? 0))
      this.on.people(others.map((p) => this.#person(p)))
      const sharing = local.getTrackPublication(Track.Source.ScreenShare) !== undefined
      this.on.self(local.isSpeaking, this.#quality(local), sharing)
    })
  }

  #person(p: Participant): Person {
    return {
      identity: p.identity,
      self: false,
      mic: p.isMicrophoneEnabled,
      hasMic: p.getTrackPublication(Track.Source.Microphone) !== undefined,
      camera: this.#picture(p, Track.Source.Camera),
      screen: this.#picture(p, Track.Source.ScreenShare),
      paused: p.getTrackPublication(Track.Source.Camera)?.track?.streamState === Track.StreamState.Paused,
      speaking: p.isSpeaking,
      quality: this.#quality(p),
    }
  }

  #quality(p: Participant): Quality {
    switch (p.connectionQuality) {
      case ConnectionQuality.Excellent:
      case ConnectionQuality.Good:
        return 'good'
      case ConnectionQuality.Poor:
        return 'poor'
      case ConnectionQuality.Lost:
        return 'lost'
      default:
        return 'unknown'
    }
  }

  #picture(p: Participant, source: Track.Source): Picture | undefined {
    const publication = p.getTrackPublication(source)
    const track = publication?.videoTrack
    if (!track || publication?.isMuted) return undefined
    let picture = this.#pictures.get(track)
    if (!picture) {
      picture = {
        id: publication.trackSid,
        attach: (video) => void track.attach(video),
        detach: (video) => void track.detach(video),
      }
      this.#pictures.set(track, picture)
    }
    return picture
  }
}

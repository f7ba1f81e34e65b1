import { describe, expect, it } from 'vitest'
import { joinedProblems, LocalMedia, type Choices, type Kind } from './media'
import type { Browser } from './surroundings'

class FakeTrack extends EventTarget {
  enabled = true
  readyState: 'live' | 'ended' = 'live'
  constructor(readonly kind: 'audio' | 'video', readonly deviceId: string) {
    super()
  }
  getSettings() {
    return { deviceId: this.deviceId }
  }
  stop() {
    this.readyState = 'ended'
  }
  /** The device is unplugged. */
  unplug() {
    this.readyState = 'ended'
    this.dispatchEvent(new Event('ended'))
  }
}

type Fault = { name: string; message?: string }

/** A machine with devices, and a person who answers the browser's question. */
class Machine {
  asked: string[] = []
  devices: Record<Kind, string[]> = { camera: ['cam1', 'cam2'], microphone: ['mic1', 'mic2'] }
  faults: Partial<Record<Kind, Fault>> = {}
  permissions: Partial<Record<Kind, { state: PermissionState; onchange: (() => void) | null }>> = {}
  policy: Partial<Record<string, boolean>> = {}
  secure = true
  tracks: FakeTrack[] = []
  hold: Promise<void> | undefined

  browser(): Browser {
    const devices = Object.assign(new EventTarget(), {
      getUserMedia: (c: MediaStreamConstraints) => this.open(c),
      enumerateDevices: () =>
        Promise.resolve(
          [
            ...this.devices.camera.map((id) => ['videoinput', id]),
            ...this.devices.microphone.map((id) => ['audioinput', id]),
            ['audiooutput', 'spk'],
          ].map(([kind, deviceId]) => ({ kind, deviceId, label: `Label ${deviceId}` })),
        ),
    })
    return {
      secure: this.secure,
      framed: false,
      phone: false,
      devices: devices as unknown as MediaDevices,
      allowed: (feature) => this.policy[feature],
      permission: (kind) => Promise.resolve(this.permissions[kind] as PermissionStatus | undefined),
    }
  }

  async open(c: MediaStreamConstraints) {
    const kinds = ([c.audio && 'microphone', c.video && 'camera'] as const).filter(Boolean) as Kind[]
    this.asked.push(kinds.join('+'))
    await this.hold
    const tracks = kinds.map((kind) => {
      const fault = this.faults[kind]
      if (fault) throw Object.assign(new Error(fault.message ?? ''), { name: fault.name })
      const wanted = (kind === 'camera' ? c.video : c.audio) as MediaTrackConstraints
      const id = (wanted.deviceId as { exact?: string } | undefined)?.exact
      if (id !== undefined && !this.devices[kind].includes(id)) throw Object.assign(new Error(), { name: 'OverconstrainedError' })
      const first = id ?? this.devices[kind][0]
      if (first === undefined) throw Object.assign(new Error(), { name: 'NotFoundError' })
      return new FakeTrack(kind === 'camera' ? 'video' : 'audio', first)
    })
    this.tracks.push(...tracks)
    return { getTracks: () => tracks }
  }
}

function start(machine: Machine, choices: Choices = {}) {
  const gone: string[] = []
  const media = new LocalMedia(machine.browser(), { changed: () => undefined, gone: (kind, replaced) => gone.push(`${kind} ${replaced}`) }, choices)
  return { media, gone, choices }
}

const both = { camera: true, microphone: true }
const fake = (track: MediaStreamTrack | undefined) => track as unknown as FakeTrack

describe('LocalMedia', () => {
  it('opens nothing by itself', async () => {
    const m = new Machine()
    start(m)
    await Promise.resolve()
    expect(m.asked).toEqual([])
  })

  it('asks once for both', async () => {
    const m = new Machine()
    const { media } = start(m)
    await media.start(both)
    expect(m.asked).toEqual(['microphone+camera'])
    expect(media).toMatchObject({ cameraOn: true, microphoneOn: true, opening: false, problems: {} })
    expect(media.lists.camera).toEqual([{ id: 'cam1', label: 'Label cam1' }, { id: 'cam2', label: 'Label cam2' }])
    await media.start(both)
    expect(m.asked).toHaveLength(1)
  })

  it('does not ask for the camera in a voice call', async () => {
    const m = new Machine()
    const { media } = start(m)
    await media.start({ camera: false, microphone: true })
    expect(m.asked).toEqual(['microphone'])
    expect(media.cameraOn).toBe(false)
  })

  it('takes what it can get when one of them is busy or missing', async () => {
    const m = new Machine()
    m.faults = { camera: { name: 'NotReadableError' } }
    const { media } = start(m)
    await media.start(both)
    expect(media).toMatchObject({ microphoneOn: true, cameraOn: false, problems: { camera: 'busy' } })
    m.faults = {}
    await media.setCamera(true)
    expect(media).toMatchObject({ cameraOn: true, problems: {} })

    const bare = new Machine()
    bare.devices = { camera: [], microphone: [] }
    const second = start(bare)
    await second.media.start(both)
    expect(joinedProblems(second.media.problems)).toEqual([{ device: 'both', fault: 'none' }])
  })

  it('does not ask again whoever has just said no', async () => {
    const m = new Machine()
    m.faults = { camera: { name: 'NotAllowedError', message: 'Permission denied' }, microphone: { name: 'NotAllowedError', message: 'Permission denied' } }
    const { media } = start(m)
    await media.start(both)
    expect(m.asked).toEqual(['microphone+camera'])
    expect(media.problems).toEqual({ camera: 'denied', microphone: 'denied' })
  })

  it('opens the one that is allowed when only the other is not', async () => {
    const m = new Machine()
    m.faults = { camera: { name: 'NotAllowedError', message: 'Permission denied' } }
    m.permissions = { camera: { state: 'denied', onchange: null }, microphone: { state: 'granted', onchange: null } }
    const { media } = start(m)
    await media.start(both)
    expect(m.asked).toEqual(['microphone+camera', 'microphone'])
    expect(media).toMatchObject({ microphoneOn: true, problems: { camera: 'denied' } })
    // Allowed in the browser's settings meanwhile: the camera opens by itself.
    m.faults = {}
    const status = m.permissions.camera!
    status.state = 'granted'
    status.onchange?.()
    await media.start({ camera: false, microphone: false })
    expect(media).toMatchObject({ cameraOn: true, problems: {} })
  })

  it('asks for nothing that the page around forbids', async () => {
    const m = new Machine()
    m.policy = { camera: false }
    const { media } = start(m)
    await media.start(both)
    expect(m.asked).toEqual(['microphone'])
    expect(media.problems).toEqual({ camera: 'page' })
  })

  it('says so on a page that is not secure', async () => {
    const m = new Machine()
    m.secure = false
    const { media } = start(m)
    await media.start(both)
    expect(m.asked).toEqual([])
    expect(media.problems).toEqual({ camera: 'insecure', microphone: 'insecure' })
  })

  it('mutes at once, also while a camera is being opened', async () => {
    const m = new Machine()
    const { media } = start(m)
    await media.start({ camera: false, microphone: true })
    let open = () => undefined as void
    m.hold = new Promise((done) => (open = done))
    const camera = media.setCamera(true)
    void media.setMicrophone(false)
    expect(fake(media.microphone).enabled).toBe(false)
    expect(media.microphoneOn).toBe(false)
    open()
    await camera
    expect(media).toMatchObject({ cameraOn: true, microphoneOn: false })
    expect(fake(media.microphone).readyState).toBe('live')
  })

  it('closes the camera when it is switched off: its light goes out', async () => {
    const m = new Machine()
    const { media } = start(m)
    await media.start(both)
    const track = fake(media.camera)
    await media.setCamera(false)
    expect(track.readyState).toBe('ended')
    expect(media.camera).toBeUndefined()
  })

  it('takes another device, and keeps a muted microphone muted', async () => {
    const m = new Machine()
    const { media, choices } = start(m)
    await media.start(both)
    await media.setMicrophone(false)
    await media.choose('microphone', 'mic2')
    expect(fake(media.microphone)).toMatchObject({ deviceId: 'mic2', enabled: false })
    await media.choose('camera', 'cam2')
    expect(media.chosen('camera')).toBe('cam2')
    expect(m.tracks.filter((t) => t.readyState === 'live').map((t) => t.deviceId)).toEqual(['mic2', 'cam2'])
    expect(choices).toMatchObject({ microphone: 'mic2', camera: 'cam2' })
  })

  it('goes back to the device before when the other one does not open', async () => {
    const m = new Machine()
    const { media } = start(m)
    await media.start(both)
    const open = m.open.bind(m)
    m.open = (c) => ((c.video as MediaTrackConstraints | undefined)?.deviceId ? JSON.stringify(c.video).includes('cam2') : false) ? Promise.reject(Object.assign(new Error(), { name: 'NotReadableError' })) : open(c)
    await media.choose('camera', 'cam2')
    expect(media.chosen('camera')).toBe('cam1')
    expect(media).toMatchObject({ cameraOn: true, problems: { camera: 'busy' } })
  })

  /** Opens a microphone no sooner than it is told to. */
  function held(m: Machine) {
    let open = () => undefined as void
    m.hold = new Promise((done) => (open = done))
    return () => open()
  }
  const idle = (media: LocalMedia) => media.start({ camera: false, microphone: false })

  it('leaves a muted microphone muted when another one does not open', async () => {
    const m = new Machine()
    const { media } = start(m)
    await media.start(both)
    await media.setMicrophone(false)
    const open = m.open.bind(m)
    m.open = (c) => (JSON.stringify(c.audio ?? '').includes('mic2') ? Promise.reject(Object.assign(new Error(), { name: 'NotReadableError' })) : open(c))
    await media.choose('microphone', 'mic2')
    expect(media).toMatchObject({ microphoneOn: false, problems: { microphone: 'busy' } })
    expect(fake(media.microphone)).toMatchObject({ deviceId: 'mic1', enabled: false })
  })

  it('is heard by the microphone that was chosen instead of one that failed', async () => {
    const m = new Machine()
    m.faults = { microphone: { name: 'NotReadableError' } }
    const { media } = start(m)
    await media.start(both)
    m.faults = {}
    await media.choose('microphone', 'mic2')
    expect(media).toMatchObject({ microphoneOn: true, problems: {} })
    expect(fake(media.microphone)).toMatchObject({ deviceId: 'mic2', enabled: true })
  })

  it('hears nobody who mutes while a microphone is chosen', async () => {
    const m = new Machine()
    const { media } = start(m)
    await media.start(both)
    const open = held(m)
    const chosen = media.choose('microphone', 'mic2')
    await new Promise<void>((resolve) => setImmediate(resolve))
    expect(media.microphone).toBeUndefined() // the old one is closed, the new one not open yet
    await media.setMicrophone(false)
    open()
    await chosen
    expect(fake(media.microphone)).toMatchObject({ deviceId: 'mic2', enabled: false })
    expect(media.microphoneOn).toBe(false)
    await media.setMicrophone(true)
    expect(fake(media.microphone).enabled).toBe(true)
  })

  it('hears nobody who mutes while an unplugged microphone is replaced, or while one is opened', async () => {
    const m = new Machine()
    const { media } = start(m)
    await media.start(both)
    const open = held(m)
    fake(media.microphone).unplug()
    await new Promise<void>((resolve) => setImmediate(resolve))
    await media.setMicrophone(false)
    open()
    await idle(media)
    await idle(media)
    expect(fake(media.microphone)).toMatchObject({ enabled: false, readyState: 'live' })
    expect(media.microphoneOn).toBe(false)

    const again = new Machine()
    const second = start(again).media
    const late = held(again)
    const opened = second.start(both)
    await Promise.resolve()
    await second.setMicrophone(false)
    late()
    await opened
    expect(fake(second.microphone).enabled).toBe(false)
    expect(second.microphoneOn).toBe(false)
  })

  it('opens no microphone for who has changed their mind', async () => {
    const m = new Machine()
    const { media } = start(m)
    const open = held(m)
    void media.setCamera(true)
    const on = media.setMicrophone(true)
    void media.setMicrophone(false)
    open()
    await on
    expect(m.asked).toEqual(['camera'])
  })

  it('brings a muted microphone back muted, after a loss and after a permission was given back', async () => {
    const m = new Machine()
    m.permissions = { microphone: { state: 'granted', onchange: null } }
    const { media } = start(m)
    await media.start(both)
    await media.setMicrophone(false)
    fake(media.microphone).stop()
    media.revive()
    await idle(media)
    expect(fake(media.microphone)).toMatchObject({ enabled: false, readyState: 'live' })
    expect(media.microphoneOn).toBe(false)

    const status = m.permissions.microphone!
    status.state = 'denied'
    fake(media.microphone).unplug()
    await idle(media)
    await idle(media)
    expect(media.problems.microphone).toBe('denied')
    status.state = 'granted'
    status.onchange?.()
    await idle(media)
    expect(fake(media.microphone)).toMatchObject({ enabled: false, readyState: 'live' })
    expect(media.problems).toEqual({})
  })

  it('forgets a chosen device that is not there any more', async () => {
    const m = new Machine()
    const { media, choices } = start(m, { camera: 'cam9', microphone: 'mic1' })
    await media.start(both)
    expect(media).toMatchObject({ cameraOn: true, microphoneOn: true, problems: {} })
    expect(choices.camera).toBeUndefined()
    expect(media.chosen('camera')).toBe('cam1')
  })

  it('replaces an unplugged microphone, and does not point another camera at anybody', async () => {
    const m = new Machine()
    const { media, gone } = start(m)
    await media.start(both)
    m.devices.microphone = ['mic2']
    fake(media.microphone).unplug()
    fake(media.camera).unplug()
    await media.start({ camera: false, microphone: false })
    await media.start({ camera: false, microphone: false })
    expect(media).toMatchObject({ microphoneOn: true, cameraOn: false, problems: { camera: 'gone' } })
    expect(media.chosen('microphone')).toBe('mic2')
    expect(gone).toEqual(['microphone true', 'camera false'])
  })

  it('keeps a replaced microphone muted when it was', async () => {
    const m = new Machine()
    const { media } = start(m)
    await media.start(both)
    await media.setMicrophone(false)
    fake(media.microphone).unplug()
    await media.start({ camera: false, microphone: false })
    await media.start({ camera: false, microphone: false })
    expect(fake(media.microphone)).toMatchObject({ enabled: false, readyState: 'live' })
    expect(media.microphoneOn).toBe(false)
  })

  it('opens again what was closed behind its back', async () => {
    const m = new Machine()
    const { media } = start(m)
    await media.start(both)
    fake(media.camera).stop()
    media.revive()
    await media.start({ camera: false, microphone: false })
    expect(fake(media.camera).readyState).toBe('live')
    expect(m.asked).toEqual(['microphone+camera', 'camera'])
  })

  it('closes a device that opens after the end', async () => {
    const m = new Machine()
    let open = () => undefined as void
    m.hold = new Promise((done) => (open = done))
    const { media } = start(m)
    const opened = media.start(both)
    await Promise.resolve()
    media.stop()
    open()
    await opened
    expect(m.tracks.map((t) => t.readyState)).toEqual(['ended', 'ended'])
    expect(media).toMatchObject({ camera: undefined, microphone: undefined, cameraOn: false, microphoneOn: false })
  })
})

// What has to be said over the pictures, the most urgent first, and never more than fits. Pure: the doings come in.
import { deviceLine, deviceWords } from './explain'
import { joinedProblems, type Kind } from './media'
import type { Note } from './panel'
import { hintFor, type Quality } from './people'
import type { Device, DeviceFault } from './problems'
import type { Connection } from './state'
import type { Words } from './words'

export interface NoteFacts {
  online: boolean
  connection: Connection
  soundBlocked: boolean
  problems: Partial<Record<Kind, DeviceFault>>
  /** The call can open as a page of its own, out of the frame that forbids things. */
  canTop: boolean
  flashes: ReadonlyMap<string, string>
  sharing: boolean
  /** Our connection has been weak for a while, and the hint was not dismissed. */
  weak: boolean
  quality: Quality
  cameraOn: boolean
  othersVideo: boolean
  withoutVideo: boolean
}

export interface NoteActs {
  playSound(): void
  openTop(): void
  openAgain(device: Device): void
  forget(device: Device): void
  unflash(id: string): void
  stopSharing(): void
  cameraOff(): void
  showVideo(on: boolean): void
  dismissHint(): void
}

/** More would hide the people. */
const MOST = 3

export function notesFor(w: Words, f: NoteFacts, act: NoteActs): Note[] {
  const out: Note[] = []
  const line = !f.online ? w.offline_line : { reconnecting: w.reconnecting, rejoining: w.rejoining, none: '', connecting: '', live: '' }[f.connection]
  if (line) out.push({ id: 'net', tone: 'amber', text: line })
  if (f.soundBlocked) out.push({ id: 'sound', tone: 'amber', text: w.sound_blocked, act: { label: w.sound_play, run: act.playSound } })
  out.push(...deviceNotes(w, f, act))
  for (const [id, text] of f.flashes) out.push({ id: `flash-${id}`, tone: 'plain', text, dismiss: () => act.unflash(id) })
  if (f.sharing) out.push({ id: 'sharing', tone: 'plain', text: w.sharing_line, act: { label: w.share_stop, run: act.stopSharing } })
  const hint = f.weak && f.connection === 'live' ? hintNote(w, f, act) : undefined
  if (hint) out.push(hint)
  if (f.withoutVideo) out.push({ id: 'video', tone: 'plain', text: w.video_hidden, act: { label: w.video_show, run: () => act.showVideo(true) } })
  return out.slice(0, MOST)
}

function deviceNotes(w: Words, f: NoteFacts, act: NoteActs): Note[] {
  return joinedProblems(f.problems).map(({ device, fault }): Note => {
    const { retry, top } = deviceWords(w, device, fault, f.canTop)
    const again = { label: w.retry, run: () => act.openAgain(device) }
    return {
      id: `device-${device}-${fault}`,
      tone: 'amber',
      text: deviceLine(w, device, fault, f.canTop),
      act: top ? { label: w.open_top, run: act.openTop } : retry ? again : undefined,
      dismiss: () => act.forget(device),
    }
  })
}

function hintNote(w: Words, f: NoteFacts, act: NoteActs): Note | undefined {
  const note = (text: string, todo?: Note['act']): Note => ({ id: 'hint', tone: 'amber', text, act: todo, dismiss: act.dismissHint })
  switch (hintFor({ quality: f.quality, camera: f.cameraOn, video: f.othersVideo && !f.withoutVideo })) {
    case 'own-camera':
      return note(w.hint_own_camera, { label: w.hint_own_camera_do, run: act.cameraOff })
    case 'their-video':
      return note(w.hint_their_video, { label: w.hint_their_video_do, run: () => act.showVideo(false) })
    case 'bear-with':
      return note(w.hint_bear_with)
    default:
      return undefined
  }
}

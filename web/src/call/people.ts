// Who is in the room, as the views need it, and what is worth saying aloud when it changes. Pure.

export type Quality = 'unknown' | 'good' | 'poor' | 'lost'

/** A picture that can be put into a video element. */
export interface Picture {
  /** Changes when another track takes its place. */
  id: string
  attach(video: HTMLVideoElement): void
  detach(video: HTMLVideoElement): void
}

export interface Person {
  identity: string
  self: boolean
  /** The microphone is on. */
  mic: boolean
  /** A microphone has been brought along at all: its first opening is part of arriving, and no news. */
  hasMic: boolean
  camera?: Picture
  screen?: Picture
  /** The picture waits for a better connection. */
  paused?: boolean
  speaking: boolean
  quality: Quality
}

/** What to say when the room changed from `before` to `now`. Only what others do: one's own doings are seen. */
export type Remark =
  | { what: 'joined' | 'left' | 'mic-off' | 'mic-on' | 'screen-on' | 'screen-off'; identity: string }

export function remarks(before: readonly Person[], now: readonly Person[]): Remark[] {
  const out: Remark[] = []
  const was = new Map(before.filter((p) => !p.self).map((p) => [p.identity, p]))
  for (const p of now) {
    if (p.self) continue
    const { identity } = p
    const old = was.get(identity)
    was.delete(identity)
    if (!old) {
      out.push({ what: 'joined', identity })
      if (p.screen) out.push({ what: 'screen-on', identity })
      continue
    }
    if (!old.screen !== !p.screen) out.push({ what: p.screen ? 'screen-on' : 'screen-off', identity })
    if (old.mic !== p.mic && old.hasMic) out.push({ what: p.mic ? 'mic-on' : 'mic-off', identity })
  }
  for (const identity of was.keys()) out.push({ what: 'left', identity })
  return out
}

/** What would help a weak connection, the most useful first. */
export type Hint = 'own-camera' | 'their-video' | 'bear-with'

/**
 * A hint while the network is weak. One's own camera is the largest load, the others' pictures the next; when both are
 * off there is nothing to do but to wait.
 */
export function hintFor(o: { quality: Quality; camera: boolean; video: boolean }): Hint | undefined {
  if (o.quality !== 'poor' && o.quality !== 'lost') return undefined
  return o.camera ? 'own-camera' : o.video ? 'their-video' : 'bear-with'
}

/** Up to two letters for a picture that is off. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/).filter(Boolean)
  const letters = words.length > 1 ? [words[0], words.at(-1)] : words
  return letters.map((w) => [...(w ?? '')][0]?.toUpperCase() ?? '').join('')
}

/** "4:05" or "1:04:05". */
export function duration(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000))
  const two = (n: number) => String(n).padStart(2, '0')
  const hours = Math.floor(s / 3600)
  const minutes = Math.floor(s / 60) % 60
  return hours > 0 ? `${hours}:${two(minutes)}:${two(s % 60)}` : `${minutes}:${two(s % 60)}`
}

/** The base address that the media library wants, from what `join()` gave: it adds /rtc by itself. */
export function serverUrl(url: string, page: string): string {
  const u = new URL(url, page)
  u.protocol = u.protocol === 'http:' || u.protocol === 'ws:' ? 'ws:' : 'wss:'
  u.pathname = u.pathname.replace(/\/rtc\/?$/, '/')
  u.search = ''
  u.hash = ''
  return u.href
}

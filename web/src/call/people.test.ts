import { describe, expect, it } from 'vitest'
import { notesFor, type NoteActs, type NoteFacts } from './notes'
import { duration, hintFor, initials, remarks, serverUrl, type Person } from './people'
import { loudness, smooth } from './meter'
import { catalogues } from './words'

const picture = { id: 'x', attach: () => undefined, detach: () => undefined }
const person = (identity: string, more: Partial<Person> = {}): Person => ({ identity, self: false, mic: true, hasMic: true, speaking: false, quality: 'good', ...more })

describe('remarks', () => {
  it('tells who came and went, and what they did', () => {
    expect(remarks([], [person('a')])).toEqual([{ what: 'joined', identity: 'a' }])
    expect(remarks([person('a')], [])).toEqual([{ what: 'left', identity: 'a' }])
    expect(remarks([person('a')], [person('a', { mic: false, screen: picture })])).toEqual([
      { what: 'screen-on', identity: 'a' },
      { what: 'mic-off', identity: 'a' },
    ])
    expect(remarks([], [person('a', { screen: picture })]).map((r) => r.what)).toEqual(['joined', 'screen-on'])
  })
  it('takes the first opening of a microphone for a part of arriving', () => {
    expect(remarks([person('a', { mic: false, hasMic: false })], [person('a')])).toEqual([])
  })
  it('is silent about speaking, cameras, and oneself', () => {
    expect(remarks([person('a')], [person('a', { speaking: true, camera: picture, quality: 'poor' })])).toEqual([])
    expect(remarks([], [person('me', { self: true })])).toEqual([])
    expect(remarks([person('me', { self: true })], [])).toEqual([])
  })
})

it('hints at what would help most', () => {
  expect(hintFor({ quality: 'good', camera: true, video: true })).toBeUndefined()
  expect(hintFor({ quality: 'unknown', camera: true, video: true })).toBeUndefined()
  expect(hintFor({ quality: 'poor', camera: true, video: true })).toBe('own-camera')
  expect(hintFor({ quality: 'poor', camera: false, video: true })).toBe('their-video')
  expect(hintFor({ quality: 'lost', camera: false, video: false })).toBe('bear-with')
})

it('makes initials of any name', () => {
  expect(initials('Maria Lindqvist')).toBe('ML')
  expect(initials('  ana ')).toBe('A')
  expect(initials('Dr. Jonathan Abernathy-Featherstonehaugh')).toBe('DA')
  expect(initials('😀 name')).toBe('😀N')
  expect(initials('')).toBe('')
})

it('writes durations', () => {
  expect(duration(0)).toBe('0:00')
  expect(duration(65_500)).toBe('1:05')
  expect(duration(3_600_000 + 61_000)).toBe('1:01:01')
  expect(duration(-5)).toBe('0:00')
})

it('makes the address that the media library wants', () => {
  expect(serverUrl('/rtc', 'https://a.example/w/site')).toBe('wss://a.example/')
  expect(serverUrl('/base/rtc/', 'http://localhost:8080/app/')).toBe('ws://localhost:8080/base/')
  expect(serverUrl('wss://a.example/rtc?x=1#y', 'https://b.example/')).toBe('wss://a.example/')
  expect(serverUrl('wss://a.example', 'https://b.example/')).toBe('wss://a.example/')
})

it('measures loudness as ears do', () => {
  expect(loudness(new Float32Array(512))).toBe(0)
  expect(loudness(new Float32Array(512).fill(1))).toBe(1)
  const soft = loudness(new Float32Array(512).fill(0.01))
  expect(soft).toBeGreaterThan(0.2)
  expect(soft).toBeLessThan(0.6)
  expect(loudness(new Float32Array(0))).toBe(0)
  expect(smooth(0.2, 0.9)).toBe(0.9)
  expect(smooth(1, 0)).toBeCloseTo(0.8)
})

describe('notes', () => {
  const calm: NoteFacts = {
    online: true,
    connection: 'live',
    soundBlocked: false,
    problems: {},
    canTop: false,
    flashes: new Map(),
    sharing: false,
    weak: false,
    quality: 'good',
    cameraOn: true,
    othersVideo: true,
    withoutVideo: false,
  }
  const done: string[] = []
  const note = (name: string) => (...with_: unknown[]) => void done.push([name, ...with_].join(' '))
  const act: NoteActs = {
    playSound: note('play'),
    openTop: note('top'),
    openAgain: note('again'),
    forget: note('forget'),
    unflash: note('unflash'),
    stopSharing: note('stop'),
    cameraOff: note('camera off'),
    showVideo: note('video'),
    dismissHint: note('dismiss'),
  }
  const w = catalogues.en
  const ids = (f: Partial<NoteFacts>) => notesFor(w, { ...calm, ...f }, act).map((n) => n.id)

  it('is silent when all is well', () => expect(ids({})).toEqual([]))
  it('says what is wrong with the network before all else', () => {
    expect(ids({ connection: 'reconnecting', soundBlocked: true, sharing: true })).toEqual(['net', 'sound', 'sharing'])
    expect(notesFor(w, { ...calm, online: false, connection: 'rejoining' }, act)[0]?.text).toBe(w.offline_line)
    expect(notesFor(w, { ...calm, connection: 'rejoining' }, act)[0]?.text).toBe(w.rejoining)
  })
  it('never hides the people behind notes', () => {
    const flashes = new Map([['a', 'A'], ['b', 'B'], ['c', 'C']])
    expect(ids({ online: false, soundBlocked: true, problems: { camera: 'busy' }, flashes, sharing: true, withoutVideo: true })).toHaveLength(3)
  })
  it('offers the way that helps', () => {
    const press = (f: Partial<NoteFacts>) => {
      done.length = 0
      const [first] = notesFor(w, { ...calm, ...f }, act)
      first?.act?.run()
      return [first?.act?.label, ...done]
    }
    expect(press({ problems: { camera: 'busy', microphone: 'busy' } })).toEqual([w.retry, 'again both'])
    expect(press({ problems: { camera: 'page' }, canTop: true })).toEqual([w.open_top, 'top'])
    expect(press({ problems: { camera: 'page' } })).toEqual([undefined])
    expect(press({ soundBlocked: true })).toEqual([w.sound_play, 'play'])
    expect(press({ weak: true, quality: 'poor' })).toEqual([w.hint_own_camera_do, 'camera off'])
    expect(press({ weak: true, quality: 'poor', cameraOn: false })).toEqual([w.hint_their_video_do, 'video false'])
    expect(press({ weak: true, quality: 'poor', cameraOn: false, othersVideo: false })).toEqual([undefined])
    expect(press({ withoutVideo: true })).toEqual([w.video_show, 'video true'])
  })
  it('does not speak of a weak connection while there is none', () => {
    expect(ids({ weak: true, quality: 'poor', connection: 'reconnecting' })).toEqual(['net'])
  })
})

import { describe, expect, it } from 'vitest'
import { ApiError } from '../lib/api'
import { deviceWords, joinWords, overWords, shareWords } from './explain'
import { deviceFault, dropOf, joinFault, shareObstacle, worthRetrying, type Device, type DeviceFault, type JoinFault } from './problems'
import type { Over } from './state'
import { catalogues, fill, wordsFor } from './words'

const here = { secure: true, able: true }
const thrown = (name: string, message = '') => Object.assign(new Error(message), { name })

describe('deviceFault', () => {
  it.each([
    ['NotAllowedError', 'Permission denied', {}, 'denied'],
    ['NotAllowedError', 'Permission dismissed', {}, 'dismissed'],
    ['NotAllowedError', '', { permission: 'prompt' as const }, 'dismissed'],
    ['NotAllowedError', 'Permission denied by system', {}, 'system'],
    ['NotAllowedError', 'Permission denied', { allowed: false }, 'page'],
    ['SecurityError', '', { allowed: false }, 'page'],
    ['SecurityError', '', {}, 'denied'],
    ['NotFoundError', 'Requested device not found', {}, 'none'],
    ['OverconstrainedError', '', {}, 'none'],
    ['NotReadableError', 'Could not start video source', {}, 'busy'],
    ['TrackStartError', '', {}, 'busy'],
    ['AbortError', 'Starting videoinput failed', {}, 'failed'],
    ['NotSupportedError', '', {}, 'unsupported'],
    ['TypeError', '', {}, 'failed'],
  ] as const)('%s "%s" %o is %s', (name, message, around, fault) => {
    expect(deviceFault(thrown(name, message), { ...here, ...around })).toBe(fault)
  })
  it('blames the page first: nothing else could be tried', () => {
    expect(deviceFault(undefined, { secure: false, able: false })).toBe('insecure')
    expect(deviceFault(thrown('NotAllowedError'), { secure: true, able: false })).toBe('unsupported')
    expect(deviceFault(null, here)).toBe('failed')
  })
})

describe('joinFault', () => {
  const online = { online: true, signalled: false }
  const connection = (reasonName: string, status?: number) => ({ name: 'ConnectionError', code: 1, reasonName, status })
  it.each([
    [new ApiError(409, 'call_not_live'), online, 'over'],
    [new ApiError(409, 'call_taken'), online, 'taken'],
    [new ApiError(409, 'notice_unacknowledged'), online, 'unacknowledged'],
    [new ApiError(404, 'not_found'), online, 'over'],
    [new ApiError(429, 'too_many'), online, 'other'],
    [new ApiError(503, 'unavailable'), online, 'server'],
    [new ApiError(503, 'calls_off'), online, 'off'],
    [new ApiError(0, 'network'), online, 'server'],
    [new ApiError(0, 'network'), { online: false, signalled: false }, 'offline'],
    [connection('NotAllowed', 401), online, 'token'],
    [connection('NotAllowed', 404), online, 'over'],
    [connection('ServerUnreachable'), online, 'server'],
    [connection('WebSocket'), online, 'server'],
    [connection('InternalError'), online, 'server'],
    [connection('InternalError'), { online: true, signalled: true }, 'path'],
    [connection('Timeout'), { online: true, signalled: true }, 'path'],
    [connection('Timeout'), { online: false, signalled: true }, 'offline'],
    [connection('LeaveRequest'), { online: true, signalled: false, reason: 'SERVER_SHUTDOWN' }, 'shutdown'],
    [connection('LeaveRequest'), { online: true, signalled: false, reason: 'ROOM_CLOSED' }, 'over'],
    [thrown('NegotiationError'), { online: true, signalled: true }, 'path'],
    [thrown('DeviceUnsupportedError'), online, 'unsupported'],
    [thrown('Whatever'), online, 'other'],
    [undefined, online, 'other'],
  ] as const)('%o at %o is %s', (error, attempt, fault) => {
    expect(joinFault(error, attempt)).toBe(fault)
  })
  it('tries again by itself only where time may help', () => {
    const all: JoinFault[] = ['offline', 'server', 'path', 'over', 'taken', 'unacknowledged', 'token', 'full', 'off', 'shutdown', 'unsupported', 'other']
    expect(all.filter(worthRetrying)).toEqual(['offline', 'server', 'path', 'token'])
  })
})

it('reads why a room was left', () => {
  expect(dropOf('CLIENT_INITIATED')).toBe('left')
  expect(dropOf('DUPLICATE_IDENTITY')).toBe('replaced')
  expect(dropOf('SERVER_SHUTDOWN')).toBe('shutdown')
  expect(dropOf('PARTICIPANT_REMOVED')).toBe('removed')
  expect(dropOf('ROOM_DELETED')).toBe('ended')
  for (const lost of ['UNKNOWN_REASON', 'SIGNAL_CLOSE', 'CONNECTION_TIMEOUT', undefined]) expect(dropOf(lost)).toBe('lost')
})

it('says why screens cannot be shared', () => {
  expect(shareObstacle({ secure: true, able: true, phone: false })).toBeUndefined()
  expect(shareObstacle({ secure: true, able: true, phone: false, allowed: true })).toBeUndefined()
  expect(shareObstacle({ secure: true, able: true, phone: false, allowed: false })).toBe('page')
  expect(shareObstacle({ secure: true, able: false, phone: true })).toBe('phone')
  expect(shareObstacle({ secure: true, able: true, phone: true })).toBe('phone')
  expect(shareObstacle({ secure: true, able: false, phone: false })).toBe('browser')
  expect(shareObstacle({ secure: false, able: false, phone: true })).toBe('insecure')
})

describe('words', () => {
  const devices: Device[] = ['camera', 'microphone', 'both', 'screen']
  const faults: DeviceFault[] = ['denied', 'dismissed', 'system', 'page', 'busy', 'none', 'gone', 'insecure', 'unsupported', 'failed']
  const joins: (JoinFault | 'notice' | 'acknowledge')[] = ['offline', 'server', 'path', 'over', 'taken', 'unacknowledged', 'token', 'full', 'off', 'shutdown', 'unsupported', 'other', 'notice', 'acknowledge']
  const overs: Over[] = ['ended', 'declined', 'missed', 'cancelled', 'forced', 'failed', 'shutdown', 'removed', 'replaced', 'taken', 'lost']

  for (const [lang, w] of Object.entries(catalogues)) {
    it(`has a title and something to do for every refusal (${lang})`, () => {
      for (const device of devices) {
        for (const fault of faults) {
          const { title, text, top } = deviceWords(w, device, fault, true)
          expect(title, `${device} ${fault}`).toBeTruthy()
          expect(text, `${device} ${fault}`).toMatch(/\.$/)
          expect(top).toBe(fault === 'page' || fault === 'denied')
          expect(deviceWords(w, device, fault, false).top).toBe(false)
        }
      }
      for (const fault of joins) expect(joinWords(w, fault).text, fault).toMatch(/\.$/)
      expect(joinWords(w, 'off').title).toBe(w.off_title)
      for (const over of overs) {
        for (const name of ['Maria', '']) {
          const { title, text } = overWords(w, over, name)
          expect(title + text, over).not.toMatch(/[{}]|undefined/)
        }
      }
      for (const o of ['phone', 'browser', 'page', 'insecure'] as const) expect(shareWords(w, o)).toMatch(/\.$/)
    })
  }

  it('never shouts, is never empty, and has the same places in every language', () => {
    const places = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort()
    for (const [lang, w] of Object.entries(catalogues)) {
      for (const [key, text] of Object.entries(w)) {
        expect(text.trim(), `${lang} ${key}`).not.toBe('')
        expect(text, `${lang} ${key}`).not.toContain('!')
        expect(places(text), `${lang} ${key}`).toEqual(places(catalogues.en[key as keyof typeof w]))
      }
    }
  })

  it('finds a language by its tag, and English for others', () => {
    expect(wordsFor('de-AT')).toBe(catalogues.de)
    expect(wordsFor('DE')).toBe(catalogues.de)
    expect(wordsFor('fr')).toBe(catalogues.en)
    expect(wordsFor('')).toBe(catalogues.en)
    expect(wordsFor('constructor')).toBe(catalogues.en)
    expect(fill('{name} and {other}', { name: 'A' })).toBe('A and ')
  })
})

import { expect, it, vi } from 'vitest'

vi.mock('../paraglide/messages.js', () => ({
  m: { time_now: () => 'now', time_yesterday: () => 'Yesterday', time_today: () => 'Today' },
}))
const { byteLength, dayName, fullTime, sameDay, shortTime } = await import('./format')

const now = new Date(2026, 2, 11, 15, 0).getTime()
const at = (...parts: [number, number, number, number?, number?]) => new Date(...parts).toISOString()
const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, ' ')

it('shortens times as people say them', () => {
  expect(shortTime(at(2026, 2, 11, 15, 0), now, 'en')).toBe('now')
  expect(shortTime(at(2026, 2, 11, 15, 5), now, 'en')).toBe('now') // a clock ahead of ours is not the future
  expect(plain(shortTime(at(2026, 2, 11, 14, 55), now, 'en'))).toBe('5 min')
  expect(plain(shortTime(at(2026, 2, 11, 9, 5), now, 'de'))).toBe('09:05')
  expect(shortTime(at(2026, 2, 10, 23, 59), now, 'en')).toBe('Yesterday')
  expect(shortTime(at(2026, 2, 8), now, 'en')).toBe('Sun')
  expect(shortTime(at(2026, 1, 3), now, 'en')).toBe('Feb 3')
  expect(shortTime(at(2024, 1, 3), now, 'en')).toBe('Feb 3, 2024')
})

it('names days by the calendar, not by hours', () => {
  expect(dayName(at(2026, 2, 11, 0, 1), now, 'en')).toBe('Today')
  expect(dayName(at(2026, 2, 10, 0, 1), now, 'en')).toBe('Yesterday')
  expect(dayName(at(2026, 2, 9), now, 'en')).toBe('Monday, March 9')
  expect(sameDay(at(2026, 2, 9, 0, 0), at(2026, 2, 9, 23, 59))).toBe(true)
  expect(sameDay(at(2026, 2, 9, 23, 59), at(2026, 2, 10, 0, 0))).toBe(false)
})

it('names the zone where it could be doubted', () => {
  expect(fullTime(at(2026, 2, 9, 10, 0), 'en')).toMatch(/Mar 9, 2026.*\(.+\)$/)
})

it('counts bytes, not characters', () => {
  expect(byteLength('aé€😀')).toBe(1 + 2 + 3 + 4)
})

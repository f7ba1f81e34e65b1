// Times and sizes as people say them, in the reader's language and zone.

import { m } from '../paraglide/messages.js'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** The reader's own kind of a language, such as en-GB: it decides on 14:05 or 2:05 PM, and on the order of day and month. */
function regional(locale: string): string {
  const wanted = globalThis.navigator?.languages ?? []
  return wanted.find((tag) => tag.toLowerCase().split('-')[0] === locale) ?? locale
}

function startOfDay(time: number): number {
  return new Date(time).setHours(0, 0, 0, 0)
}

/** Whole days between two moments as the calendar counts them. */
function daysBetween(time: number, now: number): number {
  return Math.round((startOfDay(now) - startOfDay(time)) / DAY)
}

/** Short, for lists: now, 5 min, 14:05, Yesterday, Mon, 3 Mar, 3 Mar 2024. */
export function shortTime(iso: string, now: number, locale: string): string {
  const time = Date.parse(iso)
  const age = now - time
  if (age < MINUTE) return m.time_now()
  if (age < HOUR)
    return new Intl.NumberFormat(locale, { style: 'unit', unit: 'minute', unitDisplay: 'short' }).format(
      Math.floor(age / MINUTE),
    )
  const days = daysBetween(time, now)
  if (days === 0) return clockTime(iso, locale)
  if (days === 1) return m.time_yesterday()
  if (days < 7) return new Intl.DateTimeFormat(regional(locale), { weekday: 'short' }).format(time)
  const sameYear = new Date(time).getFullYear() === new Date(now).getFullYear()
  return new Intl.DateTimeFormat(regional(locale), {
    day: 'numeric',
    month: 'short',
    year: sameYear ? undefined : 'numeric',
  }).format(time)
}

/** 14:05 or 2:05 PM, as the language has it. */
export function clockTime(iso: string, locale: string): string {
  return new Intl.DateTimeFormat(regional(locale), { timeStyle: 'short' }).format(Date.parse(iso))
}

/** The day as a heading: Today, Yesterday, Monday 3 March. */
export function dayName(iso: string, now: number, locale: string): string {
  const time = Date.parse(iso)
  const days = daysBetween(time, now)
  if (days === 0) return m.time_today()
  if (days === 1) return m.time_yesterday()
  const sameYear = new Date(time).getFullYear() === new Date(now).getFullYear()
  return new Intl.DateTimeFormat(regional(locale), {
    weekday: 'long',
    day: 'numeric',
    month: 'long',
    year: sameYear ? undefined : 'numeric',
  }).format(time)
}

/** Everything, with the zone named: for titles and details. */
export function fullTime(iso: string, locale: string): string {
  const text = new Intl.DateTimeFormat(regional(locale), { dateStyle: 'medium', timeStyle: 'short' }).format(Date.parse(iso))
  return `${text} (${zoneName(iso, locale)})`
}

function zoneName(iso: string, locale: string): string {
  const parts = new Intl.DateTimeFormat(regional(locale), { timeZoneName: 'short' }).formatToParts(Date.parse(iso))
  return parts.find((p) => p.type === 'timeZoneName')?.value ?? 'UTC'
}

export function sameDay(a: string, b: string): boolean {
  return startOfDay(Date.parse(a)) === startOfDay(Date.parse(b))
}

export function minutesApart(a: string, b: string): number {
  return Math.abs(Date.parse(a) - Date.parse(b)) / MINUTE
}

/** How many bytes a text is in UTF-8: the unit of the message limit. */
export function byteLength(text: string): number {
  return new TextEncoder().encode(text).length
}

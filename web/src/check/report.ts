// What was found, as plain values, and the text of it that can be copied. Nothing in it says who somebody is: no
// address, no id, and the names of devices only when the person chooses so. No DOM.
import type { DeviceFault } from '../call/problems'
import type { ProbeFault } from './probe'
import { fill, type Words } from './texts'

export const checks = ['browser', 'server', 'udp', 'tcp', 'relay', 'camera', 'microphone', 'speaker'] as const
export type Check = (typeof checks)[number]

/** `fair`: it works, and might work better. `off`: the server does not offer it. `skipped`: not tried. */
export type Mark = 'waiting' | 'running' | 'good' | 'fair' | 'bad' | 'off' | 'skipped'

export type Fault = DeviceFault | ProbeFault | 'silent' | 'unheard' | 'old' | 'no_codec' | 'no_picture' | 'slow' | 'lossy'

export interface Finding {
  mark: Mark
  fault?: Fault
  /** It does not work, and a call does without it: see `weigh`. */
  spared?: boolean
  /** Milliseconds that connecting took, and of one round trip. */
  connect?: number
  trip?: number
  /** Echoes that never came back, of how many. */
  lost?: number
  sent?: number
  /** Camera: width, height, pictures a second. */
  picture?: { width: number; height: number; rate: number }
  /** The name of the device, for the person's own eyes. */
  device?: string
}

export type Findings = Record<Check, Finding>

export function nothingYet(): Findings {
  return Object.fromEntries(checks.map((c) => [c, { mark: 'waiting' }])) as Findings
}

/** Above this a talk is noticeably late, in milliseconds; above this share of lost packets sound breaks up. */
const slowTrip = 300
const badShare = 0.1

/** What a probe's figures mean. */
export function judge(figures: { connect: number; trip: number; lost: number; sent: number }): Finding {
  const fault = figures.lost / figures.sent > badShare ? 'lossy' : figures.trip > slowTrip ? 'slow' : undefined
  return { mark: fault ? 'fair' : 'good', ...(fault && { fault }), ...figures }
}

/** Ways of the network: each may be missing, as long as one is there. */
const ways = ['udp', 'tcp', 'relay'] as const

/**
 * A way that is closed matters as much as what is left: without any there is no call, without UDP there is one that
 * may stutter, without the detours nothing is lost. It stays closed, and is called so; what it means for calls is milder.
 */
export function weigh(found: Findings): Findings {
  const open = ways.filter((w) => found[w].mark === 'good' || found[w].mark === 'fair')
  if (open.length === 0) return found
  const out = { ...found }
  for (const w of ways) if (found[w].mark === 'bad') out[w] = { ...found[w], spared: true }
  return out
}

/** How a finding looks: as bad as it is for calls. */
export function toneOf(f: Finding): Mark {
  return f.spared ? 'fair' : f.mark
}

/** Everything in one word: what a call needs, and what it can do without. `off`: the server holds no calls. */
export function overall(raw: Findings): 'running' | 'good' | 'fair' | 'bad' | 'off' {
  const found = weigh(raw)
  const marks = checks.map((c) => toneOf(found[c]))
  if (marks.includes('running')) return 'running'
  if (ways.every((w) => found[w].mark === 'off')) return 'off'
  const essential: Check[] = ['browser', 'server', 'microphone', 'speaker']
  if (essential.some((c) => found[c].mark === 'bad')) return 'bad'
  if (ways.every((w) => found[w].mark === 'bad' || found[w].mark === 'off') && ways.some((w) => found[w].mark === 'bad')) return 'bad'
  // A camera is nice to have: one can talk without.
  return marks.some((m) => m === 'bad' || m === 'fair') ? 'fair' : 'good'
}

/** One line about a check: the figures, or what is wrong. */
export function lineOf(check: Check, f: Finding, w: Words): string {
  if (f.fault) return w[`fault_${f.fault}`]
  const parts: string[] = []
  if (f.mark === 'good' && check === 'browser') parts.push(w.browser_good)
  if (f.mark === 'good' && check === 'microphone') parts.push(w.microphone_good)
  if (f.mark === 'good' && check === 'speaker') parts.push(w.speaker_good)
  if (f.picture) parts.push(fill(w.picture, f.picture))
  if (f.connect !== undefined) parts.push(fill(w.connect, { n: f.connect }))
  if (f.trip !== undefined) parts.push(fill(w.trip, { n: f.trip }))
  if (f.lost) parts.push(fill(w.lost, { n: f.lost, of: f.sent ?? 0 }))
  const text = parts.join(', ')
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** What to do about it; empty when nothing is to be done. */
export function adviceOf(check: Check, f: Finding, w: Words): string {
  if (!f.fault) return ''
  if (f.spared) return check === 'udp' ? w.advice_udp : w.advice_detour
  const known: Partial<Record<Fault, string>> = {
    denied: w.advice_denied,
    dismissed: w.advice_dismissed,
    system: w.advice_system,
    page: w.advice_page,
    busy: w.advice_busy,
    none: check === 'camera' ? w.advice_none_camera : w.advice_none_microphone,
    gone: w.advice_gone,
    insecure: w.advice_insecure,
    unsupported: w.advice_old,
    failed: w.advice_failed,
    silent: w.advice_silent,
    unheard: w.advice_unheard,
    old: w.advice_old,
    no_codec: w.advice_old,
    no_picture: w.advice_no_picture,
    slow: w.advice_slow,
    lossy: w.advice_slow,
    offline: w.advice_offline,
    server: w.advice_server,
    busy_server: w.advice_busy_server,
    no_way: w.advice_no_way,
    no_relay: w.advice_no_way,
    no_echo: w.advice_no_way,
  }
  return known[f.fault] ?? ''
}

export interface ReportInput {
  found: Findings
  words: Words
  /** "Chrome 140, Linux". */
  browser: string
  /** The name of the server that was checked. */
  server: string
  at: Date
  withDevices: boolean
}

/** The text to copy. */
export function report(o: ReportInput): string {
  const { words: w } = o
  const found = weigh(o.found)
  const at = `${o.at.toISOString().slice(0, 16).replace('T', ' ')} UTC`
  const head = [fill(w.report_title, { server: o.server }), at, fill(w.report_browser, { browser: o.browser })]
  const lines = checks.map((check) => {
    const f = found[check]
    const line = lineOf(check, f, w)
    const device = o.withDevices && f.device ? ` [${f.device}]` : ''
    return `${w[`name_${check}`]}: ${w[`mark_${f.mark}`]}${line ? `. ${line}` : ''}${device}`
  })
  const all = overall(o.found)
  return [...head, '', ...lines, '', all === 'running' ? w.overall_running : w[`overall_${all}`]].join('\n')
}

/** Name and main version of browser and system, and no more of what a browser says about itself. */
export function browserName(agent: string): string {
  const kinds: [RegExp, string][] = [
    [/\bEdgA?\/(\d+)/, 'Edge'],
    [/\bEdgiOS\/(\d+)/, 'Edge'],
    [/\bOPR\/(\d+)/, 'Opera'],
    [/\bSamsungBrowser\/(\d+)/, 'Samsung Internet'],
    [/\bFirefox\/(\d+)/, 'Firefox'],
    [/\bFxiOS\/(\d+)/, 'Firefox'],
    [/\bCriOS\/(\d+)/, 'Chrome'],
    [/\b(?:Headless)?Chrome\/(\d+)/, 'Chrome'],
    [/\bVersion\/(\d+)[\d.]* .*Safari/, 'Safari'],
  ]
  const systems: [RegExp, string][] = [
    [/\b(iPhone|iPad|iPod)\b/, 'iOS'],
    [/\bAndroid\b/, 'Android'],
    [/\bCrOS\b/, 'ChromeOS'],
    [/\bWindows\b/, 'Windows'],
    [/\bMac OS X\b/, 'macOS'],
    [/\bLinux\b/, 'Linux'],
  ]
  const kind = kinds.map(([p, name]) => [p.exec(agent)?.[1], name] as const).find(([version]) => version)
  const system = systems.find(([p]) => p.test(agent))?.[1]
  const name = kind ? `${kind[1]} ${kind[0]}` : '?'
  return system ? `${name}, ${system}` : name
}

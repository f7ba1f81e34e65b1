import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { readStart } from '../loader/frame-protocol'
import { Handover, handoverAddress, takeOver, type HandedOver } from './handover'

const origin = 'https://parley.example'

/** A window that can be posted to; what is posted arrives when the origin fits, from whoever `from` is. */
class FakeWindow {
  listeners: ((e: unknown) => void)[] = []
  location = { origin }
  closed = false
  opener: unknown = null
  parent: unknown = this
  opened: FakeWindow | null = null
  asked: string[] = []

  addEventListener(_: string, fn: (e: unknown) => void) {
    this.listeners.push(fn)
  }
  removeEventListener(_: string, fn: (e: unknown) => void) {
    this.listeners = this.listeners.filter((l) => l !== fn)
  }
  open(address: string) {
    this.asked.push(address)
    return this.opened
  }
  focus() {}
  hear(data: unknown, source: unknown, from = origin) {
    for (const fn of [...this.listeners]) fn({ data, source, origin: from })
  }
  get asWindow() {
    return this as unknown as Window
  }
}

/** What one window says to another, if the other is on the origin that was named. */
function reach(target: FakeWindow, source: FakeWindow) {
  return Object.assign(target, {
    postMessage: (data: unknown, to: string) => {
      if (to === target.location.origin) target.hear(data, source, source.location.origin)
    },
  })
}

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

function pair(given: HandedOver | undefined = { token: 't', call: 'k', media: 'video' }) {
  const frame = new FakeWindow()
  const popup = new FakeWindow()
  reach(frame, popup)
  reach(popup, frame)
  frame.opened = popup
  popup.opener = frame
  const closed = vi.fn()
  const handover = new Handover(frame.asWindow, () => given, closed)
  return { frame, popup, handover, closed }
}

describe('the hand-over', () => {
  test('gives the window that the frame opened what it needs, as often as it is loaded', async () => {
    const { frame, popup, handover } = pair()
    expect(handover.open('https://parley.example/w/s#call=handover')).toBe(true)
    expect(frame.asked).toEqual(['https://parley.example/w/s#call=handover'])
    for (let i = 0; i < 2; i++) expect(await takeOver(popup.asWindow)).toEqual({ token: 't', call: 'k', media: 'video' })
  })

  test('answers no other window, and no other origin', () => {
    const { frame, popup, handover } = pair()
    handover.open('x')
    const stranger = new FakeWindow()
    const heard: unknown[] = []
    for (const w of [stranger, popup]) reach(w, frame).addEventListener('message', (e) => heard.push(e))
    frame.hear({ parley: 'handover-ask' }, stranger)
    frame.hear({ parley: 'handover-ask' }, popup, 'https://evil.example')
    frame.hear({ parley: 'something' }, popup)
    expect(heard).toEqual([])
  })

  test('the window takes nothing from another origin, and tells it nothing', async () => {
    const { frame, popup } = pair()
    frame.location.origin = 'https://evil.example'
    const heard = vi.fn()
    frame.addEventListener('message', heard)
    const taking = takeOver(popup.asWindow)
    popup.hear({ parley: 'handover', token: 'mine', media: 'video' }, frame, 'https://evil.example')
    popup.hear({ parley: 'handover', token: '', media: 'video' }, frame)
    await vi.advanceTimersByTimeAsync(8_000)
    expect(await taking).toBeUndefined()
    expect(heard).not.toHaveBeenCalled()
    expect(popup.listeners).toEqual([])
  })

  test('a page that nobody opened, or that sits in a frame, has nobody to ask', async () => {
    const alone = new FakeWindow()
    expect(await takeOver(alone.asWindow)).toBeUndefined()
    const { popup, frame } = pair()
    popup.parent = frame
    expect(await takeOver(popup.asWindow)).toBeUndefined()
  })

  test('says nothing once the call is back in the frame', async () => {
    const { popup, handover } = pair(undefined as never)
    const given = new Handover(new FakeWindow().asWindow, () => undefined, vi.fn())
    given.stop()
    handover.stop()
    const taking = takeOver(popup.asWindow)
    await vi.advanceTimersByTimeAsync(8_000)
    expect(await taking).toBeUndefined()
  })

  test('notices that the window is gone, once', async () => {
    const { popup, handover, closed } = pair()
    handover.open('x')
    await vi.advanceTimersByTimeAsync(3_000)
    expect(closed).not.toHaveBeenCalled()
    popup.closed = true
    await vi.advanceTimersByTimeAsync(3_000)
    expect(closed).toHaveBeenCalledOnce()
  })

  test('says when the browser opens no window', () => {
    const { frame, handover } = pair()
    frame.opened = null
    expect(handover.open('x')).toBe(false)
  })

  test('the address names nobody', () => {
    const url = new URL(handoverAddress('https://parley.example/w/site?x=1#host=https%3A%2F%2Fshop.example', 'de'))
    expect(url.href).toBe('https://parley.example/w/site#call=handover&lang=de')
    expect(readStart(url.hash)).toEqual({ host: null, lang: 'de', handover: true })
  })
})

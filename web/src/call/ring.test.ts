import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { mountRing } from './ring'
import { catalogues } from './words'
import type { RingOptions } from './types'

/** As much of an element as the card needs. */
class FakeElement {
  children: (FakeElement | string)[] = []
  hidden = false
  disabled = false
  className = ''
  style: Record<string, string> = {}
  onclick: (() => void) | null = null
  readonly classList = { add: () => undefined }
  #parent: FakeElement | undefined
  constructor(readonly tag: string) {}

  get parentElement() {
    return this.#parent
  }
  get textContent(): string {
    return this.children.map((c) => (typeof c === 'string' ? c : c.textContent)).join('')
  }
  set textContent(text: string) {
    this.children = [text]
  }
  setAttribute() {}
  addEventListener(_: 'click', run: () => void) {
    this.onclick = run
  }
  focus() {}
  append(...more: (FakeElement | string)[]) {
    for (const c of more) if (typeof c !== 'string') c.#parent = this
    this.children.push(...more)
  }
  replaceChildren(...all: (FakeElement | string)[]) {
    this.children = []
    this.append(...all)
  }
  remove() {
    if (this.#parent) this.#parent.children = this.#parent.children.filter((c) => c !== this)
  }
  querySelectorAll(tag: string): FakeElement[] {
    const below = this.children.flatMap((c) => (typeof c === 'string' ? [] : [c, ...c.querySelectorAll('*')]))
    return below.filter((c) => tag === '*' || c.tag === tag)
  }
}

const w = catalogues.en
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))
let place: FakeElement

beforeEach(() => {
  const make = (tag: string) => new FakeElement(tag)
  vi.stubGlobal('document', { createElement: make, createElementNS: (_: string, tag: string) => make(tag) })
  vi.stubGlobal('Node', FakeElement)
  place = make('div')
})
afterEach(() => vi.unstubAllGlobals())

function ring(more: Partial<RingOptions>) {
  const handle = mountRing(place as never, { lang: 'en', direction: 'incoming', media: 'video', name: 'Maria', ...more })
  const button = (text: string) => place.querySelectorAll('button').find((b) => b.textContent === text)
  const failed = () => place.querySelectorAll('p').find((p) => p.textContent === w.ring_failed)
  return { handle, button, failed }
}

describe('the card of a call that rings', () => {
  it('takes one press, and lets both buttons be pressed again when it failed', async () => {
    const accept = vi.fn<() => Promise<void>>().mockRejectedValueOnce(new Error('network'))
    const { button, failed, handle } = ring({ onAccept: accept, onDecline: () => undefined })
    expect(failed()?.hidden).toBe(true)
    button(w.accept)!.onclick!()
    expect([button(w.accept), button(w.decline)].map((b) => b!.disabled)).toEqual([true, true])
    await settled()
    expect([button(w.accept), button(w.decline)].map((b) => b!.disabled)).toEqual([false, false])
    expect(failed()?.hidden).toBe(false)
    button(w.accept)!.onclick!()
    expect(failed()?.hidden).toBe(true)
    await settled()
    expect(accept).toHaveBeenCalledTimes(2)
    expect(button(w.accept)!.disabled).toBe(true)
    handle.destroy()
  })

  it('says nothing about an answer that came to nothing because the ring is over', async () => {
    let fail: (error: Error) => void = () => undefined
    const { button, failed, handle } = ring({ onAccept: () => new Promise((_, reject) => (fail = reject)) })
    button(w.accept)!.onclick!()
    await settled()
    handle.over('missed', () => undefined)
    fail(new Error('call_taken'))
    await settled()
    expect(failed()?.hidden).toBe(true)
    expect(button(w.close)!.disabled).toBe(false)
    handle.destroy()
  })
})

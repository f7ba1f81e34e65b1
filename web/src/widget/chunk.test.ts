import { beforeEach, describe, expect, test } from 'vitest'
import { Chunk } from './chunk'

let tries: { arrive(): void; fail(): void }[]
let waits: { fn: () => void; ms: number; off: boolean }[]
let said: string[]
let wanted: string | undefined
let chunk: Chunk<string>

/** What a view does after each change. */
const draw = () => (wanted === undefined ? chunk.rest() : chunk.want(wanted))
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))
const fail = async () => {
  tries.at(-1)!.fail()
  await settled()
}

beforeEach(() => {
  tries = []
  waits = []
  said = []
  wanted = 'call1'
  chunk = new Chunk({
    load: () => new Promise<string>((resolve, reject) => tries.push({ arrive: () => resolve('it'), fail: () => reject(new TypeError()) })),
    got: (value) => said.push(`got ${value}`),
    failed: () => {
      said.push('failed')
      draw() // saying so draws again
    },
    again: () => draw(),
    later: (fn, ms) => {
      const wait = { fn, ms, off: false }
      waits.push(wait)
      return () => (wait.off = true)
    },
  })
})

describe('code that does not arrive', () => {
  test('is loaded once, however often it is wanted', async () => {
    for (let i = 0; i < 3; i++) draw()
    tries[0]!.arrive()
    await settled()
    draw()
    expect(tries).toHaveLength(1)
    expect(said).toEqual(['got it'])
  })

  test('is not asked for without end: it rests, longer each time', async () => {
    draw()
    await fail()
    for (let i = 0; i < 100; i++) draw()
    expect(tries).toHaveLength(1)
    for (let i = 0; i < 7; i++) {
      waits.at(-1)!.fn()
      await fail()
    }
    expect(tries).toHaveLength(8)
    expect(waits.map((w) => w.ms)).toEqual([2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000])
    waits.at(-1)!.fn()
    tries.at(-1)!.arrive()
    await settled()
    expect(said.at(-1)).toBe('got it')
  })

  test('is tried at once for another call, when somebody presses again, and when the network is back', async () => {
    draw()
    await fail()
    wanted = 'call2'
    draw()
    expect(tries).toHaveLength(2)
    await fail()
    wanted = undefined
    draw()
    wanted = 'call2'
    draw()
    expect(tries).toHaveLength(3)
    await fail()
    chunk.hope()
    expect(tries).toHaveLength(4)
    // What was to wake it earlier does not any more.
    expect(waits.map((w) => w.off)).toEqual([true, true, true])
  })

  test('is left alone when nobody wants it any more', async () => {
    draw()
    await fail()
    wanted = undefined
    waits[0]!.fn()
    expect(tries).toHaveLength(1)
  })
})

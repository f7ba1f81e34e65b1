import { describe, expect, it } from 'vitest'
import { arrange, cornerAfterKey, floating, gridRects, nearestCorner, pictureBox, type Rect, type Size } from './layout'

const stages: Record<string, Size> = {
  phone: { width: 344, height: 660 },
  'phone on its side': { width: 660, height: 344 },
  card: { width: 364, height: 520 },
  tablet: { width: 752, height: 940 },
  desktop: { width: 1424, height: 820 },
  sliver: { width: 1400, height: 90 },
}
const wide = { corner: 'bottom-right', selfAspect: 16 / 9 } as const

const inside = (r: Rect, s: Size) => r.x >= -0.01 && r.y >= -0.01 && r.x + r.width <= s.width + 0.01 && r.y + r.height <= s.height + 0.01
const apart = (a: Rect, b: Rect) => a.x + a.width <= b.x + 0.01 || b.x + b.width <= a.x + 0.01 || a.y + a.height <= b.y + 0.01 || b.y + b.height <= a.y + 0.01

describe('arrange', () => {
  for (const [name, stage] of Object.entries(stages)) {
    it(`places everybody on the ${name}, within it and beside each other`, () => {
      for (let others = 0; others <= 12; others++) {
        for (const screens of [[], ['s0'], ['s0', 's1']]) {
          const cast = { self: 'self', others: Array.from({ length: others }, (_, i) => `p${i}`), screens }
          const placed = arrange(cast, stage, wide)
          expect(placed.map((p) => p.key).sort()).toEqual(['self', ...cast.others, ...screens].sort())
          for (const p of placed) {
            expect(inside(p.rect, stage), `${p.key} of ${others} with ${screens.length} screens`).toBe(true)
            expect(p.rect.width, p.key).toBeGreaterThan(0)
            expect(p.rect.height, p.key).toBeGreaterThan(0)
          }
          const fixed = placed.filter((p) => !p.floats)
          for (const [i, a] of fixed.entries()) for (const b of fixed.slice(i + 1)) expect(apart(a.rect, b.rect), `${a.key} and ${b.key}`).toBe(true)
        }
      }
    })
  }

  it('fills the stage with oneself while alone, and with the other one in a pair', () => {
    const stage = stages['phone']!
    expect(arrange({ self: 'me', others: [], screens: [] }, stage, wide)).toEqual([
      { key: 'me', rect: { x: 0, y: 0, ...stage }, floats: false, whole: false },
    ])
    const pair = arrange({ self: 'me', others: ['you'], screens: [] }, stage, wide)
    expect(pair[0]).toMatchObject({ key: 'you', rect: { x: 0, y: 0, ...stage }, floats: false })
    expect(pair[1]).toMatchObject({ key: 'me', floats: true })
  })

  it('gives the newest screen the stage, whole', () => {
    const placed = arrange({ self: 'me', others: ['you'], screens: ['old', 'new'] }, stages['desktop']!, wide)
    expect(placed[0]).toMatchObject({ key: 'new', whole: true })
    expect(placed.find((p) => p.key === 'old')).toMatchObject({ whole: true })
    expect(placed[0]!.rect.width).toBeGreaterThan(1424 * 0.74)
  })
})

describe('the small picture', () => {
  it('stays small, in its corner, and keeps its proportions', () => {
    for (const stage of Object.values(stages)) {
      for (const selfAspect of [16 / 9, 9 / 16, 4 / 3, 0]) {
        for (const corner of ['top-left', 'top-right', 'bottom-left', 'bottom-right'] as const) {
          const r = floating(stage, { corner, selfAspect })
          expect(inside(r, stage)).toBe(true)
          expect(r.width).toBeLessThanOrEqual(stage.width * 0.4 + 1)
          expect(r.height).toBeLessThanOrEqual(stage.height * 0.45 + 1)
          expect(r.x < stage.width / 2 - r.width / 2).toBe(corner.endsWith('left'))
          expect(r.y < stage.height / 2 - r.height / 2).toBe(corner.startsWith('top'))
          const aspect = selfAspect || 16 / 9
          expect(Math.abs(r.width / r.height - aspect) / aspect).toBeLessThan(0.1)
        }
      }
    }
  })

  it('snaps to the nearest corner and goes where the arrows say', () => {
    const stage = { width: 400, height: 600 }
    expect(nearestCorner(10, 10, stage)).toBe('top-left')
    expect(nearestCorner(390, 310, stage)).toBe('bottom-right')
    expect(cornerAfterKey('bottom-right', 'ArrowUp')).toBe('top-right')
    expect(cornerAfterKey('top-right', 'ArrowLeft')).toBe('top-left')
    expect(cornerAfterKey('top-left', 'ArrowLeft')).toBe('top-left')
    expect(cornerAfterKey('top-left', 'Enter')).toBeUndefined()
  })
})

describe('gridRects', () => {
  const columns = (n: number, s: Size) => new Set(gridRects(n, { x: 0, y: 0, ...s }).slice(0, n).map((r) => Math.round(r.y))).size
  it('uses the shape of the stage', () => {
    expect(columns(4, stages['desktop']!)).toBe(2)
    expect(columns(8, stages['desktop']!)).toBe(2)
    expect(columns(6, stages['phone']!)).toBe(3)
    expect(columns(6, stages['sliver']!)).toBe(1)
  })
  it('centres a last row that is not full', () => {
    const rects = gridRects(3, { x: 0, y: 0, width: 1424, height: 820 })
    const last = rects[2]!
    expect(last.x + last.width / 2).toBeCloseTo(712)
  })
  it('places nobody when nobody is there', () => expect(gridRects(0, { x: 0, y: 0, width: 1, height: 1 })).toEqual([]))
})

describe('pictureBox', () => {
  const video = { width: 1280, height: 720 }
  it('fills a tile of nearly the same shape', () => {
    const tile = { width: 400, height: 260 }
    expect(pictureBox(video, tile)).toEqual(tile)
  })
  it('keeps a margin rather than half a face', () => {
    const upright = pictureBox(video, { width: 344, height: 660 })
    expect(upright.width).toBe(344)
    expect(upright.height).toBeLessThan(400)
    expect(upright.height).toBeGreaterThan(344 / (16 / 9))
    const phone = pictureBox({ width: 480, height: 854 }, { width: 1424, height: 820 })
    expect(phone.height).toBe(820)
    expect(phone.width).toBeLessThan(800)
  })
  it('fills the tile while the picture has no size yet', () => {
    expect(pictureBox({ width: 0, height: 0 }, video)).toEqual(video)
  })
})

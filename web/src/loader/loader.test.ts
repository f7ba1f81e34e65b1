import { describe, expect, test } from 'vitest'
import { contrast, css, inkOn, parseColour, type Colour } from './contrast'
import { frameAddress, readStart } from './frame-protocol'
import { languages, pickLanguage, words } from './words'

describe('contrast', () => {
  test('reads the two forms of a colour and nothing else', () => {
    expect(parseColour('#0f5e5c')).toEqual([15, 94, 92])
    expect(parseColour('#FA0')).toEqual([255, 170, 0])
    for (const text of ['', null, undefined, 'red', '#12345', '#1234567', 'url(x)', '#ggg']) expect(parseColour(text)).toBeUndefined()
  })

  test('computes the ratios of WCAG 2.2', () => {
    expect(contrast([0, 0, 0], [255, 255, 255])).toBeCloseTo(21)
    expect(contrast([0x77, 0x77, 0x77], [255, 255, 255])).toBeCloseTo(4.48, 2)
    expect(contrast([10, 20, 30], [10, 20, 30])).toBe(1)
  })

  test('finds readable text for every fill', () => {
    const steps = [0, 51, 102, 153, 204, 255]
    for (const r of steps)
      for (const g of steps)
        for (const b of steps) {
          const fill: Colour = [r, g, b]
          expect(contrast(fill, inkOn(fill)), css(fill)).toBeGreaterThanOrEqual(4.5)
        }
  })
})

describe('the way to the frame', () => {
  test('start values travel in the fragment', () => {
    const address = frameAddress('https://parley.example/', 'a/b', 'https://shop.example:8081', 'de')
    const url = new URL(address)
    expect(url.pathname).toBe('/w/a%2Fb')
    expect(url.search).toBe('')
    expect(readStart(url.hash)).toEqual({ host: 'https://shop.example:8081', lang: 'de', handover: false })
  })

  test('a frame opened as a page has none', () => {
    expect(readStart('')).toEqual({ host: null, lang: null, handover: false })
  })
})

describe('words', () => {
  test('the page comes before the browser, and English is the measure', () => {
    expect(pickLanguage(['de-AT', 'en'], languages)).toBe('de')
    expect(pickLanguage(['fr', 'DE', 'en'], languages)).toBe('de')
    expect(pickLanguage(['', null, undefined, 'fr-FR'], languages)).toBe('en')
  })

  test('every language has every word', () => {
    for (const lang of languages) {
      expect(Object.keys(words(lang))).toEqual(Object.keys(words('en')))
      for (const text of Object.values(words(lang))) expect(text).toMatch(/\S/)
    }
  })
})

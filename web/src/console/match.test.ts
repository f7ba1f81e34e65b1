import { expect, it } from 'vitest'
import { match } from './match'

it('wants every word, in any order, without case and accents', () => {
  expect(match('Elif Yılmaz', 'yilmaz elif')).toBeGreaterThan(0)
  expect(match('Chloé Martin', 'CHLOE')).toBe(1)
  expect(match('Weiß', 'weiss')).toBe(1)
  expect(match('Amara Diallo', 'dark')).toBe(0)
  expect(match('anything', ' ')).toBe(1)
})

it('prefers the beginning, then the beginning of a word', () => {
  const [first, word, inside] = ['Dark', 'The dark', 'Endarken'].map((text) => match(text, 'dark'))
  expect(first).toBeGreaterThan(word!)
  expect(word).toBeGreaterThan(inside!)
})

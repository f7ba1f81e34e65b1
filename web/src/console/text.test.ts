import { expect, it } from 'vitest'
import { cleanMessage, linkify, safeUrl } from './text'

it('finds links and leaves the rest as it is', () => {
  expect(linkify('See https://shop.example/a?b=1, please.')).toEqual([
    { text: 'See ' },
    { text: 'https://shop.example/a?b=1', href: 'https://shop.example/a?b=1' },
    { text: ', please.' },
  ])
  expect(linkify('(https://a.example)').map((p) => p.text)).toEqual(['(', 'https://a.example', ')'])
  expect(linkify('https://a.example/(x)')).toEqual([{ text: 'https://a.example/(x)', href: 'https://a.example/(x)' }])
  expect(linkify('no link')).toEqual([{ text: 'no link' }])
  expect(linkify('')).toEqual([])
})

it('leads nowhere but to the web', () => {
  expect(linkify('javascript:alert(1) data:text/html,x')).toEqual([{ text: 'javascript:alert(1) data:text/html,x' }])
  expect(safeUrl('javascript:alert(1)')).toBeUndefined()
  expect(safeUrl('shop')).toBeUndefined()
  expect(safeUrl('https://shop.example')).toBe('https://shop.example/')
})

it('cleans a message as the server wants it', () => {
  expect(cleanMessage('  a\r\nb\rc\td\u0000\u0007\u0085 ')).toBe('a\nb\nc\td')
  expect(cleanMessage('\n\t \n')).toBe('')
})

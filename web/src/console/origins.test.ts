import { expect, it } from 'vitest'
import { normaliseOrigins } from './origins'

it('makes origins of what people paste', () => {
  expect(normaliseOrigins('https://Shop.example/cart?x=1\nshop.example, http://localhost:8081/')).toEqual([
    'https://shop.example',
    'http://localhost:8081',
  ])
  expect(normaliseOrigins(' \n')).toEqual([])
  expect(normaliseOrigins('http://')).toEqual(['http://']) // the server says what is wrong with it
})

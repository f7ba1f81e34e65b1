import { beforeAll, expect, it, vi } from 'vitest'

let parseRoute: typeof import('./router.svelte').parseRoute
let inboxHref: typeof import('./router.svelte').inboxHref

beforeAll(async () => {
  vi.stubGlobal('location', { hash: '' })
  vi.stubGlobal('addEventListener', () => {})
  ;({ parseRoute, inboxHref } = await import('./router.svelte'))
})

it('reads the routes, and takes anything else for the inbox', () => {
  expect(parseRoute('#/inbox/mine/c%201')).toEqual({ page: 'inbox', filter: 'mine', conversation: 'c 1' })
  expect(parseRoute('#/inbox/closed')).toEqual({ page: 'inbox', filter: 'closed', conversation: null })
  expect(parseRoute('#/invite/tok%2Fen')).toEqual({ page: 'invite', token: 'tok/en' })
  expect(parseRoute('#/sites')).toEqual({ page: 'sites' })
  for (const odd of ['', '#', '#/', '#/inbox', '#/inbox/nonsense', '#/invite/', '#/nowhere/mine/x', '#/%E0%A4%A'])
    expect(parseRoute(odd)).toMatchObject({ page: 'inbox', conversation: null })
})

it('writes what it reads', () => {
  expect(parseRoute(inboxHref('mine', 'a/b'))).toEqual({ page: 'inbox', filter: 'mine', conversation: 'a/b' })
})

import { afterEach, describe, expect, it, vi } from 'vitest'
import { Api, ApiError, asApiError, newId, parseRetryAfter } from './api'

const respond = (status: number, body?: unknown, headers: Record<string, string> = {}) =>
  new Response(body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body), { status, headers })
const problem = { 'Content-Type': 'application/problem+json' }

function setup(response: Response | Error) {
  const fetch = vi.fn<(url: string, init: RequestInit) => Promise<Response>>(async () => {
    if (response instanceof Error) throw response
    return response
  })
  const onSignedOut = vi.fn()
  const api = new Api({ fetch: fetch as unknown as typeof globalThis.fetch, onSignedOut, locale: () => 'de' })
  const caught = (run: Promise<unknown>) => run.then(() => undefined, asApiError)
  return { api, fetch, onSignedOut, caught }
}

afterEach(() => vi.useRealTimers())

describe('requests', () => {
  it('sends JSON from the own origin and reads the answer', async () => {
    const { api, fetch } = setup(respond(200, { id: 'x' }))
    expect(await api.post('/sites', { name: 'Shop' }, { idempotencyKey: 'k' })).toEqual({ id: 'x' })
    const [url, init] = fetch.mock.calls[0]!
    expect(url).toBe('/api/v1/sites')
    expect(init).toMatchObject({ method: 'POST', body: '{"name":"Shop"}', credentials: 'same-origin' })
    expect(init.headers).toMatchObject({ 'Content-Type': 'application/json', 'Idempotency-Key': 'k', 'Accept-Language': 'de' })
  })

  it('speaks for a visitor by token, never by cookie', async () => {
    const fetch = vi.fn(async () => respond(204))
    const api = new Api({ base: 'https://chat.example', token: () => 't', fetch })
    expect(await api.delete('/widget/session')).toBeUndefined()
    const [url, init] = fetch.mock.calls[0] as unknown as [string, RequestInit]
    expect(url).toBe('https://chat.example/api/v1/widget/session')
    expect(init.credentials).toBe('omit')
    expect(init.headers).toMatchObject({ Authorization: 'Bearer t' })
  })
})

describe('errors', () => {
  it('carry what the problem document says', async () => {
    const { api, caught } = setup(
      respond(422, { status: 422, code: 'message_empty', detail: 'Write something.', field: 'body' }, problem),
    )
    const error = await caught(api.get('/x'))
    expect(error).toMatchObject({ status: 422, code: 'message_empty', detail: 'Write something.', field: 'body' })
    expect(error?.transient).toBe(false)
  })

  it('make do with a proxy’s page', async () => {
    const { api, caught } = setup(respond(502, '<html>', { 'Content-Type': 'text/html' }))
    const error = await caught(api.get('/x'))
    expect(error).toMatchObject({ status: 502, code: 'http_502', detail: '' })
    expect(error?.transient).toBe(true)
  })

  it('know how long to wait', async () => {
    const { api, caught } = setup(respond(429, { code: 'rate_limited' }, { ...problem, 'Retry-After': '7' }))
    expect(await caught(api.get('/x'))).toMatchObject({ retryAfter: 7000, transient: true })
    expect(parseRetryAfter('soon')).toBeUndefined()
    expect(parseRetryAfter('99999999')).toBe(3_600_000)
  })

  it('say when nobody is signed in', async () => {
    const { api, caught, onSignedOut } = setup(respond(401, { code: 'signed_out' }, problem))
    await caught(api.get('/x'))
    expect(onSignedOut).toHaveBeenCalledOnce()
  })

  it('are of one kind when no answer comes', async () => {
    const { api, caught } = setup(new TypeError('Failed to fetch'))
    expect(await caught(api.get('/x'))).toMatchObject({ status: 0, code: 'network', transient: true })
  })

  it('tell a timeout from a cancellation', async () => {
    vi.useFakeTimers()
    const hang = ((_: string, init: RequestInit) =>
      new Promise((_, reject) => init.signal!.addEventListener('abort', () => reject(new Error('aborted'))))) as never
    const api = new Api({ fetch: hang, timeoutMs: 1000 })
    const slow = api.get('/x').catch((e: ApiError) => e)
    await vi.advanceTimersByTimeAsync(1000)
    expect(await slow).toMatchObject({ code: 'timeout' })
    const abort = new AbortController()
    const cancelled = api.get('/x', { signal: abort.signal }).catch((e: ApiError) => e)
    abort.abort()
    expect(await cancelled).toMatchObject({ code: 'aborted' })
  })
})

it('makes ids that the server takes', () => {
  const ids = new Set(Array.from({ length: 1000 }, newId))
  expect(ids.size).toBe(1000)
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})

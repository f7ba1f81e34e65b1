// The HTTP client: JSON in, JSON out, problem documents as typed errors. Without dependencies, so that the widget can use it too.

/** A refused or failed request. `status` 0: no answer came (offline, cut, timed out). */
export class ApiError extends Error {
  override readonly name = 'ApiError'

  constructor(
    readonly status: number,
    /** The problem's stable code, or `network`, `timeout`, `aborted` when there was no answer. */
    readonly code: string,
    /** The problem's sentence for people, in the language that was asked for; may be empty. */
    readonly detail = '',
    /** The input that is wrong, when it is one. */
    readonly field?: string,
    /** Milliseconds to wait before trying again, when the server said so. */
    readonly retryAfter?: number,
  ) {
    super(`${code} (${status})`)
  }

  /** Whether the same request may well succeed later, unchanged. */
  get transient(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500
  }
}

export interface ApiOptions {
  /** Where Parley lives, without a slash at the end; '' is the page's own origin. */
  base?: string
  /** The visitor's bearer token, asked for each request. Without it the browser's cookie speaks for a member. */
  token?: () => string | null | undefined
  /** The language that errors are wanted in. */
  locale?: () => string
  fetch?: typeof fetch
  /** Called on every 401, after the error was made. */
  onSignedOut?: () => void
  timeoutMs?: number
}

export interface RequestOptions {
  body?: unknown
  signal?: AbortSignal
  /** Makes a creating POST safe to repeat. */
  idempotencyKey?: string
  /** Survives the page being left, for last words such as a read mark. */
  keepalive?: boolean
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export class Api {
  constructor(private readonly options: ApiOptions = {}) {}

  get<T>(path: string, o?: RequestOptions) {
    return this.request<T>('GET', path, o)
  }
  post<T>(path: string, body?: unknown, o?: RequestOptions) {
    return this.request<T>('POST', path, { body, ...o })
  }
  put<T>(path: string, body?: unknown, o?: RequestOptions) {
    return this.request<T>('PUT', path, { body, ...o })
  }
  patch<T>(path: string, body?: unknown, o?: RequestOptions) {
    return this.request<T>('PATCH', path, { body, ...o })
  }
  delete<T>(path: string, o?: RequestOptions) {
    return this.request<T>('DELETE', path, o)
  }

  /** `path` begins after /api/v1. Throws ApiError and nothing else. */
  async request<T>(method: Method, path: string, o: RequestOptions = {}): Promise<T> {
    const { base = '', token, locale, timeoutMs = 20_000 } = this.options
    const send = this.options.fetch ?? fetch
    const headers: Record<string, string> = { Accept: 'application/json' }
    const bearer = token?.()
    if (bearer) headers['Authorization'] = `Bearer ${bearer}`
    if (locale) headers['Accept-Language'] = locale()
    if (o.body !== undefined) headers['Content-Type'] = 'application/json'
    if (o.idempotencyKey) headers['Idempotency-Key'] = o.idempotencyKey

    const abort = new AbortController()
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      abort.abort()
    }, timeoutMs)
    const cancel = () => abort.abort()
    o.signal?.addEventListener('abort', cancel)
    try {
      if (o.signal?.aborted) throw new ApiError(0, 'aborted')
      const response = await send(`${base}/api/v1${path}`, {
        method,
        headers,
        body: o.body === undefined ? undefined : JSON.stringify(o.body),
        credentials: token ? 'omit' : 'same-origin',
        cache: 'no-store',
        keepalive: o.keepalive,
        signal: abort.signal,
      })
      if (!response.ok) throw await problem(response)
      if (response.status === 204) return undefined as T
      return (await response.json()) as T
    } catch (cause) {
      const error = asApiError(cause, timedOut, o.signal?.aborted ?? false)
      if (error.status === 401) this.options.onSignedOut?.()
      throw error
    } finally {
      clearTimeout(timer)
      o.signal?.removeEventListener('abort', cancel)
    }
  }
}

/** Turns whatever was thrown into an ApiError. */
export function asApiError(cause: unknown, timedOut = false, aborted = false): ApiError {
  if (cause instanceof ApiError) return cause
  return new ApiError(0, timedOut ? 'timeout' : aborted ? 'aborted' : 'network')
}

async function problem(response: Response): Promise<ApiError> {
  const wait = parseRetryAfter(response.headers.get('Retry-After'))
  let body: Record<string, unknown> = {}
  try {
    if (/json/.test(response.headers.get('Content-Type') ?? '')) body = (await response.json()) as typeof body
  } catch {
    // A proxy's page, or a body cut short: the status says enough.
  }
  const text = (key: string) => (typeof body[key] === 'string' ? (body[key] as string) : undefined)
  return new ApiError(response.status, text('code') ?? `http_${response.status}`, text('detail') ?? '', text('field'), wait)
}

/** Reads a Retry-After header in seconds, as milliseconds. */
export function parseRetryAfter(header: string | null): number | undefined {
  if (!header || !/^\d+$/.test(header.trim())) return undefined
  return Math.min(Number(header) * 1000, 3_600_000)
}

/** A random id for messages and idempotency keys. Works on plain HTTP too, where crypto.randomUUID is missing. */
export function newId(): string {
  const b = crypto.getRandomValues(new Uint8Array(16))
  b[6] = (b[6]! & 0x0f) | 0x40
  b[8] = (b[8]! & 0x3f) | 0x80
  const hex = Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { ChatEvent, Message, WidgetConversation } from '../lib/protocol'
import { Session } from './session'
import type { SocketEvents } from './socket'
import { TokenStore } from './storage'

const anna = { id: 'anna', name: 'Anna' }

interface Talk extends WidgetConversation {
  visitor: string
  messages: Message[]
}

/** Keeps what the frame sends the way docs/protocol.md says, and fails on demand. */
class Server {
  tokens = new Map<string, string>()
  talks: Talk[] = []
  /** The next answers to POST: a status, or 0 for an answer that is lost after the work was done. */
  failures: { status: number; retryAfter?: number }[] = []
  siteStatus = 200
  down = false
  requests: string[] = []
  bodies: Record<string, unknown>[] = []

  fetch: typeof fetch = async (input, init) => {
    const method = init?.method ?? 'GET'
    const url = new URL(String(input), 'https://parley.example')
    const path = url.pathname.replace('/api/v1/widget', '')
    this.requests.push(`${method} ${path}`)
    if (this.down) throw new TypeError('down')
    const failure = method === 'POST' ? this.failures.shift() : undefined
    if (failure && failure.status > 0) return this.#problem(failure.status, failure.retryAfter)
    const headers = new Headers(init?.headers)
    const token = headers.get('Authorization')?.replace('Bearer ', '')
    const body = init?.body ? (JSON.parse(String(init.body)) as Record<string, unknown>) : {}
    const answer = this.#answer(method, path, url.searchParams, token, body)
    if (failure) throw new TypeError('cut')
    return answer
  }

  #answer(method: string, path: string, query: URLSearchParams, token: string | undefined, body: Record<string, unknown>): Response {
    const [, first, id, what] = path.split('/')
    if (first === 'sites' && !what) {
      return this.siteStatus === 200 ? this.#json({ id, name: 'Shop', online: true }) : this.#problem(this.siteStatus)
    }
    let visitor = token === undefined ? undefined : this.tokens.get(token)
    if (token !== undefined && visitor === undefined) return this.#problem(401)
    if (first === 'sites') {
      this.bodies.push(body)
      const made = visitor === undefined ? `t${this.tokens.size + 1}` : undefined
      if (made) this.tokens.set(made, (visitor = `v${this.tokens.size + 1}`))
      const talk = this.begin(visitor ?? '')
      const message = this.say(talk, 'visitor', String(body.body), String(body.client_id))
      return this.#json({ token: made, visitor: { id: visitor }, conversation: talk, message }, 201)
    }
    if (visitor === undefined) return this.#problem(401)
    if (first === 'session') {
      this.tokens.delete(token ?? '')
      return new Response(null, { status: 204 })
    }
    if (first === 'visitor') return this.#json({ id: visitor, ...body })
    const own = this.talks.filter((t) => t.visitor === visitor)
    if (!id) return this.#json({ visitor: { id: visitor }, items: [...own].reverse() })
    const talk = own.find((t) => t.id === id)
    if (!talk) return this.#problem(404)
    if (what === 'read') {
      talk.visitor_read_seq = Number(body.seq)
      return new Response(null, { status: 204 })
    }
    if (method === 'POST') return this.#json(this.say(talk, 'visitor', String(body.body), String(body.client_id)), 201)
    if (what === 'messages') return this.#page(talk, query)
    return this.#json(talk)
  }

  #page(talk: Talk, query: URLSearchParams): Response {
    const limit = Number(query.get('limit'))
    const after = query.get('after')
    const before = query.get('before')
    if (after !== null) {
      const rest = talk.messages.filter((m) => m.seq > Number(after))
      return this.#json({ items: rest.slice(0, limit), more: rest.length > limit })
    }
    const rest = talk.messages.filter((m) => before === null || m.seq < Number(before))
    return this.#json({ items: rest.slice(-limit), more: rest.length > limit })
  }

  begin(visitor: string): Talk {
    const base = { state: 'open' as const, last_seq: 0, created_at: '', visitor_read_seq: 0, agent_read_seq: 0, unread: 0, assignee: null }
    const talk: Talk = { ...base, id: `c${this.talks.length + 1}`, visitor, messages: [] }
    this.talks.push(talk)
    return talk
  }

  say(talk: Talk, kind: 'visitor' | 'agent', body: string, clientId = `a${talk.messages.length}`): Message {
    const old = talk.messages.find((m) => m.client_id === clientId)
    if (old) return old
    const seq = ++talk.last_seq
    const author = kind === 'agent' ? { kind, ...anna } : { kind, id: talk.visitor }
    const message: Message = { id: `m${seq}`, conversation: talk.id, seq, client_id: clientId, sent_at: new Date(seq * 1000).toISOString(), author, body }
    talk.messages.push(message)
    if (kind === 'agent') talk.unread++
    talk.state = 'open'
    return message
  }

  #json(value: unknown, status = 200): Response {
    return new Response(JSON.stringify(value), { status, headers: { 'Content-Type': 'application/json' } })
  }

  #problem(status: number, retryAfter?: number): Response {
    const headers: Record<string, string> = { 'Content-Type': 'application/problem+json' }
    if (retryAfter !== undefined) headers['Retry-After'] = String(retryAfter)
    return new Response(JSON.stringify({ status, code: `x${status}` }), { status, headers })
  }
}

/** One browser: a frame with its storage and its sockets. */
function browser(server: Server, kept: Map<string, string> = new Map()) {
  const storage = {
    getItem: (k: string) => kept.get(k) ?? null,
    setItem: (k: string, v: string) => void kept.set(k, v),
    removeItem: (k: string) => void kept.delete(k),
  } as unknown as Storage
  const sockets: { token: string; on: SocketEvents; calls: string[]; closed: boolean; reconnects: number }[] = []
  const heard: string[] = []
  const session = new Session({
    siteId: 's1',
    locale: 'en',
    store: new TokenStore('s1', () => storage),
    onChange: () => {},
    onAgentMessage: (m) => heard.push(m.body),
    fetch: server.fetch,
    openSocket: (token, on) => {
      const socket = { token, on, calls: [] as string[], closed: false, reconnects: 0 }
      sockets.push(socket)
      return {
        call: (method, data) => {
          socket.calls.push(`${method} ${JSON.stringify(data)}`)
          return true
        },
        reconnect: () => void socket.reconnects++,
        close: () => void (socket.closed = true),
      }
    },
  })
  return { session, sockets, heard, kept }
}

function created(message: Message): ChatEvent {
  const data = { conversation: message.conversation, message }
  return { id: '', type: 'chat.message.created.v1', org: '', time: '', seq: 0, data }
}

/** Lets everything that is under way finish. */
const settle = () => vi.advanceTimersByTimeAsync(0)

const bodies = (s: Session) => s.sync.messages.map((m) => m.body)

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

async function talking() {
  const server = new Server()
  const b = browser(server)
  await b.session.start()
  b.session.send('one')
  await settle()
  b.sockets[0]?.on.up()
  await settle()
  const talk = server.talks[0]
  const socket = b.sockets[0]
  if (!talk || !socket) throw new Error('no talk')
  return { server, talk, socket, ...b }
}

describe('a newcomer', () => {
  test('asks for the site only, opens no socket and keeps nothing', async () => {
    const server = new Server()
    const { session, sockets, kept } = browser(server)
    await session.start()
    expect(session.phase).toBe('ready')
    expect(server.requests).toEqual(['GET /sites/s1'])
    expect(sockets).toEqual([])
    expect(kept.size).toBe(0)
  })

  test('gets a conversation with the first message, and sends only what was filled in', async () => {
    const server = new Server()
    const { session, sockets, kept } = browser(server)
    await session.start()
    session.page = { url: 'https://shop.example/', title: 'T' }
    session.details = { name: '', email: 'a@b.example' }
    session.send('hello')
    await settle()
    expect(bodies(session)).toEqual(['hello'])
    expect(session.sync.outbox).toEqual([])
    expect(server.bodies[0]).toMatchObject({ body: 'hello', locale: 'en', visitor: { email: 'a@b.example' } })
    expect(server.bodies[0]?.visitor).not.toHaveProperty('name')
    expect(sockets.map((s) => s.token)).toEqual(['t1'])
    expect(kept.get('parley.visitor')).toContain('t1')
  })

  test('who writes twice at once still has one conversation, in order', async () => {
    const server = new Server()
    const { session } = browser(server)
    await session.start()
    session.send('a')
    session.send('b')
    session.send('c')
    await settle()
    expect(server.talks).toHaveLength(1)
    expect(bodies(session)).toEqual(['a', 'b', 'c'])
  })

  test('is told when there is no such site, and can try again when the network failed', async () => {
    const server = new Server()
    const { session } = browser(server)
    server.siteStatus = 404
    await session.start()
    expect(session.phase).toBe('unknown')
    server.siteStatus = 503
    await session.start()
    expect(session.phase).toBe('failed')
    server.siteStatus = 200
    session.retryNow()
    await settle()
    expect(session.phase).toBe('ready')
  })
})

describe('a talk', () => {
  test('goes both ways, and knows what is unread', async () => {
    const { server, talk, socket, session, heard } = await talking()
    socket.on.event(created(server.say(talk, 'agent', 'two')))
    expect(bodies(session)).toEqual(['one', 'two'])
    expect(heard).toEqual(['two'])
    expect(session.unread).toBe(1)
    session.markRead()
    expect(session.unread).toBe(0)
    expect(socket.calls).toContain('read {"conversation":"c1","seq":2}')
  })

  test('fills what was missed while the socket was down, once', async () => {
    const { server, talk, socket, session } = await talking()
    const two = server.say(talk, 'agent', 'two')
    const three = server.say(talk, 'agent', 'three')
    socket.on.event(created(three))
    socket.on.event(created(two))
    socket.on.up()
    await settle()
    socket.on.event(created(three))
    expect(bodies(session)).toEqual(['one', 'two', 'three'])
  })

  test('says that the connection is lost only after a while, and keeps what was written', async () => {
    const { server, socket, session } = await talking()
    server.down = true
    socket.on.down(false)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(session.connection).toBe('connecting')
    await vi.advanceTimersByTimeAsync(2_000)
    expect(session.connection).toBe('lost')
    session.send('waits')
    await settle()
    expect(session.sync.outbox[0]?.state).toBe('waiting')
    server.down = false
    socket.on.up()
    await settle()
    expect(session.connection).toBe('up')
    expect(bodies(session)).toEqual(['one', 'waits'])
  })

  test('waits as long as the server asks', async () => {
    const { server, session } = await talking()
    server.failures = [{ status: 429, retryAfter: 7 }]
    session.send('fast')
    await vi.advanceTimersByTimeAsync(6_900)
    expect(bodies(session)).toEqual(['one'])
    await vi.advanceTimersByTimeAsync(200)
    expect(bodies(session)).toEqual(['one', 'fast'])
  })

  test('a lost answer is no second message', async () => {
    const { server, talk, session } = await talking()
    server.failures = [{ status: 0 }]
    session.send('again')
    await vi.advanceTimersByTimeAsync(2_000)
    expect(talk.messages.map((m) => m.body)).toEqual(['one', 'again'])
    expect(bodies(session)).toEqual(['one', 'again'])
  })

  test('writing reopens a closed conversation', async () => {
    const { socket, session } = await talking()
    socket.on.event({ id: '', type: 'chat.conversation.updated.v1', org: '', time: '', seq: 0, data: { conversation: 'c1', state: 'closed', assignee: anna } })
    expect(session.conversation).toMatchObject({ state: 'closed', assignee: anna })
    session.send('back')
    await settle()
    expect(session.conversation?.state).toBe('open')
  })

  test('an agent who is writing stops by itself, or by the message', async () => {
    const { server, talk, socket, session } = await talking()
    const typing = (on: boolean): ChatEvent => ({
      id: '', type: 'chat.typing.v1', org: '', time: '', seq: 0,
      data: { conversation: 'c1', by: { kind: 'agent', id: 'anna' }, on },
    })
    socket.on.event(typing(true))
    expect(session.typing).toBe('anna')
    await vi.advanceTimersByTimeAsync(6_000)
    expect(session.typing).toBeUndefined()
    socket.on.event(typing(true))
    socket.on.event(created(server.say(talk, 'agent', 'x')))
    expect(session.typing).toBeUndefined()
  })

  test('tells of its own writing now and then, and of its end', async () => {
    const { socket, session } = await talking()
    session.type(true)
    session.type(true)
    await vi.advanceTimersByTimeAsync(3_100)
    session.type(true)
    session.type(false)
    session.type(false)
    const told = socket.calls.filter((c) => c.startsWith('typing')).map((c) => c.includes('true'))
    expect(told).toEqual([true, true, false])
  })

  test('events of other conversations are none of ours', async () => {
    const { socket, session } = await talking()
    socket.on.event(created({ ...session.sync.messages[0]!, conversation: 'other', seq: 2, client_id: 'z', body: 'foreign' }))
    expect(bodies(session)).toEqual(['one'])
  })
})

describe('coming back', () => {
  test('the next page takes the conversation up where it was', async () => {
    const { server, talk, kept } = await talking()
    server.say(talk, 'agent', 'two')
    const next = browser(server, kept)
    await next.session.start()
    expect(bodies(next.session)).toEqual(['one', 'two'])
    expect(next.session.unread).toBe(1)
    expect(next.heard).toEqual([])
    expect(next.sockets).toHaveLength(1)
  })

  test('a token that ran out starts afresh and says so', async () => {
    const { server, kept } = await talking()
    server.tokens.clear()
    const next = browser(server, kept)
    await next.session.start()
    expect(next.session.phase).toBe('ready')
    expect(next.session.notice).toBe('expired')
    expect(next.session.conversation).toBeUndefined()
    expect(kept.size).toBe(0)
  })

  test('a message that meets an ended conversation goes into a new one, once', async () => {
    const { server, socket, session } = await talking()
    server.tokens.clear()
    session.send('hello again')
    await settle()
    expect(socket.closed).toBe(true)
    expect(session.notice).toBe('expired')
    expect(bodies(session)).toEqual(['hello again'])
    expect(server.talks.map((t) => t.messages.map((m) => m.body))).toEqual([['one'], ['hello again']])
  })

  test('a socket that the server ended is tried again, unless the token is spent', async () => {
    const { server, socket, sockets, session } = await talking()
    socket.on.down(true)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(sockets).toHaveLength(2)
    server.tokens.clear()
    sockets[1]?.on.down(true)
    await vi.advanceTimersByTimeAsync(20_000)
    expect(sockets).toHaveLength(2)
    expect(session.notice).toBe('expired')
  })
})

describe('forgetting', () => {
  test('takes everything off the device', async () => {
    const { server, socket, session, kept } = await talking()
    session.details = { name: 'N', email: '' }
    await session.forget()
    expect(server.tokens.size).toBe(0)
    expect(kept.size).toBe(0)
    expect(socket.closed).toBe(true)
    expect(session).toMatchObject({ conversation: undefined, visitor: undefined, notice: 'forgotten', details: { name: '', email: '' } })
    expect(bodies(session)).toEqual([])
  })

  test('changes nothing when the server is out of reach', async () => {
    const { server, session, kept } = await talking()
    server.down = true
    await expect(session.forget()).rejects.toMatchObject({ status: 0 })
    expect(bodies(session)).toEqual(['one'])
    expect(kept.size).toBe(1)
  })

  test('reaches the other tab', async () => {
    const { server, session, kept } = await talking()
    const other = browser(server, kept)
    await other.session.start()
    await session.forget()
    await other.session.storageChanged()
    expect(other.session.conversation).toBeUndefined()
    expect(other.session.notice).toBe('forgotten')
  })

  test('a beginning in one tab shows in the other', async () => {
    const server = new Server()
    const kept = new Map<string, string>()
    const a = browser(server, kept)
    const b = browser(server, kept)
    await a.session.start()
    await b.session.start()
    a.session.send('hi')
    await settle()
    await b.session.storageChanged()
    expect(bodies(b.session)).toEqual(['hi'])
  })
})

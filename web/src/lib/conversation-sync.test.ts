import { describe, expect, it } from 'vitest'
import { ConversationSync, type Options, type Transport } from './conversation-sync'
import type { Message, MessagePage } from './protocol'

/** A server that stores as the real one does: seq without holes, one row per client_id. */
class Server implements Transport {
  stored: Message[] = []
  pageSize = 3
  calls: string[] = []
  /** Decides the fate of each call: fail before or after it took effect. */
  fate: (call: string) => 'ok' | 'lost-request' | 'lost-answer' | Error = () => 'ok'

  put(body: string, clientId = `other-${this.stored.length + 1}`): Message {
    const old = this.stored.find((m) => m.client_id === clientId)
    if (old) return old
    const seq = this.stored.length + 1
    const message: Message = {
      id: `m${seq}`,
      conversation: 'c',
      seq,
      client_id: clientId,
      sent_at: new Date(seq * 1000).toISOString(),
      author: { kind: 'visitor', id: 'v' },
      body,
    }
    this.stored.push(message)
    return message
  }

  async #call<T>(name: string, work: () => T): Promise<T> {
    this.calls.push(name)
    const fate = this.fate(name)
    await Promise.resolve()
    if (fate instanceof Error) throw fate
    if (fate === 'lost-request') throw Object.assign(new Error('lost'), { transient: true })
    const result = work()
    await Promise.resolve()
    if (fate === 'lost-answer') throw Object.assign(new Error('lost'), { transient: true })
    return result
  }

  newest = () => this.#call('newest', () => page(this.stored.slice(-this.pageSize), this.stored.length > this.pageSize))
  after = (seq: number) =>
    this.#call(`after ${seq}`, () => page(this.stored.slice(seq, seq + this.pageSize), this.stored.length > seq + this.pageSize))
  before = (seq: number) =>
    this.#call(`before ${seq}`, () =>
      page(this.stored.slice(Math.max(0, seq - 1 - this.pageSize), seq - 1), seq - 1 > this.pageSize),
    )
  send = (clientId: string, body: string) => this.#call(`send ${body}`, () => this.put(body, clientId))
}

const page = (items: Message[], more: boolean): MessagePage => ({ items, more })

/** Time that only moves when told to. */
class Clock {
  #due: { at: number; fn: () => void }[] = []
  #now = 0
  later = (fn: () => void, ms: number) => {
    const entry = { at: this.#now + ms, fn }
    this.#due.push(entry)
    return () => {
      this.#due = this.#due.filter((e) => e !== entry)
    }
  }
  async advance(ms: number) {
    this.#now += ms
    const due = this.#due.filter((e) => e.at <= this.#now)
    this.#due = this.#due.filter((e) => e.at > this.#now)
    for (const e of due) e.fn()
    await settled()
  }
  get waiting() {
    return this.#due.length
  }
}

/** Lets every promise that can settle without the clock do so. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

function setup(options: Partial<Options> = {}) {
  const server = new Server()
  const clock = new Clock()
  const heard: number[] = []
  let n = 0
  const sync = new ConversationSync({
    transport: server,
    newId: () => `own-${++n}`,
    later: clock.later,
    onMessage: (m) => heard.push(m.seq),
    ...options,
  })
  return { server, clock, sync, heard }
}

const seqs = (sync: ConversationSync) => sync.messages.map((m) => m.seq)

describe('order', () => {
  it('loads the newest page and pages backwards without a hole', async () => {
    const { server, sync, heard } = setup()
    for (let i = 1; i <= 8; i++) server.put(`${i}`)
    await sync.recover()
    expect(seqs(sync)).toEqual([6, 7, 8])
    expect(sync.hasEarlier).toBe(true)
    await sync.loadEarlier()
    await Promise.all([sync.loadEarlier(), sync.loadEarlier()]) // twice at once is once
    expect(seqs(sync)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(sync.hasEarlier).toBe(false)
    await sync.loadEarlier()
    expect(server.calls).toEqual(['newest', 'before 6', 'before 3'])
    expect(heard).toEqual([]) // history is not news
  })

  it('appends what follows, and drops what it has', async () => {
    const { server, sync, heard } = setup()
    server.put('1')
    await sync.recover()
    const two = server.put('2')
    sync.receive(two)
    sync.receive(two)
    sync.receive(server.stored[0]!)
    expect(seqs(sync)).toEqual([1, 2])
    expect(heard).toEqual([2])
    expect(server.calls).toEqual(['newest'])
  })

  it('holds messages that come before the first page', async () => {
    const { server, sync } = setup()
    server.put('1')
    const loading = sync.recover()
    await Promise.resolve()
    await Promise.resolve()
    sync.receive(server.put('2'))
    await loading
    expect(seqs(sync)).toEqual([1, 2])
  })

  it('takes a seeded page instead of the first load', async () => {
    const { server, sync } = setup()
    sync.seed(page([server.put('1')], false))
    expect(sync.loaded).toBe(true)
    server.put('2')
    await sync.recover()
    expect(seqs(sync)).toEqual([1, 2])
    expect(server.calls).toEqual(['after 1'])
  })
})

describe('recovery', () => {
  it('fills a gap, over several pages', async () => {
    const { server, sync, heard } = setup()
    server.put('1')
    await sync.recover()
    for (let i = 2; i <= 9; i++) server.put(`${i}`)
    sync.receive(server.stored[8]!)
    expect(seqs(sync)).toEqual([1]) // never shown out of order
    await settled()
    expect(seqs(sync)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(heard).toEqual([2, 3, 4, 5, 6, 7, 8, 9])
  })

  it('asks again when a gap opens while one is being filled', async () => {
    const { server, sync } = setup()
    server.put('1')
    await sync.recover()
    server.put('2')
    const recovering = sync.recover()
    await settled()
    await recovering
    server.put('3')
    const again = sync.recover()
    await Promise.resolve()
    await Promise.resolve() // the answer is made, but has not arrived
    server.put('4')
    sync.receive(server.put('5'))
    await again
    expect(seqs(sync)).toEqual([1, 2, 3, 4, 5])
  })

  it('tries again with growing waits, and says why meanwhile', async () => {
    const { server, sync, clock } = setup()
    server.put('1')
    server.fate = () => 'lost-request'
    await sync.recover()
    expect(sync.error).toBeInstanceOf(Error)
    await clock.advance(999)
    expect(server.calls).toHaveLength(1)
    await clock.advance(1)
    expect(server.calls).toHaveLength(2)
    server.fate = () => 'ok'
    await clock.advance(2000)
    expect(sync.error).toBeUndefined()
    expect(seqs(sync)).toEqual([1])
    expect(clock.waiting).toBe(0)
  })

  it('does not try again what was refused', async () => {
    const { server, sync, clock } = setup()
    server.fate = () => Object.assign(new Error('not found'), { transient: false })
    await sync.recover()
    expect(sync.error).toBeDefined()
    expect(clock.waiting).toBe(0)
  })

  it('is not led into a loop by a server that says more and brings nothing', async () => {
    const { server, sync } = setup()
    server.put('1')
    await sync.recover()
    server.after = async (seq) => {
      server.calls.push(`after ${seq}`)
      return page([], true)
    }
    await sync.recover()
    expect(server.calls).toEqual(['newest', 'after 1'])
  })
})

describe('outbox', () => {
  it('shows a message at once, and once', async () => {
    const { server, sync } = setup()
    await sync.recover()
    sync.send('hello')
    expect(sync.outbox.map((p) => [p.body, p.state])).toEqual([['hello', 'sending']])
    await settled()
    expect(sync.outbox).toEqual([])
    expect(sync.messages.map((m) => m.body)).toEqual(['hello'])
    sync.receive(server.stored[0]!) // the socket's copy
    expect(sync.messages).toHaveLength(1)
  })

  it('keeps the order of writing', async () => {
    const { server, sync } = setup()
    await sync.recover()
    for (const body of ['a', 'b', 'c']) sync.send(body)
    await settled()
    expect(server.stored.map((m) => m.body)).toEqual(['a', 'b', 'c'])
  })

  it('sends again under the same id when the answer was lost', async () => {
    const { server, sync, clock } = setup()
    await sync.recover()
    server.fate = (call) => (call.startsWith('send') ? 'lost-answer' : 'ok')
    sync.send('once')
    sync.send('then')
    await settled()
    expect(sync.outbox.map((p) => p.state)).toEqual(['waiting', 'sending'])
    server.fate = () => 'ok'
    await clock.advance(1000)
    expect(server.stored.map((m) => m.body)).toEqual(['once', 'then'])
    expect(sync.messages.map((m) => m.body)).toEqual(['once', 'then'])
    expect(sync.outbox).toEqual([])
  })

  it('sends what waits on reconnect, without waiting for the clock', async () => {
    const { server, sync, clock } = setup()
    await sync.recover()
    server.fate = () => 'lost-request'
    sync.send('x')
    await settled()
    server.fate = () => 'ok'
    await sync.recover()
    await settled()
    expect(sync.messages.map((m) => m.body)).toEqual(['x'])
    expect(clock.waiting).toBe(0)
  })

  it('waits as long as the server asks', async () => {
    const { server, sync, clock } = setup()
    await sync.recover()
    server.fate = () => Object.assign(new Error('slow down'), { transient: true, retryAfter: 7000 })
    sync.send('x')
    await settled()
    server.fate = () => 'ok'
    await clock.advance(6999)
    expect(server.stored).toHaveLength(0)
    await clock.advance(1)
    expect(server.stored).toHaveLength(1)
  })

  it('keeps what was refused for the person, and lets the next one pass', async () => {
    const { server, sync } = setup()
    await sync.recover()
    server.fate = (call) => (call === 'send bad' ? Object.assign(new Error('refused'), { transient: false }) : 'ok')
    const bad = sync.send('bad')
    sync.send('good')
    await settled()
    expect(sync.messages.map((m) => m.body)).toEqual(['good'])
    expect(sync.outbox.map((p) => p.state)).toEqual(['failed'])
    server.fate = () => 'ok'
    sync.retry(bad.clientId)
    await settled()
    expect(sync.messages.map((m) => m.body)).toEqual(['good', 'bad'])
    expect(sync.discard(bad.clientId)).toBeUndefined()
  })

  it('hands a discarded text back', async () => {
    const { server, sync } = setup()
    await sync.recover()
    server.fate = () => Object.assign(new Error('refused'), { transient: false })
    const bad = sync.send('bad')
    await settled()
    expect(sync.discard(bad.clientId)).toBe('bad')
    expect(sync.outbox).toEqual([])
  })

  it('takes over what an earlier page left unsent', async () => {
    const { server, sync } = setup({ outbox: [{ clientId: 'old', body: 'late', at: new Date(0) }] })
    server.put('late', 'old') // it had arrived after all
    await sync.recover()
    await settled()
    expect(server.stored).toHaveLength(1)
    expect(sync.outbox).toEqual([])
  })

  it('stays in sight while a gap before it is filled', async () => {
    const { server, sync } = setup()
    server.put('1')
    await sync.recover()
    server.put('2')
    const after = server.after
    let release = () => {}
    server.after = async (seq) => {
      await new Promise<void>((resolve) => (release = resolve))
      return after(seq)
    }
    sync.send('3')
    await settled()
    expect(seqs(sync)).toEqual([1])
    expect(sync.outbox.map((p) => p.body)).toEqual(['3'])
    release()
    await settled()
    expect(seqs(sync)).toEqual([1, 2, 3])
    expect(sync.outbox).toEqual([])
    expect(server.calls.filter((c) => c.startsWith('send'))).toHaveLength(1)
  })

  it('says nothing after it was stopped', async () => {
    let changes = 0
    const { server, sync, clock } = setup({ onChange: () => changes++ })
    server.put('1')
    const loading = sync.recover()
    sync.stop()
    await loading
    sync.receive(server.put('2'))
    await clock.advance(60_000)
    expect(changes).toBe(0)
    expect(sync.messages).toEqual([])
  })
})

describe('a bad day', () => {
  // Two clients write through a network that loses requests, answers and socket messages, repeats and reorders them.
  it.each(Array.from({ length: 60 }, (_, i) => i + 1))('ends with everything once and in order (seed %i)', async (seed) => {
    const random = mulberry32(seed)
    const { server, clock, sync, heard } = setup()
    server.pageSize = 1 + Math.floor(random() * 4)
    let bad = true
    server.fate = () => (!bad || random() < 0.6 ? 'ok' : random() < 0.5 ? 'lost-request' : 'lost-answer')
    for (let i = 0; i < 5; i++) server.put(`before ${i}`)
    void sync.recover()

    let delivered = 0
    const delayed: Message[] = []
    const written: string[] = []
    for (let step = 0; step < 80; step++) {
      const r = random()
      if (r < 0.25) server.put(`other ${step}`)
      else if (r < 0.45) {
        written.push(`own ${step}`)
        sync.send(`own ${step}`)
      } else if (r < 0.55) void sync.recover()
      else if (r < 0.65) void sync.loadEarlier().catch(() => {})
      else if (r < 0.75) await clock.advance(500 + random() * 3000)
      else await settled()
      for (; delivered < server.stored.length; delivered++) {
        const m = server.stored[delivered]!
        const fate = random()
        if (fate < 0.3) continue // lost
        if (fate < 0.5) delayed.push(m)
        else sync.receive(m)
        if (fate > 0.9) sync.receive(m)
      }
      if (delayed.length && random() < 0.3) sync.receive(delayed.splice(Math.floor(random() * delayed.length), 1)[0]!)
      const held = seqs(sync)
      expect(held).toEqual(held.map((_, i) => held[0]! + i)) // never a hole, never a duplicate
    }

    bad = false
    for (let i = 0; i < 40; i++) await clock.advance(30_000)
    await sync.recover()
    await settled()
    while (sync.hasEarlier) await sync.loadEarlier()
    expect(sync.outbox).toEqual([])
    expect(sync.messages.map((m) => m.id)).toEqual(server.stored.map((m) => m.id))
    expect(server.stored.filter((m) => m.client_id.startsWith('own')).map((m) => m.body)).toEqual(written)
    expect(heard).toEqual([...heard].sort((a, b) => a - b))
    expect(new Set(heard).size).toBe(heard.length)
  })
})

function mulberry32(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

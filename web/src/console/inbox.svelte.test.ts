import { beforeEach, describe, expect, it, vi } from 'vitest'
import { Api, ApiError } from '../lib/api'
import type { Conversation, ConversationPage } from '../lib/protocol'
import { Inbox } from './inbox.svelte'

const conversation = (id: string, minute: number, change: Partial<Conversation> = {}): Conversation => ({
  id,
  site: { id: 's', name: 'Shop' },
  visitor: { id: `v${id}`, online: false },
  state: 'open',
  assignee: null,
  last_seq: 1,
  last_message: null,
  last_message_at: new Date(2026, 2, 3, 12, minute).toISOString(),
  created_at: new Date(2026, 2, 3).toISOString(),
  unread: 0,
  visitor_read_seq: 0,
  agent_read_seq: 0,
  page: null,
  ...change,
})

let stored: Conversation[]
let asked: string[]
let fail: ApiError | null
let inbox: Inbox
const seen = vi.fn()
const gone = vi.fn()

/** Answers as the server does, from `stored`. */
function answer(path: string): ConversationPage {
  const query = new URL(path, 'http://x').searchParams
  const counts = { open: 9, mine: 1, unassigned: 5 }
  const ids = query.get('ids')?.split(',')
  if (ids) return { items: stored.filter((c) => ids.includes(c.id)), counts }
  const limit = Number(query.get('limit'))
  const from = Number(query.get('cursor') ?? 0)
  const matching = stored
    .filter((c) => c.state === query.get('state'))
    .filter((c) => query.get('assignee') !== 'me' || c.assignee?.id === 'me')
    .filter((c) => query.get('assignee') !== 'none' || !c.assignee)
    .sort((a, b) => Date.parse(b.last_message_at) - Date.parse(a.last_message_at))
  const next = from + limit < matching.length ? String(from + limit) : undefined
  return { items: matching.slice(from, from + limit), next, counts }
}

beforeEach(() => {
  stored = [conversation('a', 1), conversation('b', 2), conversation('c', 3)]
  asked = []
  fail = null
  const api = new Api()
  vi.spyOn(api, 'get').mockImplementation(async (path) => {
    asked.push(path)
    if (fail) throw fail
    return answer(path) as never
  })
  inbox = new Inbox(api, 'me', seen, gone)
})

const settled = () => new Promise<void>((resolve) => setTimeout(resolve))
const ids = () => inbox.list.map((c) => c.id).join('')
const hint = (conversations: string[], more = false) =>
  inbox.hint({ conversations, more, counts: { open: 10, unassigned: 6 } })

describe('the list', () => {
  it('shows the latest message first', async () => {
    await inbox.show('open')
    expect(ids()).toBe('cba')
    expect(inbox.counts).toEqual({ open: 9, mine: 1, unassigned: 5 })
    expect(inbox.hasMore).toBe(false)
  })

  it('loads further pages once each', async () => {
    stored = Array.from({ length: 120 }, (_, i) => conversation(`n${i}`, i))
    await inbox.show('open')
    expect(inbox.list).toHaveLength(50)
    await Promise.all([inbox.more(), inbox.more()])
    await inbox.more()
    expect(inbox.list).toHaveLength(120)
    expect(inbox.hasMore).toBe(false)
    await inbox.more()
    expect(asked).toHaveLength(3)
  })

  it('keeps the further pages when the first is fetched again', async () => {
    stored = Array.from({ length: 120 }, (_, i) => conversation(`n${i}`, i))
    await inbox.show('open')
    await inbox.more()
    stored.push(conversation('new', 500))
    await inbox.refresh()
    expect(inbox.list[0]?.id).toBe('new')
    expect(inbox.list).toHaveLength(101)
    await inbox.more()
    expect(inbox.list).toHaveLength(121)
    expect(new Set(inbox.list.map((c) => c.id)).size).toBe(121)
  })

  it('says what went wrong, and shows what it has when only a refresh fails', async () => {
    fail = new ApiError(503, 'unavailable')
    await inbox.show('open')
    expect(inbox.stage).toBe('error')
    fail = null
    await inbox.retry()
    expect(inbox.stage).toBe('ready')
    fail = new ApiError(0, 'network')
    await inbox.refresh()
    expect(inbox.stage).toBe('ready')
    expect(ids()).toBe('cba')
  })

  it('drops the answer to a filter that was left', async () => {
    const slow = inbox.show('closed')
    await inbox.show('open')
    await slow
    expect(ids()).toBe('cba')
  })
})

describe('hints', () => {
  beforeEach(() => inbox.show('open'))

  it('fetch what changed and put it in its place', async () => {
    stored[0] = conversation('a', 9)
    hint(['a'])
    await settled()
    expect(ids()).toBe('acb')
    expect(asked.at(-1)).toBe('/conversations?ids=a&limit=100')
    expect(seen).toHaveBeenCalledWith(stored[0])
  })

  it('take out what no longer belongs', async () => {
    stored[1] = conversation('b', 2, { state: 'closed' })
    hint(['b'])
    await settled()
    expect(ids()).toBe('ca')
  })

  it('take out what is gone, and say so', async () => {
    stored.splice(1, 1)
    hint(['b'])
    await settled()
    expect(ids()).toBe('ca')
    expect(gone).toHaveBeenCalledWith('b')
  })

  it('gather while a request is under way', async () => {
    hint(['a'])
    hint(['b'])
    hint(['c', 'a'])
    await settled()
    expect(asked.slice(1)).toEqual(['/conversations?ids=a&limit=100', '/conversations?ids=b,c,a&limit=100'])
  })

  it('fetch the list again when there were too many to name', async () => {
    hint(['a'], true)
    await settled()
    expect(asked.at(-1)).toBe('/conversations?state=open&assignee=any&limit=50')
  })

  it('leave out what lies beyond the loaded pages', async () => {
    stored = Array.from({ length: 120 }, (_, i) => conversation(`n${i}`, i))
    await inbox.show('closed')
    await inbox.show('open')
    hint(['n3'])
    await settled()
    expect(inbox.list).toHaveLength(50)
  })
})

describe('a hint that could not be followed', () => {
  it('is made good by fetching the list whole', async () => {
    await inbox.show('open')
    vi.useFakeTimers()
    try {
      fail = new ApiError(503, 'unavailable')
      stored.push(conversation('d', 4))
      hint(['d'])
      await vi.advanceTimersByTimeAsync(0)
      expect(ids()).toBe('cba')
      fail = null
      await vi.advanceTimersByTimeAsync(5_000)
      expect(ids()).toBe('dcba')
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('filters', () => {
  it('mine are the open ones assigned to me', async () => {
    stored.push(conversation('d', 4, { assignee: { id: 'me', name: 'Me' } }))
    await inbox.show('mine')
    expect(ids()).toBe('d')
    inbox.patch('d', { assignee: null })
    expect(ids()).toBe('')
    inbox.put(conversation('e', 5, { assignee: { id: 'me', name: 'Me' } }))
    expect(ids()).toBe('e')
  })

  it('unassigned are those that wait for somebody', async () => {
    await inbox.show('unassigned')
    inbox.patch('a', { assignee: { id: 'other', name: 'Other' } })
    expect(ids()).toBe('cb')
  })
})

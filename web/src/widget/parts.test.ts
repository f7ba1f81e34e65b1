import { describe, expect, test } from 'vitest'
import { contrast } from '../loader/contrast'
import { readableOn } from './accent'
import { Bridge } from './bridge'
import { catalogues, fill } from './messages'
import { stageWords } from './stage-words'
import { pageStorage, storageKey, TokenStore } from './storage'
import { byteLength, bytesLeft, clean, linkify, plausibleEmail } from './text'
import { clock } from './time'

describe('text', () => {
  test('counts bytes, not characters', () => {
    expect(byteLength('aé€😀')).toBe(1 + 2 + 3 + 4)
    expect(bytesLeft('a'.repeat(8192))).toBe(0)
    expect(bytesLeft('é'.repeat(4097))).toBe(-2)
  })

  test('takes away what nobody can see', () => {
    expect(clean(' a\r\nb\tc\u0000\u001b[31m\u0085 \n')).toBe('a\nb\tc[31m')
    expect(clean('\ud83d!\ude00')).toBe('\ufffd!\ufffd')
    expect(clean('ok 😀')).toBe('ok 😀')
    expect(clean('\n\u0007 ')).toBe('')
  })

  test('makes links of http and https only, without the sentence around them', () => {
    expect(linkify('See https://a.example/b?c=1. Bye')).toEqual([
      { text: 'See ' },
      { text: 'https://a.example/b?c=1', href: 'https://a.example/b?c=1' },
      { text: '. Bye' },
    ])
    expect(linkify('(https://a.example/x_(y))')[1]?.href).toBe('https://a.example/x_(y))')
    expect(linkify('(https://a.example/)')[1]?.href).toBe('https://a.example/')
    for (const text of ['javascript:alert(1)', 'data:text/html,x', 'ftp://a.example', 'https://', 'http:// x', 'plain', ''])
      expect(linkify(text).some((p) => p.href)).toBe(false)
  })

  test('nothing of a message is lost between the pieces', () => {
    for (const text of ['https://a.example https://b.example!', 'x https://a.example', '<https://a.example>', 'https://a.example\nhttps://b.example'])
      expect(
        linkify(text)
          .map((p) => p.text)
          .join(''),
      ).toBe(text)
  })

  test('no e-mail address is a fine e-mail address', () => {
    expect(['', 'a@b.example', 'ü@b.example'].every(plausibleEmail)).toBe(true)
    expect(['a', 'a@b', '@b.example', 'a b@c.example'].some(plausibleEmail)).toBe(false)
  })
})

describe('messages', () => {
  test('German has the places that English has', () => {
    const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map((m) => m[0]).sort()
    for (const [key, text] of Object.entries(catalogues.en)) {
      const other = catalogues.de[key as keyof typeof catalogues.de]
      expect(other, key).toMatch(/\S/)
      expect(places(other), key).toEqual(places(text))
    }
  })

  test('no text shouts', () => {
    for (const words of [...Object.values(catalogues), ...Object.values(stageWords)]) for (const text of Object.values(words)) expect(text).not.toMatch(/!|oops/i)
  })

  test('a message with braces stays as it is', () => {
    expect(fill('{name}: {text}', { name: 'A', text: '{name}' })).toBe('A: {name}')
  })
})

describe('accent', () => {
  test('is moved until it can be read', () => {
    for (const surface of [[243, 241, 236], [38, 37, 33]] as const)
      for (const accent of [[255, 212, 0], [17, 17, 17], [156, 74, 47], [128, 128, 128]] as const)
        expect(contrast(readableOn(accent, surface), surface)).toBeGreaterThanOrEqual(4.5)
  })

  test('stays what it is where it can be read', () => {
    expect(readableOn([15, 94, 92], [255, 255, 255])).toEqual([15, 94, 92])
  })
})

describe('days', () => {
  const at = clock('en', catalogues.en, () => new Date(2026, 2, 10, 9, 0))

  test('have names near today', () => {
    expect(at.day(new Date(2026, 2, 10, 0, 1))).toBe('Today')
    expect(at.day(new Date(2026, 2, 9, 23, 59))).toBe('Yesterday')
    expect(at.day(new Date(2026, 2, 3))).toMatch(/^Tuesday,? 3 March$/)
    expect(at.day(new Date(2025, 11, 31))).toBe('31 December 2025')
  })
})

test('a token that was handed over is kept nowhere', () => {
  const kept = pageStorage()
  const store = new TokenStore('s1', () => kept)
  store.set('t1')
  expect([store.token, store.blocked]).toEqual(['t1', false])
  expect(new TokenStore('s1', () => pageStorage()).token).toBeUndefined()
})

function memory(): Storage {
  const map = new Map<string, string>()
  return {
    get length() {
      return map.size
    },
    clear: () => map.clear(),
    getItem: (k) => map.get(k) ?? null,
    key: (i) => [...map.keys()][i] ?? null,
    removeItem: (k) => void map.delete(k),
    setItem: (k, v) => void map.set(k, v),
  }
}

describe('the token', () => {
  test('writes nothing before there is one, and leaves nothing behind', () => {
    const storage = memory()
    const store = new TokenStore('s1', () => storage)
    expect(storage.length).toBe(0)
    store.set('t1')
    expect(new TokenStore('s1', () => storage).token).toBe('t1')
    expect(new TokenStore('s2', () => storage).token).toBeUndefined()
    store.clear()
    expect(store.token).toBeUndefined()
    expect(storage.length).toBe(0)
  })

  test('keeps other sites apart', () => {
    const storage = memory()
    new TokenStore('s1', () => storage).set('t1')
    new TokenStore('s2', () => storage).set('t2')
    new TokenStore('s1', () => storage).clear()
    expect(JSON.parse(storage.getItem(storageKey) ?? '')).toEqual({ s2: { token: 't2' } })
  })

  test('lives in memory where storage is blocked', () => {
    const store = new TokenStore('s1', () => {
      throw new DOMException('no', 'SecurityError')
    })
    expect(store.blocked).toBe(true)
    store.set('t1')
    expect(store.token).toBe('t1')
    expect(store.reread()).toBe(false)
    store.clear()
    expect(store.token).toBeUndefined()
  })

  test('says so when the storage is full', () => {
    const storage = memory()
    storage.setItem = () => {
      throw new DOMException('full', 'QuotaExceededError')
    }
    const store = new TokenStore('s1', () => storage)
    expect(store.blocked).toBe(false)
    store.set('t1')
    expect(store.blocked).toBe(true)
    expect(store.token).toBe('t1')
  })

  test('does not stumble over what somebody else wrote', () => {
    for (const text of ['{', 'null', '[]', '"x"', '{"s1":5}']) {
      const storage = memory()
      storage.setItem(storageKey, text)
      const store = new TokenStore('s1', () => storage)
      expect(store.token).toBeUndefined()
      store.set('t1')
      expect(new TokenStore('s1', () => storage).token).toBe('t1')
    }
  })

  test('follows another tab', () => {
    const storage = memory()
    const a = new TokenStore('s1', () => storage)
    const b = new TokenStore('s1', () => storage)
    a.set('t1')
    expect(b.reread()).toBe(true)
    expect(b.token).toBe('t1')
    expect(b.reread()).toBe(false)
    a.clear()
    expect(b.reread()).toBe(true)
    expect(b.token).toBeUndefined()
  })
})

/** Just enough of two windows for the bridge. */
function windows(host: string, ancestor = host) {
  const sent: { m: unknown; to: string }[] = []
  let hear: (e: unknown) => void = () => {}
  const parent = { postMessage: (m: unknown, to: string) => sent.push({ m, to }) }
  const win = {
    parent,
    location: { ancestorOrigins: ancestor === '' ? undefined : [ancestor] },
    addEventListener: (_: string, fn: typeof hear) => (hear = fn),
  }
  const shown: unknown[] = []
  const bridge = new Bridge(win as unknown as Window, { host, lang: null, handover: false }, { shown: (p, f) => shown.push([p, f]), hidden: () => shown.push('hidden') })
  return { bridge, sent, shown, parent, post: (data: unknown, origin = host, source: unknown = parent) => hear({ data, origin, source }) }
}

describe('the bridge', () => {
  const page = { url: 'https://shop.example/p?q=1#h', title: 'T' }

  test('speaks to the one origin, and not twice the same', () => {
    const { bridge, sent } = windows('https://shop.example')
    bridge.ready()
    bridge.state(2, true)
    bridge.state(2, true)
    expect(sent).toEqual([
      { m: { parley: 'ready' }, to: 'https://shop.example' },
      { m: { parley: 'state', unread: 2, conversation: true }, to: 'https://shop.example' },
    ])
  })

  test('hears only its parent, from its origin', () => {
    const { shown, post } = windows('https://shop.example')
    post({ parley: 'shown', page, focus: true }, 'https://evil.example')
    post({ parley: 'shown', page, focus: true }, 'https://shop.example', {})
    for (const junk of [null, 5, 'x', {}, { parley: 'close' }]) post(junk)
    expect(shown).toEqual([])
    post({ parley: 'shown', page, focus: true })
    post({ parley: 'hidden' })
    expect(shown).toEqual([[{ url: 'https://shop.example/p', title: 'T' }, true], 'hidden'])
  })

  test('takes no page of another origin', () => {
    const { shown, post } = windows('https://shop.example')
    post({ parley: 'shown', page: { url: 'https://other.example/', title: '' } })
    post({ parley: 'shown', page: { url: 'nonsense', title: '' } })
    post({ parley: 'shown', page: 7 })
    expect(shown).toEqual([
      [undefined, false],
      [undefined, false],
      [undefined, false],
    ])
  })

  test('is silent when the parent is not who it says, or no origin at all', () => {
    for (const w of [windows('https://shop.example', 'https://evil.example'), windows('null', ''), windows('https://shop.example/path', '')]) {
      expect(w.bridge.embedded).toBe(false)
      w.bridge.ready()
      w.bridge.close()
      expect(w.sent).toEqual([])
    }
  })

  test('works where browsers do not name the parent', () => {
    expect(windows('https://shop.example', '').bridge.embedded).toBe(true)
  })
})

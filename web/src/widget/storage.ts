// The visitor's bearer tokens, one per site, in the frame's local storage under `parley.visitor`. Nothing is written
// before the first message. Where the browser keeps nothing, the token lives as long as the page does.

const key = 'parley.visitor'

type Kept = Record<string, { token: string }>

export class TokenStore {
  #memory: string | undefined
  #blocked = false

  /** `storage` is handed over as a function, because only looking at it throws where storage is blocked. */
  constructor(
    private readonly site: string,
    private readonly storage: () => Storage,
  ) {
    try {
      this.#memory = this.#own()
    } catch {
      this.#blocked = true
    }
  }

  /** Whether the token lasts only as long as this page. */
  get blocked(): boolean {
    return this.#blocked
  }

  get token(): string | undefined {
    return this.#memory
  }

  set(token: string): void {
    this.#memory = token
    this.#write((kept) => {
      kept[this.site] = { token }
    })
  }

  clear(): void {
    this.#memory = undefined
    this.#write((kept) => {
      delete kept[this.site]
    })
  }

  /** Looks again after another tab changed the storage; says whether the token is a different one now. */
  reread(): boolean {
    if (this.#blocked) return false
    const before = this.#memory
    try {
      this.#memory = this.#own()
    } catch {
      return false
    }
    return this.#memory !== before
  }

  #own(): string | undefined {
    const token: unknown = this.#read()[this.site]?.token
    return typeof token === 'string' && token !== '' ? token : undefined
  }

  #read(): Kept {
    const text = this.storage().getItem(key)
    if (!text) return {}
    try {
      const kept: unknown = JSON.parse(text)
      return typeof kept === 'object' && kept !== null && !Array.isArray(kept) ? (kept as Kept) : {}
    } catch {
      return {}
    }
  }

  #write(change: (kept: Kept) => void): void {
    try {
      const kept = this.#read()
      change(kept)
      if (Object.keys(kept).length === 0) this.storage().removeItem(key)
      else this.storage().setItem(key, JSON.stringify(kept))
    } catch {
      this.#blocked = true
    }
  }
}

/** The storage key, for the listener that follows other tabs. */
export const storageKey = key

/** A storage that is gone with the page: for a token that was handed over and that nothing may keep. */
export function pageStorage(): Storage {
  const kept = new Map<string, string>()
  return {
    get length() {
      return kept.size
    },
    clear: () => kept.clear(),
    getItem: (k) => kept.get(k) ?? null,
    key: (i) => [...kept.keys()][i] ?? null,
    removeItem: (k) => void kept.delete(k),
    setItem: (k, v) => void kept.set(k, v),
  }
}

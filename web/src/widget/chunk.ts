// Code that is loaded when it is needed, and that may not arrive: the network is away, or the server has a newer build.
// Drawing asks for it again and again; this sees to it that the network is not. No DOM.

/** How long to rest after the first failure, and at most, in milliseconds. Each failure doubles it. */
const restFirst = 2_000
const restMost = 60_000

export interface ChunkOptions<T> {
  load(): Promise<T>
  /** It is here. Called once. */
  got(value: T): void
  /** It did not arrive; it is tried again by itself as long as it is wanted. */
  failed(): void
  /** It may be tried again: whoever still wants it says so again. */
  again(): void
  /** Runs fn later; returns how to call it off. */
  later?: (fn: () => void, ms: number) => () => void
}

export class Chunk<T> {
  readonly #o: ChunkOptions<T>
  #state: 'none' | 'loading' | 'resting' | 'here' = 'none'
  /** What it was wanted for when it was last tried. */
  #for = ''
  #failures = 0
  #wake: (() => void) | undefined

  constructor(o: ChunkOptions<T>) {
    this.#o = o
  }

  /** Loads it, unless that was just tried in vain for the same thing. */
  want(what: string): void {
    if (this.#state === 'loading' || this.#state === 'here') return
    if (this.#state === 'resting' && what === this.#for) return
    this.#for = what
    this.#load()
  }

  /** Nobody wants it now: the next wish is a new one, somebody has pressed for it or rings. */
  rest(): void {
    if (this.#state === 'resting') this.#awake()
  }

  /** There is reason to hope: the network is back. */
  hope(): void {
    if (this.#state !== 'resting') return
    this.#awake()
    this.#o.again()
  }

  #load(): void {
    this.#wake?.()
    this.#state = 'loading'
    this.#o.load().then(
      (value) => {
        this.#state = 'here'
        this.#o.got(value)
      },
      () => {
        this.#state = 'resting'
        const rest = Math.min(restFirst * 2 ** this.#failures++, restMost)
        this.#wake = (this.#o.later ?? timer)(() => this.hope(), rest)
        this.#o.failed()
      },
    )
  }

  #awake(): void {
    this.#wake?.()
    this.#wake = undefined
    this.#state = 'none'
  }
}

function timer(fn: () => void, ms: number): () => void {
  const t = setTimeout(fn, ms)
  return () => clearTimeout(t)
}

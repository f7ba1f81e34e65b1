// Who is signed in, and what the page shows before anybody is.

import { Api, ApiError, asApiError } from '../lib/api'
import type { Session, Setup } from '../lib/protocol'
import { prefs } from './prefs.svelte'

export type Stage = 'loading' | 'unreachable' | 'setup' | 'signed-out' | 'signed-in'

class SessionStore {
  stage = $state<Stage>('loading')
  current = $state<Session | null>(null)
  setup = $state<Setup | null>(null)
  error = $state<ApiError | null>(null)
  /** The session ended under the reader's hands: say so at the door. */
  expired = $state(false)

  /** What was written and not sent, by conversation: kept through a sign-in that ran out, never for somebody else. */
  readonly drafts = new Map<string, string>()
  #draftsOf = ''

  readonly api = new Api({
    locale: () => prefs.locale,
    onSignedOut: () => {
      if (this.stage !== 'signed-in') return
      this.expired = true
      this.leave()
    },
  })

  /** Finds out which of the stages it is. */
  async start(): Promise<void> {
    try {
      this.enter(await this.api.get<Session>('/session'))
    } catch (cause) {
      const error = asApiError(cause)
      if (error.status === 401) return this.#door()
      this.#failed(error)
    }
  }

  async #door(): Promise<void> {
    try {
      this.setup = await this.api.get<Setup>('/setup')
      this.stage = this.setup.needed ? 'setup' : 'signed-out'
    } catch (cause) {
      this.#failed(asApiError(cause))
    }
  }

  #failed(error: ApiError): void {
    this.error = error
    this.stage = 'unreachable'
  }

  enter(session: Session): void {
    const owner = `${session.member.id} ${session.organisation.id}`
    if (this.#draftsOf !== owner) this.drafts.clear()
    this.#draftsOf = owner
    this.current = session
    this.expired = false
    this.error = null
    this.stage = 'signed-in'
  }

  leave(): void {
    this.current = null
    this.stage = 'signed-out'
  }

  async signOut(): Promise<void> {
    await this.api.delete('/session')
    this.drafts.clear()
    this.leave()
  }

  async switchTo(organisation: string): Promise<void> {
    this.enter(await this.api.put<Session>('/session/organisation', { id: organisation }))
  }

  /** Whether the member may erase people and change sites. */
  get manages(): boolean {
    return this.current?.role === 'owner' || this.current?.role === 'admin'
  }
}

export const session = new SessionStore()

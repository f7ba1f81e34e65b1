// What every form does: send once, keep what went wrong beside the field it belongs to, and bring the reader there.

import { tick } from 'svelte'
import { asApiError, newId } from '../lib/api'
import { explain } from './errors'

export class Form {
  busy = $state(false)
  /** What is wrong with one field, by its name. */
  fields = $state.raw<Record<string, string>>({})
  /** What is wrong with the whole. */
  problem = $state('')
  /** The same for every attempt at the same thing, so that a lost answer does not make two. */
  #key = newId()

  constructor(private readonly names: readonly string[]) {}

  async submit(event: SubmitEvent, work: (idempotencyKey: string) => Promise<void>): Promise<void> {
    event.preventDefault()
    const element = event.currentTarget as HTMLFormElement
    if (this.busy) return
    this.busy = true
    this.fields = {}
    this.problem = ''
    try {
      await work(this.#key)
      this.#key = newId()
    } catch (cause) {
      const error = asApiError(cause)
      // What was refused may be changed and sent as something new; what got no answer may have been done.
      if (error.status !== 0) this.#key = newId()
      const field = error.field?.split('.').at(-1)
      if (field && this.names.includes(field)) this.fields = { [field]: explain(error) }
      else this.problem = explain(error)
      await tick()
      element.querySelector<HTMLElement>('[aria-invalid="true"], [data-problem]')?.focus()
    } finally {
      this.busy = false
    }
  }
}

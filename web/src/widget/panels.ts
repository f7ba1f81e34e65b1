// What opens on demand: the menu, the fields for name and e-mail, and the dialogs.
import { h, icon } from './dom'
import { fill, type Words } from './messages'
import type { Details } from './session'
import { plausibleEmail } from './text'

/** Name and e-mail, both optional, as two fields. */
export interface DetailsFields {
  element: HTMLElement
  read(): Details
  write(details: Details): void
  /** Says what is wrong beside the field and moves there; true when nothing is. */
  check(): boolean
}

let fieldCount = 0

function field(w: Words, label: string, props: Partial<HTMLInputElement>): { row: HTMLElement; input: HTMLInputElement } {
  const id = `field-${++fieldCount}`
  const input = h('input', { id, ...props })
  const optional = h('span', { class: 'soft', textContent: ` (${w.optional})` })
  const row = h('div', { class: 'field' }, h('label', { htmlFor: id }, label, optional), input)
  return { row, input }
}

export function detailsFields(w: Words): DetailsFields {
  const name = field(w, w.name, { type: 'text', autocomplete: 'name', maxLength: 200 })
  const email = field(w, w.email, { type: 'email', autocomplete: 'email', maxLength: 254, inputMode: 'email' })
  const wrong = h('p', { class: 'problem', id: `${email.input.id}-wrong`, hidden: true, textContent: w.email_wrong })
  email.row.append(wrong)
  const show = (bad: boolean) => {
    wrong.hidden = !bad
    email.input.setAttribute('aria-invalid', String(bad))
    if (bad) email.input.setAttribute('aria-describedby', wrong.id)
    else email.input.removeAttribute('aria-describedby')
  }
  email.input.addEventListener('input', () => show(false))
  return {
    element: h('div', { class: 'fields' }, name.row, email.row),
    read: () => ({ name: name.input.value.trim(), email: email.input.value.trim() }),
    write(details) {
      name.input.value = details.name
      email.input.value = details.email
    },
    check() {
      const good = plausibleEmail(email.input.value.trim())
      show(!good)
      if (!good) email.input.focus()
      return good
    },
  }
}

/** A dialog that asks for one decision: `act` runs, and when it fails, `failed` is shown and the dialog stays. */
interface Ask {
  title: string
  content: Node[]
  yes: string
  no: string
  failed: string
  /** False: something in the dialog has to be put right first. */
  act(): Promise<boolean>
}

function openDialog(parent: Element, ask: Ask): void {
  const problem = h('p', { class: 'problem', hidden: true, textContent: ask.failed, attrs: { role: 'alert' } })
  const yes = h('button', { class: 'button', type: 'submit', textContent: ask.yes })
  const no = h('button', { class: 'button', type: 'button', textContent: ask.no, onclick: () => dialog.close() })
  const form = h('form', { noValidate: true }, h('h2', { id: 'dialog-title', textContent: ask.title }), ...ask.content)
  form.append(problem, h('div', { class: 'buttons' }, no, yes))
  const dialog = h('dialog', { attrs: { 'aria-labelledby': 'dialog-title' } }, form)
  form.addEventListener('submit', (e) => {
    e.preventDefault()
    problem.hidden = true
    yes.disabled = true
    ask
      .act()
      .then((done) => done && dialog.close())
      .catch(() => (problem.hidden = false))
      .finally(() => (yes.disabled = false))
  })
  const before = document.activeElement
  dialog.addEventListener('close', () => {
    dialog.remove()
    if (before instanceof HTMLElement && before.isConnected) before.focus()
  })
  parent.append(dialog)
  dialog.showModal()
}

export function askToForget(parent: Element, w: Words, site: string, forget: () => Promise<void>): void {
  openDialog(parent, {
    title: w.forget_title,
    content: [h('p', { textContent: fill(w.forget_text, { name: site }) })],
    yes: w.forget_yes,
    no: w.forget_no,
    failed: w.forget_failed,
    act: () => forget().then(() => true),
  })
}

export function editDetails(parent: Element, w: Words, now: Details, save: (details: Details) => Promise<void>): void {
  const fields = detailsFields(w)
  fields.write(now)
  openDialog(parent, {
    title: w.menu_details,
    content: [h('p', { class: 'soft', textContent: w.details_hint }), fields.element],
    yes: w.save,
    no: w.cancel,
    failed: w.details_failed,
    act: async () => {
      if (!fields.check()) return false
      await save(fields.read())
      return true
    },
  })
}

/** One line of a menu. */
export interface MenuAction {
  text: string
  icon?: Parameters<typeof icon>[0]
  run(): void
}

/** A button that shows a short list of actions. */
export class Menu {
  readonly element: HTMLElement
  readonly #button: HTMLButtonElement
  readonly #list: HTMLElement

  constructor(id: string, look: { label: string; icon: Parameters<typeof icon>[0] }, actions: MenuAction[]) {
    const list = h('div', { class: 'menu', id, hidden: true })
    this.#list = list
    this.#button = h(
      'button',
      {
        class: 'icon-button',
        type: 'button',
        title: look.label,
        attrs: { 'aria-label': look.label, 'aria-expanded': 'false', 'aria-controls': id },
        onclick: () => this.#show(Boolean(list.hidden)),
      },
      icon(look.icon),
    )
    for (const { text, icon: sign, run } of actions) {
      const onclick = () => {
        this.#show(false)
        this.#button.focus()
        run()
      }
      list.append(h('button', { type: 'button', onclick }, sign && icon(sign), text))
    }
    this.element = h('div', { class: 'menu-place' }, this.#button, list)
    this.element.addEventListener('focusout', (e) => {
      if (!this.element.contains(e.relatedTarget as Node | null)) this.#show(false)
    })
    this.element.addEventListener('keydown', (e) => this.#key(e))
  }

  #show(on: boolean): void {
    this.#list.hidden = !on
    this.#button.setAttribute('aria-expanded', String(on))
    if (on) this.#list.querySelector('button')?.focus()
  }

  #key(e: KeyboardEvent): void {
    if (this.#list.hidden) return
    const items = [...this.#list.querySelectorAll('button')]
    const at = items.indexOf(document.activeElement as HTMLButtonElement)
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key]
    if (e.key === 'Escape') {
      this.#show(false)
      this.#button.focus()
    } else if (step) {
      items[(at + step + items.length) % items.length]?.focus()
    } else return
    e.preventDefault()
    e.stopPropagation()
  }
}

// Where the visitor writes. Enter sends where there is a keyboard and makes a new line on a phone; what is too long or
// empty is not sent.
import { h, icon, setText } from './dom'
import { fill, type Words } from './messages'
import { bytesLeft, clean } from './text'

export interface ComposerActions {
  /** Takes a cleaned message; false leaves it in the field. */
  send(text: string): boolean
  typing(on: boolean): void
}

/** Bytes left from which on the field says how many. */
const tellFrom = 256

export class Composer {
  readonly element: HTMLFormElement
  readonly #field: HTMLTextAreaElement
  readonly #count = h('p', { class: 'count', hidden: true, id: 'count' })
  readonly #alarm = h('p', { class: 'hidden', attrs: { role: 'status' } })
  readonly #button: HTMLButtonElement

  constructor(
    private readonly w: Words,
    private readonly on: ComposerActions,
  ) {
    this.#field = h('textarea', {
      id: 'message',
      rows: 1,
      placeholder: w.placeholder,
      enterKeyHint: matchMedia('(pointer: coarse)').matches ? 'enter' : 'send',
      autocomplete: 'off',
      dir: 'auto',
      attrs: { 'aria-describedby': 'count' },
    })
    this.#button = h('button', { class: 'send', type: 'submit', title: w.send, attrs: { 'aria-label': w.send } }, icon('send'))
    this.element = h(
      'form',
      { class: 'composer', noValidate: true },
      h('label', { class: 'hidden', htmlFor: 'message', textContent: w.composer }),
      this.#field,
      this.#button,
      this.#count,
      this.#alarm,
    )
    this.element.addEventListener('submit', (e) => {
      e.preventDefault()
      this.#send()
    })
    this.#field.addEventListener('input', () => this.#changed())
    this.#field.addEventListener('blur', () => this.on.typing(false))
    this.#field.addEventListener('keydown', (e) => this.#key(e))
    this.#measure()
  }

  focus(): void {
    this.#field.focus()
  }

  /** Puts a text back that could not be sent, before what is being written. */
  restore(text: string): void {
    this.#field.value = this.#field.value ? `${text}\n${this.#field.value}` : text
    this.#changed()
    this.focus()
  }

  #key(e: KeyboardEvent): void {
    if (e.key !== 'Enter' || e.shiftKey || e.altKey || e.isComposing) return
    if (matchMedia('(pointer: coarse)').matches && !e.ctrlKey && !e.metaKey) return
    e.preventDefault()
    this.#send()
  }

  #send(): void {
    const text = clean(this.#field.value)
    const good = text !== '' && bytesLeft(text) >= 0
    if (good && !this.on.send(text)) return
    if (good) this.#field.value = ''
    this.#measure()
    this.focus()
  }

  #changed(): void {
    this.#measure()
    this.on.typing(this.#field.value.trim() !== '')
  }

  #measure(): void {
    const field = this.#field
    const text = clean(field.value)
    const left = bytesLeft(text)
    const over = left < 0
    this.#count.hidden = left > tellFrom
    this.#count.classList.toggle('over', over)
    setText(this.#count, over ? fill(this.w.over, { n: -left }) : fill(this.w.left, { n: left }))
    // Said once when the line is crossed, not with every key.
    if (!over) setText(this.#alarm, '')
    else if (!this.#alarm.textContent) setText(this.#alarm, fill(this.w.over, { n: -left }))
    field.setAttribute('aria-invalid', String(over))
    this.#button.classList.toggle('ready', text !== '' && !over)
    field.style.height = 'auto'
    field.style.height = `${field.scrollHeight}px`
  }
}

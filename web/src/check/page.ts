// The page as a whole: its head, its rows, and the result at its end.
import { drawIcon, h, setText } from '../lib/dom'
import { adviceOf, browserName, checks, lineOf, nothingYet, overall, report, toneOf, weigh, type Check, type Finding, type Findings, type Mark } from './report'
import { fill, type Lang, type Words } from './texts'

const signs: Record<Mark, string> = {
  waiting: 'M5 12h.01M12 12h.01M19 12h.01',
  running: 'M12 4a8 8 0 1 0 8 8',
  good: 'M5 12.5l4.5 4.5L19 7.5',
  fair: 'M12 6v7M12 17.5h.01',
  bad: 'M6 6l12 12M18 6 6 18',
  off: 'M6 12h12',
  skipped: 'M6 12h12',
}

interface Row {
  element: HTMLLIElement
  sign: HTMLElement
  state: HTMLElement
  advice: HTMLElement
  shown: string
}

export class Page {
  found: Findings = nothingYet()
  readonly #rows = new Map<Check, Row>()
  readonly #root: HTMLElement
  readonly #overall = h('p', { class: 'overall', attrs: { role: 'status' } })
  readonly #untried = h('p', { class: 'soft' })
  readonly #text: HTMLTextAreaElement
  readonly #names = h('input', { type: 'checkbox', id: 'names' })
  readonly #copied = h('p', { class: 'soft', attrs: { role: 'status' } })

  constructor(
    root: HTMLElement,
    private readonly lang: Lang,
    private readonly w: Words,
  ) {
    this.#root = root
    this.#text = h('textarea', { readOnly: true, rows: 12, attrs: { 'aria-label': w.result_text } })
    this.#names.addEventListener('change', () => this.#drawResult())
  }

  /** Puts the parts between head and result. */
  place(parts: HTMLElement[]): void {
    const { w } = this
    const other = this.lang === 'en' ? 'de' : 'en'
    const language = h('a', { href: `?lang=${other}`, lang: other, hreflang: other, textContent: w.language })
    const head = h('header', {}, h('div', { class: 'line' }, h('h1', { textContent: w.title }), language), h('p', { textContent: w.intro }), h('p', { class: 'soft', textContent: w.private }))
    const copy = h('button', { class: 'button filled', type: 'button', textContent: w.copy, onclick: () => void this.#copy() })
    const result = h(
      'section',
      { class: 'card', attrs: { 'aria-labelledby': 'result' } },
      h('h2', { id: 'result', textContent: w.group_result }),
      this.#overall,
      this.#untried,
      this.#text,
      h('label', { class: 'choice', htmlFor: 'names' }, this.#names, w.with_devices),
      h('div', { class: 'buttons' }, copy),
      h('p', { class: 'soft', textContent: w.copy_hint }),
      this.#copied,
    )
    this.#root.replaceChildren(head, ...parts, result)
    this.#draw()
    addEventListener('resize', () => this.#fit())
  }

  /** A row for each of some checks, in a list. */
  rows(which: readonly Check[]): HTMLOListElement {
    const list = h('ol', { class: 'rows' })
    for (const check of which) {
      const sign = h('span', { class: 'sign' })
      const state = h('p', { class: 'state' })
      const advice = h('p', { class: 'advice', hidden: true })
      const element = h('li', {}, sign, h('div', {}, h('h3', { textContent: this.w[`name_${check}`] }), state, advice))
      this.#rows.set(check, { element, sign, state, advice, shown: '' })
      list.append(element)
    }
    return list
  }

  /** What was found about one check. */
  set(check: Check, finding: Finding): void {
    this.found = { ...this.found, [check]: finding }
    this.#draw()
  }

  #draw(): void {
    const found = weigh(this.found)
    for (const check of checks) this.#drawRow(check, found[check])
    this.#drawResult()
  }

  #drawRow(check: Check, f: Finding): void {
    const row = this.#rows.get(check)
    const shown = JSON.stringify(f)
    if (!row || row.shown === shown) return
    row.shown = shown
    row.element.className = toneOf(f)
    row.sign.replaceChildren(drawIcon(signs[f.mark], 'icon'))
    const line = lineOf(check, f, this.w)
    const mark = this.w[`mark_${f.mark}`]
    setText(row.state, line ? `${mark}. ${line}` : mark)
    const advice = adviceOf(check, f, this.w)
    row.advice.hidden = advice === ''
    setText(row.advice, advice)
  }

  #drawResult(): void {
    const { w } = this
    const all = overall(this.found)
    this.#overall.className = `overall ${all}`
    setText(this.#overall, w[`overall_${all}`])
    const untried = checks.filter((c) => this.found[c].mark === 'waiting')
    this.#untried.hidden = untried.length === 0 || all === 'running'
    setText(this.#untried, fill(w.untried, { names: untried.map((c) => w[`name_${c}`]).join(', ') }))
    this.#text.value = report({
      found: this.found,
      words: w,
      browser: browserName(navigator.userAgent),
      server: location.host,
      at: new Date(),
      withDevices: this.#names.checked,
    })
    this.#fit()
    setText(this.#copied, '')
  }

  /** All of the text is to be seen, however its lines break. */
  #fit(): void {
    this.#text.style.height = 'auto'
    this.#text.style.height = `${this.#text.scrollHeight + 2}px`
  }

  async #copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.#text.value)
      setText(this.#copied, this.w.copied)
    } catch {
      this.#text.select()
      setText(this.#copied, this.w.copy_failed)
    }
  }
}

// Small helpers to build the frame's elements. Text goes in as text, never as markup.

export type Child = Node | string | null | undefined | false

type Props<E> = Partial<Omit<E, 'style' | 'dataset'>> & { attrs?: Record<string, string>; class?: string }

/** Makes an element with properties, attributes and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props<HTMLElementTagNameMap[K]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const { attrs, class: className, ...own } = props
  const e = document.createElement(tag)
  if (className) e.className = className
  Object.assign(e, own)
  for (const [name, value] of Object.entries(attrs ?? {})) e.setAttribute(name, value)
  e.append(...children.filter((c): c is Node | string => !!c || c === ''))
  return e
}

const paths = {
  close: 'M6 6l12 12M18 6 6 18',
  more: 'M5 12h.01M12 12h.01M19 12h.01',
  send: 'M12 19V5M5 12l7-7 7 7',
  lock: 'M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3',
  down: 'M12 5v14M5 12l7 7 7-7',
} as const

/** Draws one of our icons; it says nothing to a screen reader. */
export function icon(name: keyof typeof paths): SVGSVGElement {
  const ns = 'http://www.w3.org/2000/svg'
  const svg = document.createElementNS(ns, 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('class', `icon icon-${name}`)
  svg.setAttribute('aria-hidden', 'true')
  const path = document.createElementNS(ns, 'path')
  path.setAttribute('d', paths[name])
  svg.append(path)
  return svg
}

/** Writes text only when it changed, so that nothing is announced or laid out again for nothing. */
export function setText(e: Element, text: string): void {
  if (e.textContent !== text) e.textContent = text
}

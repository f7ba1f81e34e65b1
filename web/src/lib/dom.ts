// Small helpers to build elements without a framework. Text goes in as text, never as markup.

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

/** Draws a line figure on a field of 24 by 24; it says nothing to a screen reader. */
export function drawIcon(path: string, className: string): SVGSVGElement {
  const ns = 'http://www.w3.org/2000/svg'
  const svg = document.createElementNS(ns, 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('class', className)
  svg.setAttribute('aria-hidden', 'true')
  const line = document.createElementNS(ns, 'path')
  line.setAttribute('d', path)
  svg.append(line)
  return svg
}

/** Writes text only when it changed, so that nothing is announced or laid out again for nothing. */
export function setText(e: Element, text: string): void {
  if (e.textContent !== text) e.textContent = text
}

// What people type, made ready: links found without HTML, control characters left out as the server would refuse them.

export interface TextPart {
  text: string
  href?: string
}

const LINK = /\bhttps?:\/\/[^\s<>"]+/giu

/** Splits a text into plain parts and web addresses. The sign that ends a sentence is not part of an address. */
export function linkify(text: string): TextPart[] {
  const parts: TextPart[] = []
  let done = 0
  for (const match of text.matchAll(LINK)) {
    let link = match[0].replace(/[.,;:!?'’”]+$/u, '')
    if (link.endsWith(')') && !link.includes('(')) link = link.slice(0, -1)
    const href = safeUrl(link)
    if (!href) continue
    if (match.index > done) parts.push({ text: text.slice(done, match.index) })
    parts.push({ text: link, href })
    done = match.index + link.length
  }
  if (done < text.length) parts.push({ text: text.slice(done) })
  return parts
}

/** The address if a browser may be led there: the web, nothing else. */
export function safeUrl(text: string): string | undefined {
  try {
    const url = new URL(text)
    return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : undefined
  } catch {
    return undefined
  }
}

/** A message as the server takes it: one kind of line end, no control characters but newline and tab, no empty ends. */
export function cleanMessage(text: string): string {
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/[\p{Cc}]/gu, (c) => (c === '\n' || c === '\t' ? c : ''))
    .trim()
}

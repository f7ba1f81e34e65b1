// What a visitor types and reads, as plain text: measured, cleaned, and cut into links. No DOM.
import { MAX_MESSAGE_BYTES } from '../lib/protocol'

const utf8 = new TextEncoder()

/** Bytes that a text takes in UTF-8. */
export function byteLength(text: string): number {
  return utf8.encode(text).length
}

/** Bytes that are left of a message; negative when it is too long. */
export function bytesLeft(text: string): number {
  return MAX_MESSAGE_BYTES - byteLength(text)
}

/**
 * Takes away what the server refuses and nobody can see: control characters other than newline and tab, broken halves
 * of surrogate pairs, and white space around the message.
 */
export function clean(text: string): string {
  const visible = text
    .replace(/\r\n?/g, '\n')
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '')
  return Array.from(visible, (c) => (/^[\ud800-\udfff]$/.test(c) ? '\ufffd' : c))
    .join('')
    .trim()
}

/** A piece of a message: plain text, or a link when it has an address. */
export interface Piece {
  text: string
  href?: string
}

/** Finds http and https addresses. Everything else, other schemes above all, stays text. */
export function linkify(body: string): Piece[] {
  const pieces: Piece[] = []
  let at = 0
  for (const found of body.matchAll(/\bhttps?:\/\/[^\s<>"'`]+/gi)) {
    const text = trimEnd(found[0])
    if (!isAddress(text)) continue
    if (found.index > at) pieces.push({ text: body.slice(at, found.index) })
    pieces.push({ text, href: text })
    at = found.index + text.length
  }
  if (at < body.length) pieces.push({ text: body.slice(at) })
  return pieces
}

function isAddress(text: string): boolean {
  try {
    return new URL(text).hostname !== ''
  } catch {
    return false
  }
}

/** Leaves out the punctuation of the sentence around an address, and a bracket that was opened before it. */
function trimEnd(address: string): string {
  let text = address
  for (;;) {
    const last = text.at(-1) ?? ''
    const unopened = (last === ')' && !text.includes('(')) || (last === ']' && !text.includes('['))
    if (!unopened && !/[.,;:!?…*_~]/.test(last)) return text
    text = text.slice(0, -1)
  }
}

/** Whether a text could be an e-mail address; the empty text is fine, because nobody has to give one. */
export function plausibleEmail(text: string): boolean {
  return text === '' || /^[^\s@]+@[^\s@]+\.[^\s@]+$/.test(text)
}

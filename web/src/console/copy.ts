// Puts text on the clipboard. Browsers allow that on HTTPS and on loopback only; elsewhere the caller selects the text.

/** Whether it worked. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false
  }
}

// What people paste as a site's address, turned into the origins that browsers send.

/** One origin per line or comma; paths are cut off, a missing scheme is https. What cannot be read is kept for the server to refuse. */
export function normaliseOrigins(text: string): string[] {
  const found = text
    .split(/[\s,]+/)
    .filter(Boolean)
    .map((part) => {
      try {
        const url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(part) ? part : `https://${part}`)
        return url.origin === 'null' ? part : url.origin
      } catch {
        return part
      }
    })
  return [...new Set(found)]
}

/**
 * Colours an organisation may choose, made readable. Everything here follows the contrast formula of WCAG 2.2; nothing
 * here touches the page.
 */

/** Red, green and blue, 0 to 255 each. */
export type Colour = readonly [number, number, number]

const black: Colour = [0, 0, 0]
const white: Colour = [0xff, 0xff, 0xff]

/** Reads `#rgb` and `#rrggbb`; anything else is `undefined`. */
export function parseColour(text: string | null | undefined): Colour | undefined {
  const hex = /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.exec(text ?? '')?.[1]
  if (!hex) return undefined
  const step = hex.length / 3
  const part = (i: number) => {
    const digits = hex.slice(i * step, i * step + step)
    return parseInt(step === 1 ? digits + digits : digits, 16)
  }
  return [part(0), part(1), part(2)]
}

/** Writes a colour as CSS. */
export function css(colour: Colour): string {
  return `rgb(${colour.join(' ')})`
}

function luminance(colour: Colour): number {
  const [r = 0, g = 0, b = 0] = colour.map((v) => {
    const s = v / 255
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

/** The contrast ratio of two colours, 1 to 21. */
export function contrast(a: Colour, b: Colour): number {
  const [x, y] = [luminance(a), luminance(b)]
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05)
}

/** The text colour for a fill: white where it reaches 4.5 : 1, black otherwise, which then always does. */
export function inkOn(fill: Colour): Colour {
  return contrast(fill, white) >= 4.5 ? white : black
}

// An organisation's colour in the frame: as a fill with readable text on it, and as a colour for links and focus rings
// that is moved towards black or white until it can be read on the surface.
import { contrast, css, inkOn, parseColour, type Colour } from '../loader/contrast'

/** The colour nearest to `colour` that reaches `ratio` on `surface`. */
export function readableOn(colour: Colour, surface: Colour, ratio = 4.5): Colour {
  const goal = inkOn(surface)
  for (let step = 0; step < 20; step++) {
    const mixed = colour.map((v, i) => Math.round(v + ((goal[i] ?? 0) - v) * (step / 20))) as unknown as Colour
    if (contrast(mixed, surface) >= ratio) return mixed
  }
  return goal
}

/** Reads the `rgb(1, 2, 3)` that computed styles are written in. */
function parseComputed(text: string): Colour | undefined {
  const found = /^rgba?\((\d+), (\d+), (\d+)/.exec(text)
  return found ? [Number(found[1]), Number(found[2]), Number(found[3])] : undefined
}

/**
 * Puts a site's accent in the place of the tokens' own, now and whenever light turns to dark. A text that is no colour
 * changes nothing. `.probe` has the background on which colours have the least contrast.
 */
export function applyAccent(root: HTMLElement, accent: string | null | undefined): void {
  const fill = parseColour(accent)
  if (!fill) return
  const set = (name: string, colour: Colour) => root.style.setProperty(name, css(colour))
  const apply = () => {
    const probe = document.createElement('i')
    probe.className = 'probe'
    document.body.append(probe)
    const surface = parseComputed(getComputedStyle(probe).backgroundColor)
    probe.remove()
    set('--fill', fill)
    set('--on-fill', inkOn(fill))
    if (surface) set('--accent', readableOn(fill, surface))
  }
  apply()
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', apply)
}

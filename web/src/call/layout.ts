// Where each picture goes. Pure arithmetic on the size of the stage: no elements, so that every size can be tried.

export interface Size {
  width: number
  height: number
}

export interface Rect extends Size {
  x: number
  y: number
}

/** Physical corners: the small picture stays where the hand put it, whatever way the text runs. */
export type Corner = 'top-left' | 'top-right' | 'bottom-left' | 'bottom-right'

export interface Placement {
  /** The tile's key. */
  key: string
  rect: Rect
  /** Lies over the others and can be moved from corner to corner. */
  floats: boolean
  /** Show all of the picture and cut nothing off: a shared screen. */
  whole: boolean
}

/** What is to be placed. Keys are the caller's. */
export interface Cast {
  /** Our own picture. */
  self: string
  /** The others' cameras, in the order in which they came. */
  others: string[]
  /** Shared screens; the last one takes the stage. */
  screens: string[]
}

export interface LayoutOptions {
  corner: Corner
  /** Width by height of our own camera: a phone held upright gives an upright picture. */
  selfAspect: number
}

/** The space between tiles, and around the small picture, in CSS pixels. */
export const GAP = 8
const CAMERA_ASPECT = 16 / 9

/** Places everybody. Nobody is left out, however many they are. */
export function arrange(cast: Cast, stage: Size, options: LayoutOptions): Placement[] {
  const { self, others, screens } = cast
  const all: Rect = { x: 0, y: 0, width: stage.width, height: stage.height }
  const main = screens.at(-1)
  if (main !== undefined) return withScreen(main, [...screens.slice(0, -1), ...others, self], screens, stage)
  if (others.length === 0) return [{ key: self, rect: all, floats: false, whole: false }]
  if (others.length === 1) {
    return [
      { key: others[0]!, rect: all, floats: false, whole: false },
      { key: self, rect: floating(stage, options), floats: true, whole: false },
    ]
  }
  const keys = [...others, self]
  return gridRects(keys.length, all).map((rect, i) => ({ key: keys[i]!, rect, floats: false, whole: false }))
}

/** The small picture of oneself, in its corner. */
export function floating(stage: Size, { corner, selfAspect }: LayoutOptions): Rect {
  // A quarter of the shorter side's worth of picture, never so large that it hides a face, never too small to see.
  const aspect = Math.min(2, Math.max(0.5, selfAspect || CAMERA_ASPECT))
  const area = clamp(stage.width * stage.height * 0.055, 96 * 72, 240 * 150)
  let width = Math.sqrt(area * aspect)
  let height = width / aspect
  const fits = Math.min(1, (stage.width * 0.4) / width, (stage.height * 0.45) / height)
  width = Math.round(width * fits)
  height = Math.round(height * fits)
  const margin = GAP + 4
  return {
    x: corner.endsWith('left') ? margin : stage.width - width - margin,
    y: corner.startsWith('top') ? margin : stage.height - height - margin,
    width,
    height,
  }
}

/** The corner nearest to a point of the stage. */
export function nearestCorner(x: number, y: number, stage: Size): Corner {
  return `${y < stage.height / 2 ? 'top' : 'bottom'}-${x < stage.width / 2 ? 'left' : 'right'}`
}

/** Where an arrow key takes the small picture. */
export function cornerAfterKey(corner: Corner, key: string): Corner | undefined {
  const [vertical, horizontal] = corner.split('-') as ['top' | 'bottom', 'left' | 'right']
  switch (key) {
    case 'ArrowUp':
      return `top-${horizontal}`
    case 'ArrowDown':
      return `bottom-${horizontal}`
    case 'ArrowLeft':
      return `${vertical}-left`
    case 'ArrowRight':
      return `${vertical}-right`
    default:
      return undefined
  }
}

/**
 * Cells for `n` pictures, as large as they can be: every number of columns is tried. The last row is centred when it is
 * not full.
 */
export function gridRects(n: number, box: Rect, aspect = CAMERA_ASPECT): Rect[] {
  if (n <= 0) return []
  let best = { columns: 1, worth: -1 }
  for (let columns = 1; columns <= n; columns++) {
    const tile = cell(n, columns, box)
    const shown = pictureBox({ width: aspect, height: 1 }, tile)
    // Heads need height; margins count against it.
    const filled = (shown.width * shown.height) / Math.max(1, tile.width * tile.height)
    const worth = shown.height * Math.sqrt(filled)
    if (worth > best.worth) best = { columns, worth }
  }
  const { columns } = best
  const rows = Math.ceil(n / columns)
  const { width, height } = cell(n, columns, box)
  return Array.from({ length: n }, (_, i) => {
    const row = Math.floor(i / columns)
    const inRow = row === rows - 1 ? n - row * columns : columns
    const indent = ((columns - inRow) * (width + GAP)) / 2
    return {
      x: box.x + indent + (i % columns) * (width + GAP),
      y: box.y + row * (height + GAP),
      width,
      height,
    }
  })
}

function cell(n: number, columns: number, box: Rect): Size {
  const rows = Math.ceil(n / columns)
  return {
    width: Math.max(0, (box.width - (columns - 1) * GAP) / columns),
    height: Math.max(0, (box.height - (rows - 1) * GAP) / rows),
  }
}

/** A screen on the stage, everybody else in a strip beside or below it. */
function withScreen(main: string, rest: string[], screens: string[], stage: Size): Placement[] {
  const beside = stage.width > stage.height * 1.15
  const along = beside ? stage.height : stage.width
  // The strip's depth: enough for a face, and never more than a quarter of the stage.
  const depth = beside
    ? Math.min(stage.width * 0.25, clamp(stage.width * 0.2, 112, 240))
    : Math.min(stage.height * 0.25, clamp(stage.height * 0.2, 72, 168))
  // Where there is little room for many, the gaps give way before the people.
  const gap = Math.min(GAP, (along * 0.3) / Math.max(1, rest.length - 1))
  const length = Math.min(beside ? depth / CAMERA_ASPECT : depth * 1.25, (along - (rest.length - 1) * gap) / rest.length)
  const taken = rest.length * length + (rest.length - 1) * gap
  const start = Math.max(0, (along - taken) / 2)
  const big: Rect = beside
    ? { x: 0, y: 0, width: stage.width - depth - GAP, height: stage.height }
    : { x: 0, y: 0, width: stage.width, height: stage.height - depth - GAP }
  const strip = rest.map((key, i): Placement => {
    const at = start + i * (length + gap)
    const rect = beside
      ? { x: stage.width - depth, y: at, width: depth, height: length }
      : { x: at, y: stage.height - depth, width: length, height: depth }
    return { key, rect, floats: false, whole: screens.includes(key) }
  })
  return [{ key: main, rect: big, floats: false, whole: true }, ...strip]
}

/** So much of a picture has to be seen at least: of its width, where faces leave room, and of its height, where not. */
const KEEP_WIDTH = 0.55
const KEEP_HEIGHT = 0.7

/**
 * The box in the middle of a tile that a camera's picture fills. A little is cropped gladly, to fill the tile; from a
 * wide picture in an upright tile too much would be, and half a face is worse than a margin.
 */
export function pictureBox(video: Size, tile: Size): Size {
  if (video.width <= 0 || video.height <= 0 || tile.width <= 0 || tile.height <= 0) return tile
  const a = video.width / video.height
  const b = tile.width / tile.height
  if (b < a * KEEP_WIDTH) return { width: tile.width, height: tile.width / (a * KEEP_WIDTH) }
  if (b > a / KEEP_HEIGHT) return { width: (tile.height * a) / KEEP_HEIGHT, height: tile.height }
  return tile
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value))
}

// Holds the build to its promises: it names no other host that could be asked for anything, has nothing inline in its
// pages, and stays within its sizes.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'

const dist = new URL('../dist', import.meta.url).pathname
const KB = 1024

// Names of XML vocabularies and of an RTP header extension, which no browser fetches, and placeholders that people see
// in empty fields.
const NOT_FETCHED = [/^http:\/\/www\.w3\.org\/(1998|1999|2000)\//, /^https:\/\/aomediacodec\.github\.io\/av1-rtp-spec\/#/, /^https?:\/\/[a-z.]*\b(example|invalid)\b/]

/**
 * The most that each page may weigh, with gzip. `first`: what the browser loads to show it: the page, its scripts with
 * what they import, its styles. `later`: all that may follow on demand, of which the media library, loaded when a call
 * starts, is by far the most.
 */
const PAGES = [
  { name: 'console', page: 'app/app.html', first: 145 * KB, later: 200 * KB },
  { name: 'widget frame', page: 'w/widget.html', first: 27 * KB, later: 220 * KB },
  { name: 'preflight', page: 'w/check.html', first: 21 * KB, later: 0 },
]
const LOADER = { name: 'widget loader', file: 'widget.js', most: 6 * KB }

const files = readdirSync(dist, { recursive: true }).filter((name) => statSync(join(dist, name)).isFile())
const wrong = []

for (const name of files.filter((f) => /\.(js|css|html|svg|json|map)$/.test(f))) {
  const text = readFileSync(join(dist, name), 'utf8')
  for (const [url] of text.matchAll(/\b(?:https?|wss?):\/\/[a-z0-9-]+(?:\.[a-z0-9-]+)*[^\s"'`<>)\\]*/gi))
    if (!NOT_FETCHED.some((known) => known.test(url))) wrong.push(`${name} names another host: ${url.slice(0, 100)}`)
  if (/(?:src|href|url\()\s*=?\s*["']?\/\/[a-z0-9]/i.test(text) && /\.(html|css)$/.test(name))
    wrong.push(`${name} has an address without a scheme`)
  if (!name.endsWith('.html')) continue
  if (/<style[\s>]/i.test(text)) wrong.push(`${name} has an inline style sheet`)
  if (/<script(?![^>]*\bsrc=)[^>]*>/i.test(text)) wrong.push(`${name} has an inline script`)
  if (/<[^>]+\s(?:style|on[a-z]+)\s*=/i.test(text)) wrong.push(`${name} has an inline style or handler`)
}

const gzipped = (name) => gzipSync(readFileSync(join(dist, name)), { level: 9 }).length
const sum = (names) => [...names].reduce((n, name) => n + gzipped(name), 0)
const kb = (bytes) => (bytes / KB).toFixed(1)
const beside = (from, to) => (to.startsWith('/') ? to.slice(1) : join(dirname(from), to))

/** What a page's HTML names of ours. */
function named(page) {
  const html = readFileSync(join(dist, page), 'utf8')
  return [...html.matchAll(/(?:src|href)="([^"]+\.(?:js|css))"/g)].map((m) => beside(page, m[1]))
}

/** The scripts that a script imports at once, and those that it may import later, with their styles. */
function imports(script) {
  const code = readFileSync(join(dist, script), 'utf8')
  const at = (pattern) => [...code.matchAll(pattern)].map((m) => beside(script, m[1]))
  return {
    now: at(/(?:\bfrom|\bimport)\s*["'`](\.{1,2}\/[^"'`]+\.js)["'`]/g),
    later: at(/\bimport\(\s*["'`](\.{1,2}\/[^"'`]+\.js)["'`]/g),
    styles: [...code.matchAll(/["'`]((?:\.?\/)?(?:app\/)?assets\/[^"'`]+\.css|\.\/[^"'`/]+\.css)["'`]/g)].map((m) =>
      m[1].includes('assets/') ? join(script.split('/')[0], 'assets', m[1].split('assets/')[1]) : beside(script, m[1]),
    ),
  }
}

/** Everything that follows from some files; `whole`: what is imported later, too. */
function closure(start, whole) {
  const seen = new Set()
  const queue = [...start]
  while (queue.length > 0) {
    const name = queue.shift()
    if (seen.has(name) || !files.includes(name)) continue
    seen.add(name)
    if (!name.endsWith('.js')) continue
    const { now, later, styles } = imports(name)
    queue.push(...now, ...(whole ? [...later, ...styles] : []))
  }
  return seen
}

const shown = []
const hold = (what, size, most) => {
  shown.push(`${what} ${kb(size)} of ${most / KB} KB gzip`)
  if (size > most) wrong.push(`${what} weighs ${kb(size)} KB gzip, more than ${most / KB}`)
}
for (const { name, page, first, later } of PAGES) {
  if (!files.includes(page)) {
    wrong.push(`${name} was not built`)
    continue
  }
  const atOnce = closure(named(page), false)
  const all = closure(named(page), true)
  hold(`${name}, first`, gzipped(page) + sum(atOnce), first)
  hold(`${name}, later`, sum(all) - sum(atOnce), later)
  // A page that already has the media library when it opens has lost what "on demand" is for.
  for (const script of [...atOnce].filter((f) => f.endsWith('.js')))
    if (/createOffer\b[\s\S]*subscriberPrimary|subscriberPrimary[\s\S]*createOffer\b/.test(readFileSync(join(dist, script), 'utf8')))
      wrong.push(`${name} loads the media library at once, in ${script}`)
}
if (files.includes(LOADER.file)) hold(LOADER.name, gzipped(LOADER.file), LOADER.most)
else wrong.push(`${LOADER.name} was not built`)

console.log(`dist: ${files.length} files; ${shown.join('; ')}`)
if (wrong.length > 0) {
  console.error(`dist:\n  ${wrong.join('\n  ')}`)
  process.exit(1)
}

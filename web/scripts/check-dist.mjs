// Holds the build to its promises: it names no other host that could be asked for anything, has nothing inline in its
// pages, and stays within its sizes.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const dist = new URL('../dist', import.meta.url).pathname
const KB = 1024

// Names of XML vocabularies, which no browser fetches, and placeholders that people see in empty fields.
const NOT_FETCHED = [/^http:\/\/www\.w3\.org\/(1998|1999|2000)\//, /^https?:\/\/[a-z.]*\b(example|invalid)\b/]

/** What a first visit loads, by kind of page: the file patterns and the most that they may weigh with gzip. */
const BUDGETS = [
  { name: 'console script', files: /^app\/assets\/.*\.js$/, most: 150 * KB },
  { name: 'console style', files: /^app\/assets\/.*\.css$/, most: 20 * KB },
  { name: 'widget loader', files: /^widget\.js$/, most: 6 * KB },
  { name: 'widget frame', files: /^w\/(widget\.html|assets\/.*\.(js|css))$/, most: 60 * KB },
]

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

const shown = []
for (const { name, files: pattern, most } of BUDGETS) {
  const found = files.filter((f) => pattern.test(f))
  const size = found.reduce((n, f) => n + gzipSync(readFileSync(join(dist, f)), { level: 9 }).length, 0)
  shown.push(`${name} ${(size / KB).toFixed(1)} of ${most / KB} KB gzip`)
  if (found.length === 0) wrong.push(`${name} was not built`)
  else if (size > most) wrong.push(`${name} weighs ${(size / KB).toFixed(1)} KB gzip, more than ${most / KB}`)
}

console.log(`dist: ${files.length} files; ${shown.join('; ')}`)
if (wrong.length > 0) {
  console.error(`dist:\n  ${wrong.join('\n  ')}`)
  process.exit(1)
}

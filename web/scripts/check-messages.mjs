// The message catalogue is whole: every language has the same keys with the same placeholders, none is empty, and the
// console uses each of them.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = new URL('..', import.meta.url).pathname
const dir = join(root, 'messages')
const languages = Object.fromEntries(
  readdirSync(dir)
    .filter((name) => name.endsWith('.json'))
    .map((name) => [name.replace('.json', ''), JSON.parse(readFileSync(join(dir, name), 'utf8'))]),
)
const { baseLocale, locales } = JSON.parse(readFileSync(join(root, 'project.inlang/settings.json'), 'utf8'))
const base = languages[baseLocale]
const wrong = []

const placeholders = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort().join(' ')

for (const locale of locales) {
  const messages = languages[locale] ?? {}
  for (const key of new Set([...Object.keys(base), ...Object.keys(messages)])) {
    if (typeof base[key] !== 'string') wrong.push(`${key}: not in ${baseLocale}.json`)
    else if (typeof messages[key] !== 'string' || messages[key].trim() === '') wrong.push(`${key}: not in ${locale}.json`)
    else if (placeholders(messages[key]) !== placeholders(base[key])) wrong.push(`${key}: ${locale}.json has other placeholders`)
    else if (messages[key].includes('!')) wrong.push(`${key}: ${locale}.json shouts`)
  }
}

const sources = ['src/console', 'src/ui'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((name) => /\.(svelte|ts)$/.test(name))
    .map((name) => readFileSync(join(root, folder, name), 'utf8')),
)
const used = new Set(sources.flatMap((text) => [...text.matchAll(/\bm\.([a-z_]+)/g)].map((m) => m[1])))
for (const key of Object.keys(base)) if (!used.has(key)) wrong.push(`${key}: nothing uses it`)

if (wrong.length > 0) {
  console.error(`messages:\n  ${wrong.join('\n  ')}`)
  process.exit(1)
}
console.log(`messages: ${Object.keys(base).length} keys in ${locales.join(', ')}`)

import { readFileSync } from 'node:fs'
import { defineConfig, type Plugin } from 'vite'

/** Reads the custom properties of the first `:root` rule of tokens.css. */
function readTokens(): Map<string, string> {
  const text = readFileSync(new URL('./src/tokens.css', import.meta.url), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '')
  const root = /:root\s*\{([^}]*)\}/.exec(text)?.[1] ?? ''
  return new Map([...root.matchAll(/(--[\w-]+)\s*:\s*([^;]+);/g)].map((m) => [m[1] ?? '', (m[2] ?? '').trim()]))
}

/**
 * Writes the tokens' values into the launcher's style sheet, so that a host page is not sent the whole list. Lengths
 * in rem become pixels: the host page decides what a rem is, and the launcher must not shrink with it.
 */
function tokens(): Plugin {
  const own = new Set(['--fill', '--ink', '--top', '--high'])
  return {
    name: 'parley-tokens',
    enforce: 'pre',
    transform(code, id) {
      if (!id.includes('/loader/') || !id.includes('.css')) return
      const known = readTokens()
      const write = (text: string): string =>
        text.replace(/var\((--[\w-]+)(,[^)]*)?\)/g, (whole, name: string) => {
          if (own.has(name)) return whole
          const value = known.get(name)
          if (value === undefined) throw new Error(`${id}: tokens.css has no ${name}`)
          return write(value)
        })
      return write(code).replace(/(\d*\.?\d+)rem\b/g, (_, n: string) => `${Number(n) * 16}px`)
    },
  }
}

/** The loader: one classic script, dist/widget.js. Runs after the app's build, which empties dist. */
export default defineConfig({
  plugins: [tokens()],
  publicDir: false,
  build: {
    target: 'es2022',
    outDir: 'dist',
    emptyOutDir: false,
    cssMinify: 'lightningcss',
    lib: { entry: 'src/loader/loader.ts', formats: ['iife'], name: 'ParleyLoader', fileName: () => 'widget.js' },
  },
})

// The console: app.html, served at /app/ with its assets under /app/assets/.
import { paraglideVitePlugin } from '@inlang/paraglide-js'
import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig, type Plugin } from 'vite'
import { keepsNothing, namesNobody } from './scripts/media.mjs'

// The entry applies the stored theme, so the first paint waits for it: nobody who chose dark sees a white flash.
const waitForTheme: Plugin = {
  name: 'parley:wait-for-theme',
  transformIndexHtml: {
    order: 'post',
    handler: (html) => html.replace('<script type="module"', '<script type="module" blocking="render"'),
  },
}

// Libraries name their own sites in error texts and as a base to parse addresses against. Nobody would fetch them, but the
// build names no other host at all, so that a check can hold it to that.
const noOtherHosts: Plugin = {
  name: 'parley:no-other-hosts',
  renderChunk: (code) =>
    code
      .replaceAll('https://svelte.dev/e/', 'svelte:')
      .replaceAll('https://paraglidejs.com/errors#', 'paraglide:')
      .replaceAll('http://dummy.com', 'http://none.invalid'),
}

// The content policy refuses style attributes in HTML, and these wrappers look the same without theirs.
const noInlineStyles: Plugin = {
  name: 'parley:no-inline-styles',
  enforce: 'pre',
  transform(code, id) {
    if (id.includes('/bits-ui/') && id.includes('.svelte')) return code.replaceAll(' style="display: contents;"', '')
  },
}

export default defineConfig(({ mode }) => ({
  base: '/app/',
  publicDir: false,
  plugins: [
    paraglideVitePlugin({
      project: './project.inlang',
      outdir: './src/paraglide',
      strategy: ['globalVariable', 'baseLocale'],
    }),
    noInlineStyles,
    svelte(),
    waitForTheme,
    noOtherHosts,
    keepsNothing,
    namesNobody,
  ],
  build: {
    outDir: 'dist/app',
    emptyOutDir: true,
    assetsInlineLimit: 0, // the content policy allows no data: fonts
    modulePreload: { polyfill: false },
    sourcemap: mode === 'development',
    chunkSizeWarningLimit: 700, // the media library is one chunk, loaded when a call starts
    rolldownOptions: { input: 'app.html' },
  },
  // npm run dev: the pages from here, the rest from a server beside it.
  server: {
    port: 5173,
    strictPort: true,
    proxy: { '/api': 'http://127.0.0.1:8080', '/ws': { target: 'http://127.0.0.1:8080', ws: true }, '/rtc': { target: 'http://127.0.0.1:8080', ws: true } },
  },
}))

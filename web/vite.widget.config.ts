// The widget's frame, widget.html, served at /w/{site}, and the preflight page, check.html, served at /w/check; the
// assets of both are under /w/assets/.
import { defineConfig } from 'vite'
import { keepsNothing, namesNobody } from './scripts/media.mjs'

export default defineConfig({
  base: './', // the page is at /w/{site}, whatever comes before it
  publicDir: false,
  plugins: [keepsNothing, namesNobody],
  build: {
    outDir: 'dist/w',
    emptyOutDir: true,
    target: 'es2022',
    cssTarget: ['chrome111', 'firefox113', 'safari16.2'],
    cssMinify: 'lightningcss',
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700, // the media library is one chunk, loaded when a call starts
    rolldownOptions: { input: ['widget.html', 'check.html'] },
  },
})

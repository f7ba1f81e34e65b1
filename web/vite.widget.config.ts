// The widget's frame: widget.html, served at /w/{site} with its assets under /w/assets/.
import { defineConfig } from 'vite'

export default defineConfig({
  base: './', // the page is at /w/{site}, whatever comes before it
  publicDir: false,
  build: {
    outDir: 'dist/w',
    emptyOutDir: true,
    target: 'es2022',
    cssTarget: ['chrome111', 'firefox113', 'safari16.2'],
    cssMinify: 'lightningcss',
    modulePreload: { polyfill: false },
    rolldownOptions: { input: 'widget.html' },
  },
})

import svelte from 'eslint-plugin-svelte'
import globals from 'globals'
import ts from 'typescript-eslint'
import svelteConfig from './svelte.config.js'

export default ts.config(
  { ignores: ['dist/', 'src/paraglide/', 'node_modules/'] },
  ...ts.configs.recommended,
  ...svelte.configs.recommended,
  { languageOptions: { globals: { ...globals.browser, ...globals.node } } },
  {
    files: ['**/*.svelte', '**/*.svelte.ts'],
    languageOptions: { parserOptions: { parser: ts.parser, svelteConfig } },
    rules: {
      'svelte/no-at-html-tags': 'error',
      // Hash routes and same-page anchors only; there is no SvelteKit resolver here.
      'svelte/no-navigation-without-resolve': 'off',
      // Maps and sets here are bookkeeping that nothing on the screen reads; what it reads is $state.
      'svelte/prefer-svelte-reactivity': 'off',
    },
  },
)

// What this browser remembers about how the console looks: theme, language, density, shortcuts. Nothing personal, and
// nothing at all when storage is blocked. Every key is declared in the server's catalogue.

import { getLocale, isLocale, locales, overwriteGetLocale, type Locale } from '../paraglide/runtime.js'

export type Theme = 'auto' | 'light' | 'dark'
export type Density = 'normal' | 'compact'

const KEYS = {
  theme: 'parley.theme',
  locale: 'parley.locale',
  density: 'parley.density',
  shortcuts: 'parley.shortcuts',
} as const

function recall(key: keyof typeof KEYS): string | null {
  try {
    return localStorage.getItem(KEYS[key])
  } catch {
    return null
  }
}

/** Keeps a choice; the default is kept by keeping nothing. */
function keep(key: keyof typeof KEYS, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(KEYS[key])
    else localStorage.setItem(KEYS[key], value)
  } catch {
    // Storage is blocked: the choice lasts as long as the page.
  }
}

/** The first language that the reader asks for and we speak. */
function preferred(): Locale {
  for (const wanted of navigator.languages) {
    const language = wanted.toLowerCase().split('-')[0]!
    const found = locales.find((l) => l === language)
    if (found) return found
  }
  return getLocale()
}

class Prefs {
  #theme = $state<Theme>('auto')
  #locale = $state<Locale>('en')
  #density = $state<Density>('normal')
  #shortcuts = $state(true)

  constructor() {
    const theme = recall('theme')
    this.#theme = theme === 'light' || theme === 'dark' ? theme : 'auto'
    const locale = recall('locale')
    this.#locale = isLocale(locale) ? locale : preferred()
    this.#density = recall('density') === 'compact' ? 'compact' : 'normal'
    this.#shortcuts = recall('shortcuts') !== 'off'
    // Every message reads this, so a change of language redraws what is on the screen and loses nothing.
    overwriteGetLocale(() => this.#locale)
    this.#apply()
  }

  get theme() {
    return this.#theme
  }
  set theme(theme: Theme) {
    this.#theme = theme
    keep('theme', theme === 'auto' ? null : theme)
    this.#apply()
  }

  get locale() {
    return this.#locale
  }
  set locale(locale: Locale) {
    this.#locale = locale
    keep('locale', locale)
    this.#apply()
  }

  get density() {
    return this.#density
  }
  set density(density: Density) {
    this.#density = density
    keep('density', density === 'normal' ? null : density)
  }

  /** Whether single keys do something outside of text fields (they disturb who dictates). */
  get shortcuts() {
    return this.#shortcuts
  }
  set shortcuts(on: boolean) {
    this.#shortcuts = on
    keep('shortcuts', on ? null : 'off')
  }

  #apply(): void {
    const root = document.documentElement
    root.lang = this.#locale
    if (this.#theme === 'auto') delete root.dataset['theme']
    else root.dataset['theme'] = this.#theme
  }
}

export const prefs = new Prefs()

import type { Locale } from '../paraglide/runtime.js'

/** Each language by its own name. */
export const LANGUAGES: Record<Locale, string> = { en: 'English', de: 'Deutsch' }

/** The loader's few words. English is the measure: every other language has the same keys. */

const en = {
  open: 'Open chat',
  close: 'Close chat',
  title: 'Chat with {name}',
  unread1: '1 new message',
  unread: '{n} new messages',
  ringing: 'Incoming call',
  running: 'Call in progress',
  failed: 'The chat could not be loaded. Check your connection and try again.',
  retry: 'Try again',
}

/** One language's words. */
export type Words = typeof en

const de: Words = {
  open: 'Chat öffnen',
  close: 'Chat schließen',
  title: 'Chat mit {name}',
  unread1: '1 neue Nachricht',
  unread: '{n} neue Nachrichten',
  ringing: 'Eingehender Anruf',
  running: 'Anruf läuft',
  failed: 'Der Chat konnte nicht geladen werden. Prüfen Sie die Verbindung und versuchen Sie es noch einmal.',
  retry: 'Noch einmal versuchen',
}

const all: Record<string, Words> = { en, de }

/** Picks the first wanted language that we speak: `de-AT` finds `de`. English when none is known. */
export function pickLanguage(wanted: readonly (string | null | undefined)[], spoken: readonly string[]): string {
  for (const tag of wanted) {
    const lang = (tag ?? '').toLowerCase().split('-')[0] ?? ''
    if (spoken.includes(lang)) return lang
  }
  return 'en'
}

/** The languages of the loader and the frame. */
export const languages: readonly string[] = Object.keys(all)

/** The words of a language that `pickLanguage` returned. */
export function words(lang: string): Words {
  return all[lang] ?? en
}

/**
 * The frame's words, one typed catalogue per language. English is the measure: a language that lacks a key does not
 * compile. `{name}` and the like are filled in by `fill`.
 */

const en = {
  chat: 'Chat',
  chat_with: 'Chat with {name}',
  greeting: 'Hello. How can we help?',
  greeting_text: 'Write to us here. You see the answer in this window, also when you move on to other pages.',
  here: 'We are here now',
  away: 'We are away at the moment',
  away_text: 'Write to us all the same. The answer appears in this window as soon as we are back.',
  sealed: 'Sealed: stored encrypted, under a key of its own. {name} reads it to answer you.',
  close: 'Close chat',
  menu: 'More',
  menu_details: 'Your name and e-mail',
  menu_forget: 'Forget this conversation on this device',

  details_open: 'Add your name or e-mail (optional)',
  details_hint: 'You can leave both out. They help us to address you and to find you again.',
  name: 'Name',
  email: 'E-mail',
  optional: 'optional',
  save: 'Save',
  cancel: 'Cancel',
  email_wrong: 'This does not look like an e-mail address. Correct it or leave it empty.',
  details_failed: 'This could not be saved. Try again.',

  forget_title: 'Forget this conversation?',
  forget_text: 'It disappears from this device and cannot be opened here again. What you wrote stays with {name}.',
  forget_yes: 'Forget it',
  forget_no: 'Keep it',
  forget_failed: 'We could not reach the server, so nothing was forgotten. Try again.',
  forgotten: 'Forgotten. Nothing of the conversation is left on this device.',

  messages: 'Messages',
  composer: 'Your message',
  placeholder: 'Write a message',
  send: 'Send',
  left: '{n} left',
  over: 'Too long by {n}. Shorten the message or send it in two parts.',
  you: 'You',
  said: '{name}: {text}',
  team: 'Team',
  today: 'Today',
  yesterday: 'Yesterday',
  new_messages: 'New',
  older: 'Show earlier messages',
  older_failed: 'Earlier messages could not be loaded.',
  jump: 'To the newest message',
  jump_new: 'New message below',
  typing: '{name} is writing',
  typing_team: 'Someone is writing',

  sending: 'Sending',
  sent: 'Sent',
  seen: 'Seen',
  waiting: 'Waiting for the connection',
  wait: 'Many messages at once. Sending again in {n} s.',
  busy: 'The server is busy. We are trying again.',
  failed: 'Not sent.',
  failed_long: 'Not sent: the message is too long.',
  failed_refused: 'Not sent: the server did not accept this message.',
  retry: 'Try again',
  remove: 'Remove',

  reconnecting: 'Connection lost. We are trying again.',
  offline: 'You are offline. What you write is sent when you are back.',
  closed: 'This conversation is closed. Write again to reopen it.',
  blocked: 'Your browser does not let us keep anything, so this conversation lasts as long as this page stays open.',
  expired: 'Your earlier conversation is not there any more, so this is a new one.',
  load_failed: 'The chat could not be loaded.',
  load_failed_text: 'Check your connection and try again.',
  unknown: 'There is no chat here.',
  unknown_text: 'This page points to a chat that does not exist or may not be shown here.',
}

/** The keys, shared by all languages. */
export type Words = typeof en

const de: Words = {
  chat: 'Chat',
  chat_with: 'Chat mit {name}',
  greeting: 'Guten Tag. Wie können wir helfen?',
  greeting_text: 'Schreiben Sie uns hier. Die Antwort sehen Sie in diesem Fenster, auch wenn Sie auf andere Seiten gehen.',
  here: 'Wir sind gerade da',
  away: 'Wir sind gerade nicht da',
  away_text: 'Schreiben Sie uns trotzdem. Die Antwort erscheint in diesem Fenster, sobald wir zurück sind.',
  sealed: 'Versiegelt: verschlüsselt gespeichert, mit eigenem Schlüssel. {name} liest Ihre Nachrichten, um zu antworten.',
  close: 'Chat schließen',
  menu: 'Mehr',
  menu_details: 'Ihr Name und Ihre E-Mail-Adresse',
  menu_forget: 'Dieses Gespräch auf diesem Gerät vergessen',

  details_open: 'Name oder E-Mail-Adresse angeben (freiwillig)',
  details_hint: 'Sie können beides weglassen. Die Angaben helfen uns, Sie anzusprechen und wiederzufinden.',
  name: 'Name',
  email: 'E-Mail-Adresse',
  optional: 'freiwillig',
  save: 'Speichern',
  cancel: 'Abbrechen',
  email_wrong: 'Das sieht nicht nach einer E-Mail-Adresse aus. Berichtigen Sie die Angabe oder lassen Sie das Feld leer.',
  details_failed: 'Das konnte nicht gespeichert werden. Versuchen Sie es noch einmal.',

  forget_title: 'Dieses Gespräch vergessen?',
  forget_text: 'Es verschwindet von diesem Gerät und lässt sich hier nicht mehr öffnen. Was Sie geschrieben haben, bleibt bei {name}.',
  forget_yes: 'Vergessen',
  forget_no: 'Behalten',
  forget_failed: 'Der Server war nicht zu erreichen, es wurde nichts vergessen. Versuchen Sie es noch einmal.',
  forgotten: 'Vergessen. Auf diesem Gerät ist nichts mehr von dem Gespräch.',

  messages: 'Nachrichten',
  composer: 'Ihre Nachricht',
  placeholder: 'Nachricht schreiben',
  send: 'Senden',
  left: 'noch {n}',
  over: 'Um {n} zu lang. Kürzen Sie die Nachricht oder senden Sie sie in zwei Teilen.',
  you: 'Sie',
  said: '{name}: {text}',
  team: 'Team',
  today: 'Heute',
  yesterday: 'Gestern',
  new_messages: 'Neu',
  older: 'Frühere Nachrichten zeigen',
  older_failed: 'Frühere Nachrichten konnten nicht geladen werden.',
  jump: 'Zur neuesten Nachricht',
  jump_new: 'Neue Nachricht weiter unten',
  typing: '{name} schreibt',
  typing_team: 'Jemand schreibt',

  sending: 'Wird gesendet',
  sent: 'Gesendet',
  seen: 'Gesehen',
  waiting: 'Wartet auf die Verbindung',
  wait: 'Viele Nachrichten auf einmal. Neuer Versuch in {n} s.',
  busy: 'Der Server ist ausgelastet. Wir versuchen es weiter.',
  failed: 'Nicht gesendet.',
  failed_long: 'Nicht gesendet: Die Nachricht ist zu lang.',
  failed_refused: 'Nicht gesendet: Der Server hat diese Nachricht nicht angenommen.',
  retry: 'Noch einmal versuchen',
  remove: 'Entfernen',

  reconnecting: 'Verbindung unterbrochen. Wir versuchen es weiter.',
  offline: 'Sie sind offline. Was Sie schreiben, wird gesendet, sobald Sie wieder verbunden sind.',
  closed: 'Dieses Gespräch ist beendet. Schreiben Sie wieder, um es fortzusetzen.',
  blocked: 'Ihr Browser lässt uns nichts aufbewahren. Dieses Gespräch dauert deshalb nur so lange, wie diese Seite geöffnet bleibt.',
  expired: 'Ihr früheres Gespräch gibt es nicht mehr; dies ist ein neues.',
  load_failed: 'Der Chat konnte nicht geladen werden.',
  load_failed_text: 'Prüfen Sie die Verbindung und versuchen Sie es noch einmal.',
  unknown: 'Hier gibt es keinen Chat.',
  unknown_text: 'Diese Seite verweist auf einen Chat, den es nicht gibt oder der hier nicht gezeigt werden darf.',
}

/** Every language that the frame speaks. */
export const catalogues = { en, de } as const

/** A language of the frame. */
export type Lang = keyof typeof catalogues

/** Fills `{name}` and the like; a value that is missing leaves its place empty. */
export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (_, key: string) => String(values[key] ?? ''))
}

// The words about calls that come with the code of calls, and not with every frame.
import type { Lang } from './messages'

const en = {
  runs: 'Your call is still running.',
  elsewhere: 'The call is open in another tab or on another device.',
  rejoin: 'Back to the call',
  bring: 'Continue it here',
  end: 'End the call',
  away: 'The call is open in a tab of its own.',
  show_window: 'Show that tab',
  lost_window: 'This tab belongs to a call, and the page that opened it is gone. Close it and call again from there.',
  over_window: 'You can close this tab. The conversation goes on where you came from.',
  close_window: 'Close this tab',
}

export type StageWords = typeof en

const de: StageWords = {
  runs: 'Ihr Anruf läuft noch.',
  elsewhere: 'Der Anruf ist in einem anderen Tab oder auf einem anderen Gerät geöffnet.',
  rejoin: 'Zurück zum Anruf',
  bring: 'Hier fortsetzen',
  end: 'Anruf beenden',
  away: 'Der Anruf ist in einem eigenen Tab geöffnet.',
  show_window: 'Diesen Tab zeigen',
  lost_window: 'Dieser Tab gehört zu einem Anruf, und die Seite, die ihn geöffnet hat, ist nicht mehr da. Schließen Sie ihn und rufen Sie von dort noch einmal an.',
  over_window: 'Sie können diesen Tab schließen. Das Gespräch geht dort weiter, wo Sie herkamen.',
  close_window: 'Tab schließen',
}

export const stageWords: Record<Lang, StageWords> = { en, de }

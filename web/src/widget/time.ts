// Days and times in the reader's own zone and language.

export interface Clock {
  /** "14:05". */
  time(at: Date): string
  /** "Today", "Yesterday", "Tuesday, 4 March", with the year when it is another one. */
  day(at: Date): string
  /** Everything, with the name of the zone: for the tooltip. */
  full(at: Date): string
}

export function clock(lang: string, words: { today: string; yesterday: string }, now: () => Date = () => new Date()): Clock {
  const format = (o: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(lang === 'en' ? 'en-GB' : lang, o)
  const time = format({ hour: '2-digit', minute: '2-digit' })
  const day = format({ weekday: 'long', day: 'numeric', month: 'long' })
  const dayYear = format({ day: 'numeric', month: 'long', year: 'numeric' })
  const full = format({ dateStyle: 'full', timeStyle: 'long' })
  const midnight = (d: Date) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime()
  return {
    time: (at) => time.format(at),
    day(at) {
      const today = now()
      const days = Math.round((midnight(today) - midnight(at)) / 86_400_000)
      if (days === 0) return words.today
      if (days === 1) return words.yesterday
      return (today.getFullYear() === at.getFullYear() ? day : dayYear).format(at)
    },
    full: (at) => full.format(at),
  }
}

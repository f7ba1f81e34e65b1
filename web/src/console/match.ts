// How well a choice of the palette answers what was typed.

/** 0: not at all. Every word that was typed has to be in the text; words that begin one of its words count more. */
export function match(text: string, search: string): number {
  const words = fold(search).split(/\s+/).filter(Boolean)
  const inText = fold(text)
  let score = 0
  for (const word of words) {
    const at = inText.indexOf(word)
    if (at < 0) return 0
    const startsWord = at === 0 || / |-|:|@/.test(inText[at - 1]!) || inText.includes(` ${word}`)
    score += at === 0 ? 1 : startsWord ? 0.8 : 0.4
  }
  return words.length === 0 ? 1 : score / words.length
}

/** Without case and accents, so that "yilmaz" finds Yılmaz and "chloe" finds Chloé. */
function fold(text: string): string {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase().replace(/ı/g, 'i').replace(/ß/g, 'ss')
}

// What the builds do to the media library (livekit-client), in the widget and in the console alike.
/**
 * @type {import('vite').Plugin}
 *
 * Its logger, loglevel, would keep a level in local storage or in a cookie of its own. Parley declares what it keeps in a
 * browser and keeps nothing else, so these lines go; the build fails when a new version words them differently.
 */
export const keepsNothing = {
  name: 'parley:keeps-nothing',
  transform(code, id) {
    if (!id.includes('/livekit-client/')) return
    const without = code
      .replaceAll(/window\.localStorage\[storageKey\] = levelName;/g, '')
      .replaceAll(/window\.localStorage\.removeItem\(storageKey\);/g, '')
      .replaceAll(/storedLevel = window\.localStorage\[storageKey\];/g, '')
      .replaceAll(/var cookie = window\.document\.cookie;/g, "var cookie = '';")
      .replaceAll(/window\.document\.cookie = .*$/gm, '')
    if (/document\.cookie|window\.localStorage/.test(without)) this.error('livekit-client keeps something in the browser that the build does not know')
    return { code: without, map: null }
  },
}

/**
 * @type {import('vite').Plugin}
 *
 * Addresses that it only names in its texts; the build names no other host at all, so that a check can hold it to that.
 */
export const namesNobody = {
  name: 'parley:names-nobody',
  renderChunk: (code) => code.replaceAll(/https:\/\/(?:github\.com|docs\.livekit\.io|livekit\.io)\//g, 'see:'),
}

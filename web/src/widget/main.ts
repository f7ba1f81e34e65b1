// The frame at /w/{site}, and the window that it hands a call to where the host page forbids camera and microphone.
import '../tokens.css'
import './widget.css'
import './talk.css'
import './foot.css' // last: it changes the others for low windows
import { readStart } from '../loader/frame-protocol'
import { pickLanguage } from '../loader/words'
import { Bridge } from './bridge'
import { catalogues, type Lang } from './messages'
import { Session } from './session'
import { socketAt } from './socket'
import { pageStorage, storageKey, TokenStore } from './storage'
import { View } from './view'

const start = readStart(location.hash)
const lang = pickLanguage([start.lang, ...navigator.languages], Object.keys(catalogues)) as Lang
document.documentElement.lang = lang

const [, base = '', siteId = ''] = /^(.*)\/w\/([^/]+)/.exec(location.pathname) ?? []
const socketUrl = `${location.origin.replace(/^http/, 'ws')}${base}/ws`

/** Puts session, bridge and view together; `store` has the visitor's token. */
function run(store: TokenStore, isWindow: boolean): { session: Session; view: View; bridge: Bridge } {
  const session = new Session({
    siteId: decodeURIComponent(siteId),
    base,
    locale: lang,
    store,
    openSocket: socketAt(socketUrl),
    onChange: () => view.changed(),
    onAgentMessage: (m) => view.say(m),
  })
  const bridge = new Bridge(window, start, {
    shown: (page, focus) => view.show(page, focus),
    hidden: () => view.hide(),
  })
  const root = document.getElementById('chat') ?? document.body
  const checkUrl = `${base}/w/check?lang=${lang}`
  const view = new View({ root, lang, words: catalogues[lang], session, bridge, checkUrl, isWindow })
  return { session, view, bridge }
}

/** The frame, or the same page opened by itself. */
function open(): void {
  const { session, view, bridge } = run(new TokenStore(siteId, () => localStorage), false)
  addEventListener('storage', (e) => {
    if (e.key === storageKey || e.key === null) void session.storageChanged()
  })
  view.draw()
  bridge.ready()
  void session.start()
}

/** The window of a call: whoever opened it says whose call it is, and nothing of that is kept. */
async function openForCall(): Promise<void> {
  const [{ takeOver }, { stageWords }] = await Promise.all([import('./handover'), import('./stage-words')])
  const given = await takeOver(window)
  if (!given) {
    const lost = document.createElement('p')
    lost.className = 'alone'
    lost.textContent = stageWords[lang].lost_window
    document.body.replaceChildren(lost)
    return
  }
  const kept = pageStorage()
  const store = new TokenStore(siteId, () => kept)
  store.set(given.token)
  const { session, view } = run(store, true)
  view.draw()
  await session.start()
  if (session.conversation) session.calling.resume(given.call, given.media)
}

if (start.handover) void openForCall()
else open()

// The frame at /w/{site}: puts session, bridge and view together.
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
import { storageKey, TokenStore } from './storage'
import { View } from './view'

const start = readStart(location.hash)
const lang = pickLanguage([start.lang, ...navigator.languages], Object.keys(catalogues)) as Lang
document.documentElement.lang = lang

const [, base = '', siteId = ''] = /^(.*)\/w\/([^/]+)/.exec(location.pathname) ?? []
const socketUrl = `${location.origin.replace(/^http/, 'ws')}${base}/ws`

const session = new Session({
  siteId: decodeURIComponent(siteId),
  base,
  locale: lang,
  store: new TokenStore(siteId, () => localStorage),
  openSocket: socketAt(socketUrl),
  onChange: () => view.changed(),
  onAgentMessage: (m) => view.say(m),
})
const bridge = new Bridge(window, start, {
  shown: (page, focus) => view.show(page, focus),
  hidden: () => view.hide(),
})
const root = document.getElementById('chat') ?? document.body
const view = new View({ root, lang, words: catalogues[lang], session, bridge })

addEventListener('storage', (e) => {
  if (e.key === storageKey || e.key === null) void session.storageChanged()
})
view.draw()
bridge.ready()
void session.start()

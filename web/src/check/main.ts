// The preflight page at /w/check: camera, microphone, speaker and the ways through the network, tried before a call. It
// knows nobody, keeps nothing, and what cameras and microphones give never leaves it.
import '../tokens.css'
import './check.css'
import { Api } from '../lib/api'
import type { CheckServers } from '../lib/protocol'
import { DevicePart } from './devices'
import { NetworkPart } from './network'
import { Page } from './page'
import { catalogues, pick } from './texts'

const lang = pick(location.search, navigator.languages)
const words = catalogues[lang]
document.documentElement.lang = lang
document.title = words.title

const [, base = ''] = /^(.*)\/w\/check/.exec(location.pathname) ?? []
const api = new Api({ base, locale: () => lang, token: () => null })

const page = new Page(document.getElementById('check') ?? document.body, lang, words)
const network = new NetworkPart(page, words, {
  servers: () => api.get<CheckServers>('/widget/check/ice'),
  offer: async (kind, sdp) => (await api.post<{ sdp: string }>('/widget/check/offer', { kind, sdp })).sdp,
})
const devices = new DevicePart(page, words)
page.place([network.element, devices.element])
addEventListener('pagehide', () => devices.stop())
void network.run()

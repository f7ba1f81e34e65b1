// The part that runs by itself: what the browser can do, whether our server answers, and which ways are open to it.
import { asApiError } from '../lib/api'
import { h } from '../lib/dom'
import type { CheckServers } from '../lib/protocol'
import type { Page } from './page'
import { probe, ProbeError, type Way } from './probe'
import { judge, type Check, type Finding } from './report'
import type { Words } from './texts'

export interface Wire {
  servers(): Promise<CheckServers>
  offer(kind: Way, sdp: string): Promise<string>
}

const all: readonly Check[] = ['browser', 'server', 'udp', 'tcp', 'relay']

export class NetworkPart {
  readonly element: HTMLElement
  readonly #again: HTMLButtonElement
  #running = false

  constructor(
    private readonly page: Page,
    w: Words,
    private readonly wire: Wire,
  ) {
    this.#again = h('button', { class: 'button', type: 'button', textContent: w.again_all, disabled: true, onclick: () => void this.run() })
    this.element = h(
      'section',
      { class: 'card', attrs: { 'aria-labelledby': 'network' } },
      h('h2', { id: 'network', textContent: w.group_network }),
      page.rows(all),
      h('div', { class: 'buttons' }, this.#again),
    )
  }

  async run(): Promise<void> {
    if (this.#running) return
    this.#running = true
    this.#again.disabled = true
    for (const check of all) this.page.set(check, { mark: 'waiting' })
    const browser = browserFinding()
    this.page.set('browser', browser)
    const servers = await this.#server()
    if (servers && browser.mark !== 'bad') {
      // One after the other: at the same time they would measure each other.
      await this.#way('udp', servers, servers.udp)
      await this.#way('tcp', servers, servers.tcp)
      await this.#way('relay', servers, servers.turn || servers.turn_tls)
    } else for (const way of ['udp', 'tcp', 'relay'] as const) this.page.set(way, { mark: 'skipped' })
    this.#running = false
    this.#again.disabled = false
  }

  async #server(): Promise<CheckServers | undefined> {
    this.page.set('server', { mark: 'running' })
    try {
      const servers = await this.wire.servers()
      // The first answer paid for the connection; the second one shows the way alone.
      const from = performance.now()
      await this.wire.servers()
      this.page.set('server', { mark: 'good', trip: Math.round(performance.now() - from) })
      return servers
    } catch (cause) {
      const { status, code } = asApiError(cause)
      if (code === 'calls_off') { // it answers, and offers no way
        this.page.set('server', { mark: 'good' })
        return { ice_servers: [], udp: false, tcp: false, turn: false, turn_tls: false }
      }
      const fault = status === 429 || status === 503 ? 'busy_server' : status === 0 && !navigator.onLine ? 'offline' : 'server'
      this.page.set('server', { mark: 'bad', fault })
      return undefined
    }
  }

  async #way(way: Way, servers: CheckServers, offered: boolean): Promise<void> {
    if (!offered) return this.page.set(way, { mark: 'off' })
    this.page.set(way, { mark: 'running' })
    try {
      this.page.set(way, judge(await probe(way, { servers, offer: this.wire.offer })))
    } catch (error) {
      this.page.set(way, { mark: 'bad', fault: error instanceof ProbeError ? error.fault : 'no_way' })
    }
  }
}

/** What calls need of a browser. */
function browserFinding(): Finding {
  if (!window.isSecureContext) return { mark: 'bad', fault: 'insecure' }
  if (typeof RTCPeerConnection !== 'function' || typeof WebSocket !== 'function' || !navigator.mediaDevices) return { mark: 'bad', fault: 'old' }
  const codecs = RTCRtpReceiver.getCapabilities?.('video')?.codecs.map((c) => c.mimeType.toLowerCase())
  if (codecs && !codecs.includes('video/vp8') && !codecs.includes('video/h264')) return { mark: 'bad', fault: 'no_codec' }
  return { mark: 'good' }
}

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ApiError } from '../lib/api'
import type { CheckServers } from '../lib/protocol'
import { middle, probe, ProbeError, type ProbeOptions } from './probe'
import { adviceOf, browserName, checks, judge, lineOf, nothingYet, overall, report, toneOf, weigh, type Check, type Finding, type Findings } from './report'
import { catalogues, pick } from './texts'

const found = (change: Partial<Record<Check, Finding>>): Findings => ({
  ...(Object.fromEntries(checks.map((c) => [c, { mark: 'good' }])) as Findings),
  ...change,
})

describe('what was found', () => {
  it('is good, in part, or bad by what a call needs', () => {
    expect(overall(found({}))).toBe('good')
    expect(overall(found({ udp: { mark: 'running' } }))).toBe('running')
    expect(overall(found({ camera: { mark: 'bad', fault: 'none' } }))).toBe('fair')
    expect(overall(found({ microphone: { mark: 'bad', fault: 'denied' } }))).toBe('bad')
    expect(overall(found({ camera: { mark: 'skipped' }, microphone: { mark: 'skipped' } }))).toBe('good')
    expect(overall(nothingYet())).toBe('good') // nothing tried is named beside it
  })

  it('weighs a closed way by what is left', () => {
    const closed: Finding = { mark: 'bad', fault: 'no_way' }
    expect(toneOf(weigh(found({ udp: closed })).udp)).toBe('fair')
    expect(toneOf(weigh(found({ udp: closed, tcp: closed, relay: closed })).udp)).toBe('bad')
    expect(overall(found({ udp: closed }))).toBe('fair')
    expect(overall(found({ udp: closed, tcp: closed, relay: closed }))).toBe('bad')
    expect(overall(found({ udp: closed, tcp: { mark: 'off' }, relay: { mark: 'off' } }))).toBe('bad')
    expect(adviceOf('udp', weigh(found({ udp: closed })).udp, catalogues.en)).toBe(catalogues.en.advice_udp)
    expect(adviceOf('relay', weigh(found({ relay: closed })).relay, catalogues.en)).toBe(catalogues.en.advice_detour)
    expect(adviceOf('udp', closed, catalogues.en)).toBe(catalogues.en.advice_no_way)
  })

  it('calls a closed way closed, however little it matters', () => {
    const text = (lang: keyof typeof catalogues) =>
      report({ found: found({ udp: { mark: 'bad', fault: 'no_way' } }), words: catalogues[lang], browser: '?', server: 's', at: new Date(0), withDevices: false })
    expect(text('en')).toContain('Direct way (UDP): Does not work. This way is closed.')
    expect(text('en')).toContain(catalogues.en.overall_fair)
    expect(text('de')).toContain(`: ${catalogues.de.mark_bad}. `)
    expect(text('de')).not.toContain(catalogues.de.mark_fair)
  })

  it('does not promise calls where the server holds none', () => {
    const off = { udp: { mark: 'off' }, tcp: { mark: 'off' }, relay: { mark: 'off' } } as const
    expect(overall(found(off))).toBe('off')
    expect(overall(found({ ...off, microphone: { mark: 'bad', fault: 'denied' } }))).toBe('off')
    expect(overall(found({ ...off, tcp: { mark: 'good' } }))).toBe('good')
  })

  it('judges delay and loss', () => {
    expect(judge({ connect: 80, trip: 40, lost: 2, sent: 20 })).toMatchObject({ mark: 'good' })
    expect(judge({ connect: 80, trip: 301, lost: 0, sent: 20 })).toMatchObject({ mark: 'fair', fault: 'slow' })
    expect(judge({ connect: 80, trip: 40, lost: 3, sent: 20 })).toMatchObject({ mark: 'fair', fault: 'lossy' })
  })

  it('has words and advice for every fault, in both languages', () => {
    for (const w of Object.values(catalogues)) {
      const faults = Object.keys(w).filter((k) => k.startsWith('fault_')).map((k) => k.slice(6) as NonNullable<Finding['fault']>)
      for (const fault of faults) {
        expect(lineOf('camera', { mark: 'bad', fault }, w)).toMatch(/\S/)
        expect(adviceOf('camera', { mark: 'bad', fault }, w), fault).toMatch(/\S/)
      }
    }
  })

  it('is copied as text that names nobody', () => {
    const text = report({
      found: found({ udp: { mark: 'good', connect: 80, trip: 12, lost: 1, sent: 20 }, camera: { mark: 'good', picture: { width: 1280, height: 720, rate: 30 }, device: "Mara's camera" } }),
      words: catalogues.en,
      browser: 'Chrome 140, Linux',
      server: 'parley.example',
      at: new Date(Date.UTC(2026, 0, 5, 12, 3)),
      withDevices: false,
    })
    expect(text).toContain('Call check, parley.example\n2026-01-05 12:03 UTC\nBrowser: Chrome 140, Linux')
    expect(text).toContain('Direct way (UDP): Works. Connected in 80 ms, round trip 12 ms, 1 of 20 packets lost')
    expect(text).toContain('1280 × 720, 30 pictures a second')
    expect(text).not.toContain('Mara')
  })

  it('names devices when the person says so', () => {
    const o = { found: found({ camera: { mark: 'good', device: 'Front camera' } }), words: catalogues.de, browser: '?', server: 's', at: new Date(0) }
    expect(report({ ...o, withDevices: true })).toContain('[Front camera]')
    expect(report({ ...o, withDevices: false })).not.toContain('Front camera')
  })

  it('knows browsers by name and main version only', () => {
    expect(browserName('Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.7339.80 Safari/537.36')).toBe('Chrome 140, Linux')
    expect(browserName('Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0')).toBe('Edge 140, Windows')
    expect(browserName('Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:141.0) Gecko/20100101 Firefox/141.0')).toBe('Firefox 141, macOS')
    expect(browserName('Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1')).toBe('Safari 18, iOS')
    expect(browserName('Mozilla/5.0 (Linux; Android 14; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36')).toBe('Samsung Internet 28, Android')
    expect(browserName('curl/8')).toBe('?')
  })
})

describe('words', () => {
  it('are there in both languages, with the same places, and none shouts', () => {
    const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map((m) => m[0]).sort()
    for (const [key, text] of Object.entries(catalogues.en)) {
      const other = catalogues.de[key as keyof typeof catalogues.de]
      expect(other, key).toMatch(/\S/)
      expect(places(other), key).toEqual(places(text))
      expect(text + other).not.toMatch(/!|oops/i)
    }
  })

  it('follow the address, then the browser', () => {
    expect(pick('?lang=de', ['en'])).toBe('de')
    expect(pick('?lang=fr', ['de-AT', 'en'])).toBe('de')
    expect(pick('', ['fr'])).toBe('en')
  })
})

/** A peer connection that finds its way, or does not. */
class FakePeer extends EventTarget {
  iceGatheringState = 'new'
  connectionState = 'new'
  localDescription: { sdp: string } | null = null
  closed = false
  readonly channel = new FakeChannel(this)
  constructor(
    readonly config: RTCConfiguration,
    readonly can: { gather?: boolean; connect?: boolean; echo?: (n: number) => boolean },
  ) {
    super()
  }
  createDataChannel() {
    return this.channel
  }
  async createOffer() {
    return { sdp: 'v=0' }
  }
  async setLocalDescription() {
    this.localDescription = { sdp: `v=0\r\n${this.can.gather === false ? '' : 'a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n'}` }
    this.iceGatheringState = 'complete'
    this.dispatchEvent(new Event('icegatheringstatechange'))
  }
  async setRemoteDescription() {
    if (this.can.connect === false) {
      this.connectionState = 'failed'
      this.dispatchEvent(new Event('connectionstatechange'))
    } else if (this.can.connect) this.channel.dispatchEvent(new Event('open'))
  }
  close() {
    this.closed = true
  }
}

class FakeChannel extends EventTarget {
  binaryType = ''
  constructor(readonly peer: FakePeer) {
    super()
  }
  send(packet: Uint8Array) {
    if (!this.peer.can.echo?.(packet[0]!)) return
    const e = new Event('message') as Event & { data: ArrayBuffer }
    e.data = packet.slice().buffer
    queueMicrotask(() => this.dispatchEvent(e))
    queueMicrotask(() => this.dispatchEvent(e)) // a packet may come twice
  }
}

describe('a probe', () => {
  const servers: CheckServers = { ice_servers: [{ urls: 'turn:x', username: 'u', credential: 'c' }], udp: true, tcp: true, turn: true, turn_tls: false }
  beforeEach(() => {
    vi.useFakeTimers()
    vi.stubGlobal('navigator', { onLine: true })
  })
  afterEach(() => {
    vi.useRealTimers()
    vi.unstubAllGlobals()
  })

  async function run(way: 'udp' | 'tcp' | 'relay', can: FakePeer['can'], more: Partial<ProbeOptions> = {}) {
    let peer: FakePeer | undefined
    const result = probe(way, { servers, offer: async () => 'answer', peer: (c) => (peer = new FakePeer(c, can)) as never, now: () => Date.now(), ...more }).catch((e: unknown) => e)
    await vi.advanceTimersByTimeAsync(30_000)
    return { result: await result, peer: peer! }
  }

  it('measures, and closes what it opened', async () => {
    const { result, peer } = await run('udp', { connect: true, echo: (n) => n !== 3 })
    expect(result).toEqual({ connect: 0, trip: 0, lost: 1, sent: 20 })
    expect(peer.closed).toBe(true)
    expect(peer.config).toEqual({})
  })

  it('goes by the relay only when that is what is tried', async () => {
    const { peer } = await run('relay', { connect: true, echo: () => true })
    expect(peer.config).toEqual({ iceServers: servers.ice_servers, iceTransportPolicy: 'relay' })
    expect((await run('relay', { gather: false })).result).toMatchObject({ fault: 'no_relay' })
  })

  it('says where it ended', async () => {
    expect((await run('udp', { connect: false })).result).toMatchObject({ fault: 'no_way' })
    expect((await run('udp', {})).result).toMatchObject({ fault: 'no_way' }) // nothing happens at all
    expect((await run('udp', { connect: true, echo: () => false })).result).toMatchObject({ fault: 'no_echo' })
    const refuse = (status: number) => ({ offer: async () => Promise.reject(new ApiError(status, 'x')) })
    expect((await run('tcp', {}, refuse(429))).result).toMatchObject({ fault: 'busy_server' })
    expect((await run('tcp', {}, refuse(0))).result).toMatchObject({ fault: 'server' })
    vi.stubGlobal('navigator', { onLine: false })
    expect((await run('tcp', {}, refuse(0))).result).toMatchObject({ fault: 'offline' })
    expect((await run('tcp', {}, { peer: () => { throw new Error('no') } }).catch((e: unknown) => ({ result: e }))).result).toBeInstanceOf(ProbeError)
  })

  it('takes the middle of what it measured', () => {
    expect(middle([5, 1, 3])).toBe(3)
    expect(middle([4, 1, 3, 2])).toBe(2.5)
    expect(middle([])).toBe(0)
  })
})

// One way through the network to the media server, tried with a data channel whose other end sends everything back.
import { ApiError } from '../lib/api'
import type { CheckServers } from '../lib/protocol'

/** UDP and TCP straight to the server's ports; `relay` over its TURN server. */
export type Way = 'udp' | 'tcp' | 'relay'

/**
 * `offline`, `server`: we did not get as far as asking. `busy_server`: too many checks at once. `no_relay`: the TURN
 * server was not reached. `no_way`: no connection came about. `no_echo`: it did, and nothing came back.
 */
export type ProbeFault = 'offline' | 'server' | 'busy_server' | 'no_relay' | 'no_way' | 'no_echo'

export class ProbeError extends Error {
  override readonly name = 'ProbeError'
  constructor(readonly fault: ProbeFault) {
    super(fault)
  }
}

export interface Figures {
  connect: number
  /** The middle one of the round trips. */
  trip: number
  lost: number
  sent: number
}

export interface ProbeOptions {
  servers: CheckServers
  /** Hands our offer to the server and gives its answer. */
  offer: (kind: Way, sdp: string) => Promise<string>
  peer?: (config: RTCConfiguration) => RTCPeerConnection
  now?: () => number
}

/** How long gathering, connecting and the echoes may take, in milliseconds; how many echoes, and how far apart. */
const gatherFor = 4_000
const connectFor = 12_000
const echoFor = 2_000
const echoes = 20
const echoEvery = 60

/** Tries one way. Rejects with ProbeError and nothing else. */
export async function probe(way: Way, o: ProbeOptions): Promise<Figures> {
  const now = o.now ?? (() => performance.now())
  const config: RTCConfiguration = way === 'relay' ? { iceServers: o.servers.ice_servers, iceTransportPolicy: 'relay' } : {}
  let pc: RTCPeerConnection | undefined
  try {
    pc = (o.peer ?? ((c) => new RTCPeerConnection(c)))(config)
    // As media travel: what is lost is not sent again.
    const channel = pc.createDataChannel('echo', { ordered: false, maxRetransmits: 0 })
    channel.binaryType = 'arraybuffer'
    const sdp = await gathered(pc, way)
    const answer = await ask(o, way, sdp)
    const from = now()
    const open = event(channel, 'open', connectFor, failed(pc))
    await pc.setRemoteDescription({ type: 'answer', sdp: answer })
    if (!(await open)) throw new ProbeError('no_way')
    const connect = Math.round(now() - from)
    return { connect, ...(await echo(channel, now)) }
  } catch (error) {
    throw error instanceof ProbeError ? error : new ProbeError('no_way')
  } finally {
    pc?.close()
  }
}

async function ask(o: ProbeOptions, way: Way, sdp: string): Promise<string> {
  try {
    return await o.offer(way, sdp)
  } catch (error) {
    const status = error instanceof ApiError ? error.status : 0
    if (status === 429 || status === 503) throw new ProbeError('busy_server')
    throw new ProbeError(status === 0 && !navigator.onLine ? 'offline' : 'server')
  }
}

/** Our offer with the addresses that were found in time. */
async function gathered(pc: RTCPeerConnection, way: Way): Promise<string> {
  const done = new Promise<void>((resolve) => {
    const look = () => pc.iceGatheringState === 'complete' && resolve()
    pc.addEventListener('icegatheringstatechange', look)
    // One relayed address is enough; waiting for the servers that do not answer would take half a minute.
    pc.addEventListener('icecandidate', (e) => (e.candidate === null || (way === 'relay' && e.candidate.candidate !== '')) && resolve())
    setTimeout(resolve, gatherFor)
  })
  await pc.setLocalDescription(await pc.createOffer())
  await done
  const sdp = pc.localDescription?.sdp ?? ''
  if (way === 'relay' && !/^a=candidate:/m.test(sdp)) throw new ProbeError('no_relay')
  return sdp
}

function failed(pc: RTCPeerConnection): Promise<void> {
  return new Promise((resolve) => {
    pc.addEventListener('connectionstatechange', () => (pc.connectionState === 'failed' || pc.connectionState === 'closed') && resolve())
  })
}

/** Whether the event came in time. */
function event(target: EventTarget, name: string, ms: number, unless: Promise<void>): Promise<boolean> {
  return new Promise((resolve) => {
    target.addEventListener(name, () => resolve(true), { once: true })
    void unless.then(() => resolve(false))
    setTimeout(() => resolve(false), ms)
  })
}

/** Sends numbered packets, and waits for those that come back. */
async function echo(channel: RTCDataChannel, now: () => number): Promise<Omit<Figures, 'connect'>> {
  const sentAt: number[] = []
  const trips: number[] = []
  await new Promise<void>((resolve) => {
    const end = () => {
      clearInterval(timer)
      clearTimeout(last)
      resolve()
    }
    let last: ReturnType<typeof setTimeout> | undefined
    channel.addEventListener('message', (e: MessageEvent) => {
      const n = e.data instanceof ArrayBuffer && e.data.byteLength > 0 ? new Uint8Array(e.data)[0] : undefined
      const at = n === undefined ? undefined : sentAt[n]
      if (n === undefined || at === undefined || at < 0) return
      trips.push(now() - at)
      sentAt[n] = -1 // a second copy is not a second answer
      if (trips.length === echoes) end()
    })
    channel.addEventListener('close', end)
    const timer = setInterval(() => {
      if (sentAt.length === echoes) {
        clearInterval(timer)
        last = setTimeout(end, echoFor)
        return
      }
      sentAt.push(now())
      try {
        // As large as a packet of speech.
        const packet = new Uint8Array(160)
        packet[0] = sentAt.length - 1
        channel.send(packet)
      } catch {
        end()
      }
    }, echoEvery)
  })
  if (trips.length === 0) throw new ProbeError('no_echo')
  return { trip: Math.round(middle(trips)), lost: sentAt.length - trips.length, sent: sentAt.length }
}

/** The median. */
export function middle(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[half] ?? 0) : ((sorted[half - 1] ?? 0) + (sorted[half] ?? 0)) / 2
}

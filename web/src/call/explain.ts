// From what went wrong to words that a person understands, with what to do. Pure.
import type { Over } from './state'
import type { Device, DeviceFault, JoinFault, ShareObstacle } from './problems'
import { fill, type Words } from './words'

export interface Explained {
  title: string
  text: string
}

/** Why a device is not open; `retry` and `top` say which buttons help. `canTop`: the call can open as a page of its own. */
export function deviceWords(w: Words, device: Device, fault: DeviceFault, canTop: boolean): Explained & { retry: boolean; top: boolean } {
  const kind = device === 'screen' ? 'camera' : device
  const missing = fault === 'none'
  const title = missing ? w[`not_found_${kind}`] : fault === 'gone' ? w[`gone_${kind}`] : w[`no_access_${kind}`]
  const text = fault === 'page' && canTop ? w.fault_page_top : w[`fault_${fault}`]
  const hopeless = fault === 'page' || fault === 'insecure' || fault === 'unsupported'
  // In a frame, a refusal may be the surrounding page's doing: not every browser says whose it was.
  const top = canTop && (fault === 'page' || fault === 'denied')
  return { title, text, retry: !hopeless, top }
}

/** One line for the room, where there is little space. */
export function deviceLine(w: Words, device: Device, fault: DeviceFault, canTop: boolean): string {
  const { title, text } = deviceWords(w, device, fault, canTop)
  return `${title}. ${text}`
}

export function shareWords(w: Words, obstacle: ShareObstacle): string {
  return w[`share_${obstacle}`]
}

/** Why there is no way in. `check`: the page that tries camera and network helps. */
export function joinWords(w: Words, fault: JoinFault | 'notice' | 'acknowledge'): Explained & { check: boolean } {
  switch (fault) {
    case 'offline':
      return { title: w.offline_title, text: w.offline_text, check: false }
    case 'notice':
    case 'acknowledge':
    case 'server':
      return { title: w.server_title, text: w.server_text, check: false }
    case 'path':
      return { title: w.path_title, text: w.path_text, check: true }
    case 'full':
      return { title: w.full_title, text: w.full_text, check: false }
    case 'off':
      return { title: w.off_title, text: w.off_text, check: false }
    case 'unsupported':
      return { title: w.unsupported_title, text: w.unsupported_text, check: true }
    default:
      return { title: w.join_failed_title, text: w.join_failed_text, check: true }
  }
}

/** What became of the call. `name`: the other side, '' when there is none to name. */
export function overWords(w: Words, over: Over, name: string): Explained {
  const who = name || w.other_side
  const text = (key: `over_${Over}_text`) => fill(w[key], { name: who })
  return { title: fill(w[`over_${over}`], { name: who }), text: text(`over_${over}_text`) }
}

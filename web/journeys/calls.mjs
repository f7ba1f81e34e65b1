// What the journeys of calls share: somebody in a call, a second agent, and a line to the server that can be cut.
import assert from 'node:assert/strict'
import { createServer as createSite, request } from 'node:http'
import { connect, createServer } from 'node:net'
import { Agent, Visitor, waitFor } from './world.mjs'

/** What a browser is asked to allow; Chromium's own question is answered by its flags. */
export const devices = { permissions: ['camera', 'microphone'] }

const accept = /^(Accept|Annehmen)$/
const join = /^(Join|Beitreten)$/
export const words = {
  accept,
  join,
  leave: /^(Leave the call|Den Anruf verlassen)$/,
  decline: /^(Decline|Ablehnen)$/,
  close: /^(Close|Schließen)$/,
  more: /^(Devices and more|Geräte und mehr)$/,
  share: /^(Share screen|Bildschirm teilen)$/,
  unshare: /^(Stop sharing|Nicht mehr teilen)$/,
  ended: /^(The call has ended|Der Anruf ist beendet)$/,
  declined: / (cannot take the call now|kann den Anruf gerade nicht annehmen)$/
}

/** Somebody in front of a call: `at` is the page or the frame that holds it. */
export class Caller {
  constructor (at) { this.at = at }

  get call () { return this.at.getByRole('region', { name: /^(Call|Anruf)$/ }) }
  button (name) { return this.call.getByRole('button', { name, exact: true }) }

  /** A touch that Playwright aims at a frame of another site can miss it, so buttons are pressed from inside. */
  async press (name) {
    const b = this.button(name).first()
    await b.waitFor()
    await b.evaluate(e => e.click())
  }

  /** Accepts the notice if it is new to them, looks at the preview if there is one, and enters. */
  async enter () {
    const inside = this.call.locator('.call-controls')
    const steps = [accept, join].map(name => this.button(name))
    for (let i = 0; i < 2; i++) {
      const [notice, preview] = steps
      await (i === 0 ? notice.or(preview) : preview).or(inside).first().waitFor()
      if (await inside.count() > 0) return
      const now = await notice.count() > 0 ? notice : preview
      await now.first().evaluate(e => e.click())
      if (now === preview) break
    }
    await inside.waitFor()
  }

  /** Begins or ends showing the screen; where the bar is short, this is in the panel above it. */
  async share (name = words.share) {
    if (await this.button(name).filter({ visible: true }).count() === 0) await this.press(words.more)
    await this.button(name).filter({ visible: true }).first().evaluate(e => e.click())
  }

  /** How many frames of each picture of others were shown so far; those of shared screens come with them. */
  frames () {
    return this.call.locator('.call-tile:not(.call-mirrored) video').evaluateAll(all => all
      .filter(v => v.videoWidth > 0 && !v.hidden).map(v => v.getVideoPlaybackQuality().totalVideoFrames))
  }

  /** Waits until the pictures of so many others move. */
  async moving (count, what = `${count} moving pictures`) {
    let before = []
    return waitFor(async () => {
      const now = await this.frames()
      const rising = now.filter((n, i) => n > (before[i] ?? n)).length
      if (now.length !== before.length) before = now
      return now.length === count && rising === count
    }, what, 60_000)
  }

  async sees (text) { await this.call.getByText(text).first().waitFor() }
}

/** A visitor of the shop who can call. */
export class CallingVisitor extends Visitor {
  static async come (context, server, text, where) {
    const v = await this.arrive(context, server, where)
    await v.open()
    await v.write(text)
    await v.list.locator('.mine.sent, .mine.seen').first().waitFor() // before that there is no conversation to call in
    return v
  }

  get caller () { return new Caller(this.frame) }

  async begin (kind = /^(Video call|Videoanruf)$/) {
    await this.frame.getByRole('button', { name: /^(Call|Anrufen)$/ }).evaluate(e => e.click())
    await this.frame.getByRole('menuitem', { name: kind }).or(this.frame.getByRole('button', { name: kind })).first().evaluate(e => e.click())
  }
}

/** The card of a call that rings in the console. */
export function ringing (agent) { return agent.page.getByRole('region', { name: /^(Incoming call|Eingehender Anruf):/ }) }

export async function answer (agent, name = accept) {
  const b = ringing(agent).getByRole('button', { name }).first()
  await b.waitFor()
  await b.click()
  return new Caller(agent.page)
}

/** Another member of the demo's organisation, signed in. */
export async function colleague (context, server, name = 'Ben Okafor') {
  const password = 'lantern-gravel-otter-47'
  const email = `${name.toLowerCase().replaceAll(' ', '.')}@northlight.example`
  const { link } = await server.call('POST', '/members', { email, role: 'agent' })
  await server.call('POST', `/invitations/${link.split('/').at(-1)}`, { name, password }, '')
  const r = await fetch(`${server.url}/api/v1/session`, {
    method: 'POST', headers: { 'Content-Type': 'application/json', Origin: server.url }, body: JSON.stringify({ email, password })
  })
  assert.equal(r.status, 200)
  const [key, value] = r.headers.get('set-cookie').split(';')[0].split('=')
  await context.addCookies([{ name: key, value, url: server.url }])
  const a = new Agent()
  a.page = await context.newPage()
  await a.page.goto(`${server.url}/app/`)
  await a.list.waitFor()
  return a
}

/** A line to the server for what goes over TCP: pages, sockets, signalling. While it is cut nothing gets through. */
export class Line {
  static async to (port) {
    const l = new Line()
    l.open = new Set()
    l.isCut = false
    l.server = createServer(near => {
      if (l.isCut) return near.destroy()
      const far = connect(port, '127.0.0.1')
      for (const [a, b] of [[near, far], [far, near]]) {
        l.open.add(a)
        a.on('error', () => a.destroy()).on('close', () => { l.open.delete(a); b.destroy() })
        a.pipe(b)
      }
    })
    await new Promise(resolve => l.server.listen(0, '127.0.0.1', resolve))
    l.url = `http://127.0.0.1:${l.server.address().port}`
    return l
  }

  cut () {
    this.isCut = true
    for (const s of this.open) s.destroy()
  }

  mend () { this.isCut = false }

  close () {
    this.cut()
    return new Promise(resolve => this.server.close(resolve))
  }
}

/** The shop at another address, with headers of its own: a host page that is stricter than the demo's. */
export class Strict {
  static async of (server, headers) {
    const s = new Strict()
    s.site = createSite((req, res) => {
      const to = request(server.shop + req.url, { method: req.method, headers: { ...req.headers, host: new URL(server.shop).host } }, from => {
        res.writeHead(from.statusCode, { ...from.headers, ...headers })
        from.pipe(res)
      })
      to.on('error', () => res.destroy())
      req.pipe(to)
    })
    await new Promise(resolve => s.site.listen(0, 'localhost', resolve))
    s.url = `http://localhost:${s.site.address().port}`
    await server.call('PATCH', `/sites/${server.demo.site}`, { origins: [server.shop, s.url] })
    return s
  }

  close () {
    this.site.closeAllConnections()
    return new Promise(resolve => this.site.close(resolve))
  }
}

// What every journey stands on: the real binary with its demo shop on free ports, and Chromium in which a visitor and an
// agent sit. Nothing here is a mock. PARLEY_BIN names the binary; ../bin/parley otherwise.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const here = path.dirname(fileURLToPath(import.meta.url))
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const binary = process.env.PARLEY_BIN ?? path.join(here, '../../bin/parley')
export const pictures = path.join(here, '../test-results')
mkdirSync(pictures, { recursive: true })

/** How long anything may take before it counts as lost, in milliseconds: the machine may be busy with other work. */
const patience = 30_000

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--no-first-run', '--no-default-browser-check']

/** A camera and a microphone that move and beep by themselves, allowed without asking, and calls on this machine. */
const fakeDevices = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', '--autoplay-policy=no-user-gesture-required',
  '--allow-loopback-in-peer-connection', '--auto-select-desktop-capture-source=Entire screen']

export const desktop = { viewport: { width: 1440, height: 900 } }
export const tablet = { viewport: { width: 768, height: 1024 } }
export const phone = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }

/** Profile preferences for `Browser.profile`: a browser that keeps what a frame of another site stores, and one that keeps nothing. */
export const storing = { profile: { block_third_party_cookies: false, cookie_controls_mode: 0 } }
export const blocking = { profile: { default_content_setting_values: { cookies: 2 } } }

function freePort () {
  return new Promise((resolve, reject) => {
    const s = createServer().once('error', reject)
    s.listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)) })
  })
}

/** A running server. Parley and the shop are on different hosts, so every journey is cross-site. */
export class Server {
  /** `flags` come after the usual ones; media listen on free ports unless they say otherwise. */
  static async start ({ demo = true, flags = [] } = {}) {
    const s = new Server()
    s.data = mkdtempSync(path.join(tmpdir(), 'parley-journey-'))
    s.isDemo = demo
    s.flags = flags
    s.port = await freePort()
    s.shopPort = await freePort()
    await s.up()
    return s
  }

  get url () { return `http://127.0.0.1:${this.port}` }
  get shop () { return `http://localhost:${this.shopPort}` }

  async up () {
    const flags = ['serve', '--data', this.data, '--listen', `127.0.0.1:${this.port}`, '--limit-commands', '500', '--limit-starts', '500',
      '--rtc-udp', '127.0.0.1:0', '--rtc-tcp', '127.0.0.1:0', '--rtc-turn', '127.0.0.1:0', ...this.flags]
    if (this.isDemo) flags.push('--demo', '--demo-listen', `localhost:${this.shopPort}`)
    this.said = ''
    this.process = spawn(binary, flags, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.gone = new Promise(resolve => this.process.once('exit', resolve))
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', d => { this.said += d })
    await waitFor(async () => {
      if (this.process.exitCode !== null) throw new Error(`the server did not start: ${this.said}`)
      return fetch(`${this.url}/readyz`).then(r => r.ok, () => false)
    }, 'the server')
    if (this.isDemo) this.demo = JSON.parse(readFileSync(path.join(this.data, 'demo.json'), 'utf8'))
  }

  async down (signal = 'SIGTERM') {
    this.process.kill(signal)
    return this.gone
  }

  async stop () {
    const code = await this.down()
    rmSync(this.data, { recursive: true, force: true, maxRetries: 5 })
    assert.equal(code, 0, `the server stopped with ${code}: ${this.said}`)
  }

  /** Calls the API as the demo's owner, or with `token` as a visitor; '' is a visitor who has none yet. */
  async call (method, where, body, token) {
    const headers = { 'Content-Type': 'application/json', Origin: this.url }
    if (token) headers.Authorization = `Bearer ${token}`
    else if (token === undefined) headers.Cookie = await (this.cookie ??= this.signIn())
    const r = await fetch(`${this.url}/api/v1${where}`, { method, headers, body: body && JSON.stringify(body) })
    if (!r.ok) throw new Error(`${method} ${where}: ${r.status} ${await r.text()}`)
    return r.status === 204 ? undefined : r.json()
  }

  async signIn () {
    const r = await fetch(`${this.url}/api/v1/session`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Origin: this.url },
      body: JSON.stringify({ email: this.demo.email, password: this.demo.password })
    })
    assert.equal(r.status, 200)
    return r.headers.get('set-cookie').split(';')[0]
  }

  /** A conversation that a visitor begins over the API; `say` and `answer` go on with it. */
  async conversation (body, more = {}) {
    const { token, conversation } = await this.call('POST', `/widget/sites/${this.demo.site}/conversations`, { client_id: randomUUID(), body, ...more }, '')
    const where = `/conversations/${conversation.id}`
    return {
      id: conversation.id,
      token,
      say: text => this.call('POST', `/widget${where}/messages`, { client_id: randomUUID(), body: text }, token),
      answer: text => this.call('POST', `${where}/messages`, { client_id: randomUUID(), body: text }),
      read: seq => this.call('POST', `${where}/read`, { seq }),
      assign: member => this.call('POST', `${where}/assign`, { member }),
      close: () => this.call('POST', `${where}/close`)
    }
  }
}

/** Chromium, and everything that it asked other hosts for or complained about. */
export class Browser {
  /** With `media` it has a camera and a microphone; `more` are further arguments. */
  static async start (server, { media = false, more = [] } = {}) {
    const b = new Browser()
    b.server = server
    b.args = [...args, ...(media ? fakeDevices : []), ...more]
    b.trouble = []
    b.open = new Set()
    b.dirs = []
    b.chromium = await chromium.launch({ executablePath, args: b.args })
    return b
  }

  async context (options) {
    return this.watch(await this.chromium.newContext({ locale: 'en-GB', ...options }))
  }

  /** A context with a profile on disk, for preferences that a private window does not take. */
  async profile (preferences, options) {
    const dir = mkdtempSync(path.join(tmpdir(), 'parley-profile-'))
    mkdirSync(path.join(dir, 'Default'))
    writeFileSync(path.join(dir, 'Default/Preferences'), JSON.stringify(preferences))
    const c = this.watch(await chromium.launchPersistentContext(dir, { executablePath, args: this.args, locale: 'en-GB', ...options }))
    this.dirs.push(dir)
    return c
  }

  watch (context) {
    context.setDefaultTimeout(patience)
    this.open.add(context)
    context.once('close', () => this.open.delete(context))
    const own = [this.server.url, this.server.shop, this.server.url.replace('http', 'ws'), 'data:', 'blob:', 'about:']
    context.on('request', r => { if (!own.some(o => r.url().startsWith(o))) this.trouble.push(`asked another host: ${r.url()}`) })
    context.on('console', m => { if (/Content.Security.Policy|violates/i.test(m.text())) this.trouble.push(`policy: ${m.text()}`) })
    context.on('weberror', e => this.trouble.push(`script: ${e.error()}`))
    return context
  }

  /** Fails when a page asked a third host for anything, broke the policy, or threw. `also` is one more host of ours. */
  clean (also = undefined) { assert.deepEqual(this.trouble.splice(0).filter(t => !also || !t.startsWith(`asked another host: ${also}/`)), []) }

  /** After a test that failed: a picture of each of its pages, to be looked at. */
  async lookAtFailure ({ passed, name }) {
    if (passed) return
    await picturesOfFailure(name, [...this.open].flatMap(c => c.pages()))
  }

  /** Closes every window, so that the next test begins with none; with the test's context, not without a look when it failed. */
  async closeAll (t) {
    if (t) await this.lookAtFailure(t)
    await Promise.all([...this.open].map(c => c.close()))
  }

  async stop () {
    await this.closeAll()
    await this.chromium.close()
    for (const dir of this.dirs) {
      try {
        rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
      } catch {
        // Chromium's last process still writes there; the folder is in the system's temporary one.
      }
    }
  }
}

/** Clicks inside a page or a frame. A touch that Playwright aims at a frame of another site can miss it on a phone. */
function press (locator) { return locator.evaluate(e => e.click()) }

/** A visitor on the shop. */
export class Visitor {
  static async arrive (context, server, where = '/') {
    const v = new this()
    v.page = await context.newPage()
    await v.page.goto(server.shop + where)
    await v.launcher()
    return v
  }

  /** The launcher's name, when it is there. It is in a closed shadow root: only the accessibility tree shows it. */
  async launcher () {
    this.cdp ??= await this.page.context().newCDPSession(this.page)
    return waitFor(async () => {
      const { nodes } = await this.cdp.send('Accessibility.getFullAXTree')
      return nodes.find(n => n.role?.value === 'button' && /^(Open chat|Close chat|Chat öffnen|Chat schließen)/.test(n.name?.value))?.name.value
    }, 'the launcher')
  }

  async open () {
    await this.page.evaluate(() => globalThis.Parley.open())
    await this.attach()
  }

  async close () { await this.page.evaluate(() => globalThis.Parley.close()) }

  async attach () {
    await waitFor(() => this.frame, 'the widget\'s frame')
    await this.composer.waitFor()
  }

  get frame () { return this.page.frames().find(f => f.url().includes('/w/')) }
  get composer () { return this.frame.getByRole('textbox', { name: /^(Your message|Ihre Nachricht)$/ }) }
  get list () { return this.frame.getByRole('region', { name: /^(Messages|Nachrichten)$/ }) }

  async write (text) {
    await this.composer.fill(text)
    await press(this.frame.getByRole('button', { name: /^(Send|Senden)$/ }))
    await this.sees(text)
  }

  async sees (text) { await this.list.getByText(text).first().waitFor() }
}

/** An agent in the console. */
export class Agent {
  /** Opens the console with the owner's session; `byHand` goes through the sign-in. */
  static async signIn (context, server, { byHand = false, look } = {}) {
    const a = new Agent()
    a.page = await context.newPage()
    if (!byHand) {
      const [name, value] = (await (server.cookie ??= server.signIn())).split('=')
      await context.addCookies([{ name, value, url: server.url }])
    }
    await a.page.goto(`${server.url}/app/`)
    if (byHand) {
      const email = a.page.getByRole('textbox', { name: /^E-?mail$/i })
      await email.waitFor()
      await look?.(a.page)
      await email.fill(server.demo.email)
      await a.page.locator('input[name=password]').fill(server.demo.password)
      await a.page.keyboard.press('Enter')
    }
    await a.list.waitFor()
    return a
  }

  get list () { return this.page.getByRole('region', { name: /^(Conversations|Gespräche)$/ }) }
  get log () { return this.page.getByRole('region', { name: /^(Messages|Nachrichten)$/ }) }
  get composer () { return this.page.getByRole('textbox', { name: /^(Your answer|Ihre Antwort)$/ }) }

  row (text) { return this.list.getByRole('listitem').filter({ hasText: text }).getByRole('link') }

  /** The first words of each row, from above. */
  async rows () { return this.list.getByRole('listitem').locator('.words').allTextContents() }

  async choose (text) {
    await this.row(text).first().click()
    await this.composer.waitFor()
    await this.sees(text)
  }

  async write (text) {
    await this.composer.fill(text)
    await press(this.page.getByRole('button', { name: /^(Send|Senden)$/ }))
    await this.sees(text)
  }

  async sees (text) { await this.log.getByText(text).last().waitFor() }
}

/** Waits until fn returns something, for what no locator can wait for. */
export async function waitFor (fn, what, limit = patience) {
  const until = Date.now() + limit
  for (;;) {
    const got = await fn()
    if (got) return got
    if (Date.now() > until) throw new Error(`waited in vain for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 25))
  }
}

/** Runs axe-core in a page or frame and fails on any violation of WCAG 2.2 A or AA. */
export async function accessible (page, what) {
  await page.evaluate(axe)
  const found = await page.evaluate(async () => (await globalThis.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'], resultTypes: ['violations']
  })).violations.map(v => `${v.id}: ${v.help} (${v.nodes.map(n => `${n.target.join(' ')} ${n.any[0]?.message ?? ''}`).join('; ')})`))
  assert.deepEqual(found, [], what)
}

/** The pages of a test that failed, as `failed-<test>-<number>.png`. */
export async function picturesOfFailure (test, pages) {
  const name = `failed-${test.replaceAll(/[^\p{L}\d]+/gu, '-')}`
  const taken = await Promise.allSettled(pages.map((p, i) => p.screenshot({ path: path.join(pictures, `${name}-${i + 1}.png`), timeout: 10_000 })))
  console.log(`pictures of the failure: ${path.join(pictures, `${name}-*.png`)}${taken.some(t => t.status === 'rejected') ? ' (not of all pages)' : ''}`)
}

export function picture (page, name) { return page.screenshot({ path: path.join(pictures, `${name}.png`), animations: 'disabled' }) }

// What every journey stands on: the real binary with its demo shop on free ports, and Chromium in which a visitor and an
// agent sit. Nothing here is a mock. PARLEY_BIN names the binary; ../bin/parley otherwise.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
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

const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--no-first-run', '--no-default-browser-check']

export const desktop = { viewport: { width: 1440, height: 900 } }
export const tablet = { viewport: { width: 768, height: 1024 } }
export const phone = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }

function freePort () {
  return new Promise((resolve, reject) => {
    const s = createServer().once('error', reject)
    s.listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)) })
  })
}

/** A running server. Parley and the shop are on different hosts, so every journey is cross-site. */
export class Server {
  static async start ({ demo = true } = {}) {
    const s = new Server()
    s.data = mkdtempSync(path.join(tmpdir(), 'parley-journey-'))
    s.demo = demo
    s.port = await freePort()
    s.shopPort = await freePort()
    await s.up()
    return s
  }

  get url () { return `http://127.0.0.1:${this.port}` }
  get shop () { return `http://localhost:${this.shopPort}` }

  async up () {
    const flags = ['serve', '--data', this.data, '--listen', `127.0.0.1:${this.port}`]
    if (this.demo) flags.push('--demo', '--demo-listen', `localhost:${this.shopPort}`)
    this.said = ''
    this.process = spawn(binary, flags, { stdio: ['ignore', 'pipe', 'pipe'] })
    const gone = new Promise(resolve => this.process.once('exit', resolve))
    this.gone = gone
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', d => { this.said += d })
    const until = Date.now() + 60_000
    for (;;) {
      if (await fetch(`${this.url}/readyz`).then(r => r.ok, () => false)) break
      if (this.process.exitCode !== null || Date.now() > until) throw new Error(`the server did not start: ${this.said}`)
      await new Promise(resolve => setTimeout(resolve, 50))
    }
    if (this.demo) this.password = JSON.parse(readFileSync(path.join(this.data, 'demo.json'), 'utf8')).password
  }

  async down (signal = 'SIGTERM') {
    this.process.kill(signal)
    return this.gone
  }

  async stop () {
    const code = await this.down()
    rmSync(this.data, { recursive: true, force: true })
    assert.equal(code, 0, `the server stopped with ${code}: ${this.said}`)
  }
}

/** Chromium, and everything that it asked other hosts for or complained about. */
export class Browser {
  static async start (server) {
    const b = new Browser()
    b.server = server
    b.trouble = []
    b.chromium = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args })
    return b
  }

  async context (options) {
    const c = await this.chromium.newContext({ locale: 'en-GB', ...options })
    this.watch(c)
    return c
  }

  /** A context with a profile on disk: unlike a private window it lets a frame of another site keep what it stores. */
  async profile (preferences, options) {
    const dir = mkdtempSync(path.join(tmpdir(), 'parley-profile-'))
    mkdirSync(path.join(dir, 'Default'))
    writeFileSync(path.join(dir, 'Default/Preferences'), JSON.stringify(preferences))
    const c = await chromium.launchPersistentContext(dir, { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args, locale: 'en-GB', ...options })
    this.watch(c)
    c.once('close', () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }))
    return c
  }

  watch (context) {
    const own = [this.server.url, this.server.shop, this.server.url.replace('http', 'ws'), 'data:', 'blob:', 'about:']
    context.on('request', r => { if (!own.some(o => r.url().startsWith(o))) this.trouble.push(`asked another host: ${r.url()}`) })
    context.on('console', m => { if (/Content.Security.Policy|violates/i.test(m.text())) this.trouble.push(`policy: ${m.text()}`) })
    context.on('weberror', e => this.trouble.push(`script: ${e.error()}`))
  }

  /** Fails when a page asked a third host for anything, broke the policy, or threw. */
  clean () { assert.deepEqual(this.trouble.splice(0), []) }

  async stop () { await this.chromium.close() }
}

/** A visitor on the shop. */
export class Visitor {
  static async arrive (context, server, where = '/') {
    const v = new Visitor()
    v.page = await context.newPage()
    await v.page.goto(server.shop + where)
    await v.page.waitForFunction(() => globalThis.Parley)
    return v
  }

  async open () {
    await this.page.evaluate(() => globalThis.Parley.open())
    await this.attach()
  }

  async attach () {
    await waitFor(() => this.frame, 'the widget\'s frame')
    await this.composer.waitFor()
  }

  get frame () { return this.page.frames().find(f => f.url().includes('/w/')) }
  get composer () { return this.frame.getByRole('textbox', { name: /^(Your message|Ihre Nachricht|Deine Nachricht)$/ }) }
  get messages () { return this.frame.getByRole('list') }

  async write (text) {
    await this.composer.fill(text)
    await this.composer.press('Enter')
    await this.sees(text)
  }

  async sees (text) { await this.frame.getByText(text).first().waitFor() }
}

/** An agent in the console. */
export class Agent {
  static async signIn (context, server) {
    const a = new Agent()
    a.page = await context.newPage()
    await a.page.goto(`${server.url}/app/`)
    await a.page.getByRole('textbox', { name: 'E-mail' }).fill('ada@northlight.example')
    await a.page.getByLabel('Password', { exact: true }).fill(server.password)
    await a.page.keyboard.press('Enter')
    await a.page.getByRole('heading', { name: 'Open', level: 1 }).waitFor()
    return a
  }

  row (text) { return this.page.getByRole('listitem').filter({ hasText: text }).getByRole('link') }
  get composer () { return this.page.getByRole('main').getByRole('textbox').last() }
  get log () { return this.page.getByRole('log') }

  async choose (text) {
    await this.row(text).first().click()
    await this.composer.waitFor()
  }

  async write (text) {
    await this.composer.fill(text)
    await this.composer.press('Enter')
    await this.sees(text)
  }

  async sees (text) { await this.page.getByText(text).last().waitFor() }
}

/** Waits until fn returns something, for what no locator can wait for. */
export async function waitFor (fn, what, limit = 20_000) {
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
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
  })).violations.map(v => `${v.id}: ${v.help} (${v.nodes.map(n => n.target.join(' ')).join('; ')})`))
  assert.deepEqual(found, [], what)
}

export function picture (page, name) { return page.screenshot({ path: path.join(pictures, `${name}.png`) }) }

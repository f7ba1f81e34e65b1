// Calls between Firefox and Chromium: Firefox as the visitor in the frame on the shop's page, and as the agent in the console.
// Playwright drives its own builds of Firefox only; the system's Firefox is driven by puppeteer (WebDriver BiDi).
import path from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import puppeteer from 'puppeteer-core'
import { Agent, Browser, Server, desktop, picture, pictures, picturesOfFailure, storing, waitFor } from './world.mjs'
import { CallingVisitor, answer, devices, words } from './calls.mjs'

const preferences = {
  // A camera and a microphone of its own making, allowed without asking.
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  // Everything here is on this machine: without these, Firefox offers no address of it.
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false
}

let server, chromium, firefox
before(async () => {
  server = await Server.start()
  chromium = await Browser.start(server, { media: true })
  firefox = await puppeteer.launch({
    browser: 'firefox', executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr', headless: true, extraPrefsFirefox: preferences,
    defaultViewport: desktop.viewport
  })
})
afterEach(async t => {
  const pages = await firefox.pages()
  if (!t.passed) await picturesOfFailure(`${t.name} firefox`, pages)
  await Promise.all(pages.slice(1).map(p => p.close()))
  await chromium.closeAll(t)
})
after(async () => {
  await firefox?.close()
  await chromium?.stop()
  await server?.stop()
})

/** The call itself, not the card of one that rings. */
const callBody = '.call:not(.call-ring)'

/** Runs in the page: presses the first button with such a name that can be seen, and says whether there was one. */
function pressIn (within, name) {
  const pattern = new RegExp(name)
  const b = [...document.querySelectorAll(`${within} button:enabled, ${within} [role=menuitem]`)]
    .find(e => e.checkVisibility() && pattern.test(e.getAttribute('aria-label') ?? e.innerText.trim()))
  b?.click()
  return b !== undefined
}

/** Somebody in Firefox: `at` gives the page or frame that they are in front of. */
class Firefox {
  constructor (at) { this.at = at }

  press (name, within = '') { return waitFor(() => this.at().evaluate(pressIn, within, name.source), `the button ${name.source}`) }

  sees (text) {
    return waitFor(() => this.at().evaluate(t => new RegExp(t, 'm').test(document.body.innerText), text.source), text.source)
  }

  /** Through notice and preview into the call. A member who has accepted the notice before sees the preview at once. */
  async enter () {
    const inside = () => this.at().evaluate(() => document.querySelector('.call-controls') !== null)
    await waitFor(async () => {
      if (await inside()) return true
      // The card that rang is a .call too, and stays until the server has answered.
      if (!await this.at().evaluate(pressIn, callBody, words.join.source)) await this.at().evaluate(pressIn, callBody, words.accept.source)
    }, 'the call')
  }

  /** Waits until the picture of one other person moves. Firefox counts no frames of live pictures; it tells of each. */
  async moving () {
    const next = () => this.at().evaluate(async () => {
      const all = [...document.querySelectorAll('.call-tile:not(.call-mirrored) video')].filter(v => v.videoWidth > 0 && !v.hidden)
      if (all.length !== 1) return
      return Promise.race([
        new Promise(resolve => all[0].requestVideoFrameCallback((_, frame) => resolve(frame.presentedFrames))),
        new Promise(resolve => setTimeout(resolve, 1000))
      ])
    })
    let first
    await waitFor(async () => {
      const now = await next()
      first ??= now
      return now > first
    }, 'a moving picture in Firefox', 60_000)
  }
}

test('a visitor in Firefox calls an agent in Chromium', async () => {
  const page = await firefox.newPage()
  await page.goto(server.shop)
  await waitFor(() => page.evaluate(() => globalThis.Parley?.open !== undefined), 'the widget')
  await page.evaluate(() => globalThis.Parley.open())
  const frame = () => page.frames().find(f => f.url().includes('/w/'))
  await waitFor(frame, 'the widget\'s frame')
  const v = new Firefox(frame)
  const text = await frame().waitForSelector('textarea')
  await text.type('Calling from Firefox')
  await v.press(/^Send$/)
  const a = await Agent.signIn(await chromium.context({ ...desktop, ...devices }), server)
  await a.choose('Calling from Firefox')
  await v.press(/^Call$/)
  await v.press(/^Video call$/)
  await v.enter()
  const agent = await answer(a)
  await agent.enter()
  await Promise.all([v.moving(), agent.moving(1)])
  await picture(a.page, 'call-firefox-chromium-agent')
  await page.screenshot({ path: path.join(pictures, 'call-firefox-visitor.png') })
  await v.press(words.leave, callBody)
  await agent.sees(words.ended)
  chromium.clean()
})

test('an agent in Firefox answers a visitor in Chromium', async () => {
  const page = await firefox.newPage()
  const [name, value] = (await (server.cookie ??= server.signIn())).split('=')
  await firefox.setCookie({ name, value, domain: '127.0.0.1', path: '/', httpOnly: true })
  await page.goto(`${server.url}/app/`)
  const a = new Firefox(() => page)
  const v = await CallingVisitor.come(await chromium.profile(storing, { ...desktop, ...devices }), server, 'Calling somebody in Firefox')
  await v.begin()
  await v.caller.enter()
  await a.press(words.accept, '.ring')
  await a.enter()
  await Promise.all([a.moving(), v.caller.moving(1)])
  await page.screenshot({ path: path.join(pictures, 'call-firefox-agent.png') })
  await a.press(words.leave, callBody)
  await v.caller.sees(words.ended)
  chromium.clean()
})

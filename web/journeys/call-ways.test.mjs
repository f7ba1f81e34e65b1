// Calls through networks that let less through: TCP alone, the relay (TURN) alone; and the preflight page that tells.
import assert from 'node:assert/strict'
import { after, afterEach, test } from 'node:test'
import { Agent, Browser, Server, accessible, desktop, phone, picture, storing } from './world.mjs'
import { CallingVisitor, answer, devices, words } from './calls.mjs'

let server, browser
async function begin (options) {
  await end()
  server = await Server.start(options)
  browser = await Browser.start(server, { media: true })
}
async function end () {
  await browser?.stop()
  await server?.stop()
  browser = server = undefined
}
afterEach(t => browser?.closeAll(t))
after(end)

/** Makes every connection of a page go by relays alone, as a network that blocks the rest does. */
function relayOnly () {
  const Real = globalThis.RTCPeerConnection
  globalThis.RTCPeerConnection = class extends Real {
    constructor (config) { super({ ...config, iceTransportPolicy: 'relay' }) }
    setConfiguration (config) { super.setConfiguration({ ...config, iceTransportPolicy: 'relay' }) }
  }
}

/** Keeps every connection that a page makes, for what they say of themselves. */
function watched () {
  const Real = globalThis.RTCPeerConnection
  globalThis.journeyPeers = []
  globalThis.RTCPeerConnection = class extends Real {
    constructor (config) { super(config); globalThis.journeyPeers.push(this) }
  }
}

/** How the media of a page travel: the protocol and type of each candidate in use. */
function ways (at) {
  return at.evaluate(async () => {
    const found = []
    for (const pc of globalThis.journeyPeers) {
      if (pc.connectionState !== 'connected') continue
      const stats = new Map([...await pc.getStats()].map(([, s]) => [s.id, s]))
      for (const s of stats.values()) {
        if (s.type !== 'transport' || !s.selectedCandidatePairId) continue
        const pair = stats.get(s.selectedCandidatePairId)
        const local = stats.get(pair.localCandidateId)
        found.push(`${local.protocol} ${local.candidateType}`)
      }
    }
    return [...new Set(found)]
  })
}

for (const [name, flags, restrict, way] of [
  ['TCP alone', ['--rtc-udp', 'off', '--rtc-turn', 'off'], undefined, /^tcp/],
  ['the relay alone', [], relayOnly, /relay$/]
]) {
  test(`a call over ${name}`, async () => {
    await begin({ flags })
    const a = await Agent.signIn(await limited(browser.context({ ...desktop, ...devices }), restrict), server)
    const v = await CallingVisitor.come(await limited(browser.profile(storing, { ...desktop, ...devices }), restrict), server, `Over ${name}`)
    await a.choose(`Over ${name}`)
    await v.begin()
    await v.caller.enter()
    const agent = await answer(a)
    await agent.enter()
    await Promise.all([v.caller.moving(1), agent.moving(1)])
    for (const at of [v.frame, a.page]) {
      const used = await ways(at)
      assert.ok(used.length > 0 && used.every(w => way.test(w)), `media go by ${used}`)
    }
    await agent.press(words.leave)
    browser.clean()
  })
}

async function limited (opening, restrict) {
  const context = await opening
  await context.addInitScript(watched)
  if (restrict) await context.addInitScript(restrict)
  return context
}

test('the preflight page says what works', async () => {
  await begin()
  for (const [name, size, lang, text] of [
    ['desktop', desktop, 'en', { ways: ['Direct way (UDP)', 'Direct way (TCP)', 'Detour (TURN)'], works: /^Works(\.|$)/, open: 'Open camera and microphone', devices: ['Camera', 'Microphone'] }],
    ['phone', phone, 'de', { ways: ['Direkter Weg (UDP)', 'Direkter Weg (TCP)', 'Umweg (TURN)'], works: /^Funktioniert(\.|$)/, open: 'Kamera und Mikrofon öffnen', devices: ['Kamera', 'Mikrofon'] }]
  ]) {
    const context = await browser.context({ ...size, ...devices })
    const page = await context.newPage()
    await page.goto(`${server.url}/w/check?lang=${lang}`)
    const says = what => page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: what, exact: true }) }).getByText(text.works).first().waitFor()
    for (const way of text.ways) await says(way)
    assert.equal(await page.locator('video').evaluateAll(all => all.filter(v => v.srcObject).length), 0, 'no device is open yet')
    await page.getByRole('button', { name: text.open }).click()
    for (const device of text.devices) await says(device)
    await picture(page, `check-${name}`)
    await accessible(page, `the preflight page on a ${name}`)
    await context.close()
  }
  browser.clean()
})

test('where calls are off, nobody is offered any', async () => {
  await begin({ flags: ['--rtc-udp', 'off', '--rtc-tcp', 'off', '--rtc-turn', 'off'] })
  const a = await Agent.signIn(await browser.context({ ...desktop, ...devices }), server)
  const v = await CallingVisitor.come(await browser.profile(storing, { ...desktop, ...devices }), server, 'Can we talk?')
  await a.choose('Can we talk?')
  const button = page => page.getByRole('button', { name: 'Call', exact: true })
  assert.equal(await button(v.frame).count(), 0, 'a button that leads nowhere')
  await button(a.page).click()
  await a.page.getByText('Calls are switched off on this server').waitFor()
  assert.equal(await a.page.getByRole('menuitem', { name: 'Video call' }).count(), 0)
  await picture(a.page, 'call-off-agent')
  await picture(v.page, 'call-off-visitor')
  const check = await (await browser.context({ ...desktop, ...devices })).newPage()
  await check.goto(`${server.url}/w/check?lang=en`)
  await check.getByText(/^Calls are switched off on this server\. Nothing/).waitFor()
  await picture(check, 'check-off')
  browser.clean()
})

test('one closed way is closed, and calls go another', async () => {
  await begin()
  // Nothing arrives that goes over TCP.
  const noTCP = () => {
    const Real = globalThis.RTCPeerConnection
    globalThis.RTCPeerConnection = class extends Real {
      setRemoteDescription (d) { return super.setRemoteDescription({ type: d.type, sdp: d.sdp.replace(/^a=candidate:.* tcp .*\r\n/gim, '') }) }
    }
  }
  const context = await browser.context({ ...desktop, ...devices })
  await context.addInitScript(noTCP)
  const page = await context.newPage()
  await page.goto(`${server.url}/w/check?lang=en`)
  const row = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: 'Direct way (TCP)', exact: true }) })
  await row.getByText(/^Does not work\. This way is closed\./).waitFor()
  await page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: 'Detour (TURN)', exact: true }) }).getByText(/^Works(\.|$)/).waitFor()
  await page.getByText('You can hold calls. What could be better is marked above.').waitFor()
  await picture(page, 'check-closed-way')
  await accessible(page, 'the preflight page with a closed way')
  browser.clean()
})

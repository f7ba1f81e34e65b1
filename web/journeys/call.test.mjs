// A conversation goes live: a visitor in the frame on the shop's page and agents in the console see and hear each other.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { Agent, Browser, Server, accessible, desktop, phone, picture, storing, waitFor } from './world.mjs'
import { Caller, CallingVisitor, Line, Strict, answer, colleague, devices, ringing, words as say } from './calls.mjs'

let server, browser
before(async () => {
  server = await Server.start()
  browser = await Browser.start(server, { media: true })
})
afterEach(t => browser.closeAll(t))
after(async () => {
  await browser?.stop()
  await server?.stop()
})

/** A visitor and an agent in a conversation that begins with these words. */
async function talk (words, size = desktop) {
  const a = await Agent.signIn(await browser.context({ ...desktop, ...devices }), server)
  const v = await CallingVisitor.come(await browser.profile(storing, { ...size, ...devices }), server, words)
  await a.choose(words)
  return { a, v }
}

/** The same, in a call whose pictures move on both sides. */
async function call (words, size) {
  const { a, v } = await talk(words, size)
  await v.begin()
  await v.caller.enter()
  const agent = await answer(a)
  await agent.enter()
  await Promise.all([v.caller.moving(1), agent.moving(1)])
  return { a, v, agent }
}

test('a visitor calls, an agent accepts, both see each other', async () => {
  const { a, v } = await talk('Can you show me the bowl?')
  await v.begin()
  // The notice comes before any device is opened (promise G16).
  await v.caller.button('Accept').first().waitFor()
  assert.equal(await v.caller.call.locator('video').count(), 0)
  await picture(v.page, 'call-notice')
  await accessible(v.frame, 'the notice')
  await v.caller.press('Accept')
  await v.caller.button('Join').first().waitFor()
  await picture(v.page, 'call-preview')
  await accessible(v.frame, 'the preview')
  await v.caller.press('Join')
  await ringing(a).first().waitFor()
  await picture(a.page, 'call-ringing')
  await accessible(a.page, 'a call that rings')
  const agent = await answer(a)
  await agent.enter()
  await Promise.all([v.caller.moving(1), agent.moving(1)])
  await picture(v.page, 'call-visitor')
  await picture(a.page, 'call-agent')
  await accessible(v.frame, 'the call in the frame')
  await accessible(a.page, 'the call in the console')
  // They write to each other meanwhile.
  await a.write('Look at the glaze')
  // Screen share, and its end.
  await agent.share()
  await v.caller.moving(2, 'camera and screen')
  await picture(v.page, 'call-screen')
  await agent.share(say.unshare)
  await v.caller.moving(1, 'the camera alone')
  await agent.press(say.leave)
  await v.caller.sees('The call has ended')
  await waitFor(async () => (await a.log.getByText(/^Video call, /).count()) > 0, 'the call in the timeline')
  browser.clean()
})

test('an agent calls a visitor on a phone, who declines; then accepts by voice alone', async () => {
  const { a, v } = await talk('Calling me back?', phone)
  const ring = async kind => {
    await a.page.getByRole('button', { name: 'Call', exact: true }).click()
    await a.page.getByRole('menuitem', { name: kind }).click()
    const me = new Caller(a.page)
    const known = await me.button('Join').or(me.button('Accept')).first().innerText()
    if (known === 'Accept') await me.press('Accept')
    await me.press('Join')
    return me
  }
  let agent = await ring('Video call')
  await v.frame.getByRole('button', { name: 'Decline' }).evaluate(e => e.click())
  await agent.sees(/cannot take the call now|Call declined/)
  await picture(a.page, 'call-declined')
  await agent.press('Close')
  agent = await ring(/^Voice call/)
  await v.frame.getByRole('button', { name: 'Accept', exact: true }).first().evaluate(e => e.click())
  await v.caller.enter()
  await waitFor(async () => (await v.caller.call.locator('.call-tile').count()) === 2, 'two in the call')
  await picture(v.page, 'call-phone-voice')
  await accessible(v.frame, 'a voice call on a phone')
  await v.caller.press(say.leave)
  browser.clean()
})

test('three in a call', async () => {
  const { a, v, agent } = await call('All three of us?')
  const b = await colleague(await browser.context({ ...desktop, ...devices }), server)
  await b.choose('All three of us?')
  await b.page.getByRole('button', { name: 'Join the call' }).first().click()
  const third = new Caller(b.page)
  await third.enter()
  await Promise.all([v.caller.moving(2), agent.moving(2), third.moving(2)])
  await picture(a.page, 'call-three')
  await picture(v.page, 'call-three-visitor')
  await third.press(say.leave)
  await Promise.all([v.caller.moving(1), agent.moving(1)])
  await agent.press(say.leave)
  await v.caller.sees(say.ended)
  browser.clean()
})

test('a page loaded anew in mid-call goes back to it', async () => {
  const { a, v, agent } = await call('Will I get back in?')
  await v.page.reload()
  await v.attach()
  await v.frame.getByRole('button', { name: 'Back to the call' }).evaluate(e => e.click())
  await v.caller.enter()
  await Promise.all([v.caller.moving(1), agent.moving(1)])
  a.page.on('dialog', d => d.accept()) // leaving a page in a call is asked about
  await a.page.reload()
  await a.page.getByRole('button', { name: 'Go back to the call' }).click()
  const again = new Caller(a.page)
  await again.enter()
  await Promise.all([v.caller.moving(1), again.moving(1)])
  await again.press(say.leave)
  await v.caller.sees(say.ended)
  browser.clean()
})

test('signalling is away for ten seconds and nobody leaves', async () => {
  const line = await Line.to(server.port)
  try {
    const words = 'Is the line still there?'
    const v = await CallingVisitor.come(await browser.profile(storing, { ...desktop, ...devices }), server, words)
    const context = await browser.context({ ...desktop, ...devices })
    const a = await Agent.signIn(context, Object.create(server, { url: { value: line.url } }))
    await a.choose(words)
    await v.begin()
    await v.caller.enter()
    const agent = await answer(a)
    await agent.enter()
    await Promise.all([v.caller.moving(1), agent.moving(1)])
    line.cut()
    const [before] = await agent.frames()
    await new Promise(resolve => setTimeout(resolve, 10_000)) // the length of the drop is what is tried
    const [during] = await agent.frames()
    assert.ok(during - before > 50, `media goes on while signalling is away: ${during - before} frames in 10 s`)
    await picture(a.page, 'call-line-cut')
    await agent.sees(/Reconnecting/)
    line.mend()
    await waitFor(async () => (await agent.call.getByText(/Reconnecting|Connection lost/).count()) === 0, 'the line back')
    await Promise.all([v.caller.moving(1), agent.moving(1)])
    assert.equal(await v.caller.call.locator('.call-tile').count(), 2, 'nobody came twice')
    browser.clean(line.url)
  } finally {
    await line.close()
  }
})

test('the server stops: people are told, and find back', async () => {
  const { a, v, agent } = await call('Before the restart')
  assert.equal(await server.down('SIGTERM'), 0)
  await Promise.all([v.caller.sees('The service is restarting'), agent.sees('The service is restarting')])
  await picture(v.page, 'call-restart')
  await server.up()
  await Promise.all([v.caller.press(say.close), agent.press(say.close)])
  await v.begin()
  await v.caller.enter()
  const again = await answer(a)
  await again.enter()
  await Promise.all([v.caller.moving(1), again.moving(1)])
  await again.press(say.leave)
  await v.caller.sees(say.ended)
})

test('who still reads how a call ended can be called again, and an answer that fails is given again', async () => {
  const { a, v, agent } = await call('Once more?')
  const failed = 'That did not work. Try again.'
  await v.caller.press(say.leave)
  await agent.sees(say.ended)
  await v.begin()
  await v.caller.enter()
  await a.page.route('**/accept', r => r.abort(), { times: 1 })
  await answer(a)
  await ringing(a).getByText(failed).waitFor()
  assert.equal(await ringing(a).getByText(/^You are in a call/).count(), 0)
  await picture(a.page, 'call-answer-failed')
  const again = await answer(a)
  await again.enter()
  await Promise.all([v.caller.moving(1), again.moving(1)])
  // And the other way round.
  await again.press(say.leave)
  await v.caller.sees(say.ended)
  await a.page.getByRole('button', { name: 'Call', exact: true }).click()
  await a.page.getByRole('menuitem', { name: 'Video call' }).click()
  await again.enter()
  await v.page.context().route('**/accept', r => r.abort(), { times: 1 })
  const accept = v.frame.getByRole('button', { name: say.accept })
  await accept.evaluate(e => e.click())
  await v.frame.getByText(failed).waitFor()
  await picture(v.page, 'call-answer-failed-visitor')
  await accept.evaluate(e => e.click())
  await v.caller.enter()
  await Promise.all([v.caller.moving(1), again.moving(1)])
  browser.clean()
})

test('a notice that changed is read again with every device closed', async () => {
  const a = await Agent.signIn(await browser.context({ ...phone, ...devices }), server)
  await server.conversation('What does the notice say?')
  await a.choose('What does the notice say?')
  await a.page.evaluate(() => {
    const { mediaDevices } = navigator
    const open = mediaDevices.getUserMedia.bind(mediaDevices)
    globalThis.journeyTracks = []
    mediaDevices.getUserMedia = async wanted => {
      const stream = await open(wanted)
      globalThis.journeyTracks.push(...stream.getTracks())
      return stream
    }
  })
  const live = () => a.page.evaluate(() => globalThis.journeyTracks.filter(t => t.readyState === 'live').length)
  await a.page.getByRole('button', { name: 'Call', exact: true }).click()
  await a.page.getByRole('menuitem', { name: 'Video call' }).click()
  const me = new Caller(a.page)
  await me.button(say.accept).or(me.button(say.join)).first().waitFor()
  if (await me.button(say.accept).count() > 0) await me.press(say.accept)
  await waitFor(async () => await live() === 2, 'camera and microphone')
  await picture(a.page, 'call-phone-preview')
  await a.page.route('**/notices/media?*', async r => {
    const answer = await r.fetch()
    await r.fulfill({ response: answer, json: { ...await answer.json(), acknowledged: false } })
  }, { times: 1 })
  await a.page.route('**/join', r => r.fulfill({ status: 409, contentType: 'application/problem+json', body: '{"code":"notice_unacknowledged"}' }), { times: 1 })
  await me.press(say.join)
  await me.button(say.accept).first().waitFor()
  assert.equal(await live(), 0, 'a device is open while the notice is read')
  await picture(a.page, 'call-phone-notice')
  await me.enter()
  assert.equal(await live(), 2)
  browser.clean()
})

test('a host page that forbids camera and microphone: the call goes on in a tab of its own', async () => {
  const host = await Strict.of(server, { 'Permissions-Policy': 'camera=(), microphone=()' })
  try {
    const words = 'Why is there no camera?'
    const a = await Agent.signIn(await browser.context({ ...desktop, ...devices }), server)
    const context = await browser.profile(storing, { ...desktop, ...devices })
    const v = await CallingVisitor.come(context, Object.create(server, { shop: { value: host.url } }), words)
    await a.choose(words)
    await v.begin()
    await v.caller.press(say.accept)
    const open = v.caller.button('Open in a new tab').first()
    await open.waitFor()
    await picture(v.page, 'call-forbidden')
    const [tab] = await Promise.all([context.waitForEvent('page'), open.click()])
    const there = new Caller(tab)
    await there.enter()
    await v.frame.getByText('The call is open in a tab of its own.').waitFor()
    const agent = await answer(a)
    await agent.enter()
    await Promise.all([there.moving(1), agent.moving(1)])
    await picture(tab, 'call-tab')
    await accessible(tab, 'the tab of a call')
    await picture(v.page, 'call-tab-host')
    await there.press(say.leave)
    await tab.getByText('You can close this tab.').waitFor()
    await picture(tab, 'call-tab-over')
    await Promise.all([tab.waitForEvent('close'), tab.getByRole('button', { name: 'Close this tab' }).click()])
    await waitFor(async () => await v.frame.getByText('The call is open in a tab of its own.').count() === 0, 'the talk back in the frame')
    await v.write('That worked.')
    browser.clean(host.url)
  } finally {
    await host.close()
  }
})

test('the code of calls does not arrive: the visitor is told, the network is spared, and it comes after all', async () => {
  const { a, v } = await talk('Does it load?')
  let asked = 0
  const context = v.page.context()
  const chunk = /\/w\/assets\/stage-[^/]*\.js/
  await context.route(chunk, r => { asked++; return r.abort() })
  await a.page.getByRole('button', { name: 'Call', exact: true }).click()
  await a.page.getByRole('menuitem', { name: 'Video call' }).click()
  await new Caller(a.page).enter()
  await v.frame.getByText(/^The call cannot be shown yet/).waitFor()
  await picture(v.page, 'call-unloaded')
  await new Promise(resolve => setTimeout(resolve, 1_000)) // without a pause it would ask hundreds of times
  assert.ok(asked <= 3, `asked ${asked} times`)
  await context.unroute(chunk)
  await v.frame.getByRole('button', { name: say.accept }).waitFor()
  assert.equal(await v.frame.getByText(/^The call cannot be shown yet/).count(), 0)
})

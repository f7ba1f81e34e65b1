// A visitor of the demo shop and an agent in the console talk, in every way that people come.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { Agent, Browser, Server, Visitor, accessible, blocking, desktop, phone, picture, storing, waitFor } from './world.mjs'

let server, browser
before(async () => {
  server = await Server.start()
  browser = await Browser.start(server)
})
afterEach(t => browser.closeAll(t))
after(async () => {
  await browser?.stop()
  await server?.stop()
})

for (const [name, size] of [['desktop', desktop], ['phone', phone]]) {
  test(`both ways on a ${name}`, async () => {
    const a = await Agent.signIn(await browser.context(size), server, { byHand: true })
    const v = await Visitor.arrive(await browser.context(size), server)
    await v.open()
    const hello = `Hello from a ${name}, is the blue teapot in stock?`
    await v.write(hello)
    await a.choose(hello) // the list came alive by itself
    await a.write(`It is, two of them (${name}).`)
    await v.sees(`It is, two of them (${name}).`)
    await v.list.getByText('Ada Lindqvist').first().waitFor()
    await v.frame.getByText('We are here now').waitFor()
    await v.write('Please keep one for me.')
    await a.sees('Please keep one for me.')
    await v.list.getByText('Seen').waitFor()
    await picture(v.page, `talk-${name}-visitor`)
    await picture(a.page, `talk-${name}-agent`)
    await accessible(v.frame, 'the widget in a conversation')
    await accessible(a.page, 'the console in a conversation')
    browser.clean()
  })
}

test('closing, and writing again', async () => {
  const a = await Agent.signIn(await browser.context(desktop), server)
  const v = await Visitor.arrive(await browser.context(desktop), server)
  await v.open()
  await v.write('One question about the bowls')
  await a.choose('One question about the bowls')
  await a.page.getByRole('button', { name: 'Close' }).click()
  await a.page.getByRole('button', { name: 'Reopen' }).waitFor()
  await v.frame.getByText('This conversation is closed.').waitFor()
  await v.write('And another one')
  await a.sees('And another one')
  await a.page.getByRole('button', { name: 'Close' }).waitFor()
  browser.clean()
})

test('by keyboard alone', async () => {
  const v = await Visitor.arrive(await browser.context(desktop), server)
  const focused = () => v.page.evaluate(() => document.activeElement.localName)
  for (let i = 0; i < 60 && await focused() !== 'parley-widget'; i++) await v.page.keyboard.press('Tab') // the launcher comes last on the page
  assert.equal(await focused(), 'parley-widget')
  await v.page.keyboard.press('Enter')
  await v.attach()
  await v.frame.waitForFunction(() => document.hasFocus() && document.activeElement?.localName === 'textarea')
  await v.page.keyboard.type('Typed without a mouse')
  await v.page.keyboard.press('Enter')
  await v.sees('Typed without a mouse')

  const a = await Agent.signIn(await browser.context(desktop), server)
  await a.row('Typed without a mouse').first().waitFor()
  await a.page.keyboard.press('j')
  await waitFor(() => a.page.url().match(/\/inbox\/open\/.+/), 'the first conversation')
  await a.composer.waitFor()
  await a.page.keyboard.press('r')
  await a.page.keyboard.type('Answered without one')
  await a.page.keyboard.press('Enter')
  await v.sees('Answered without one')
  await a.page.keyboard.press('Control+k')
  await a.page.getByRole('dialog').waitFor()
  await accessible(a.page, 'the command palette')
  await picture(a.page, 'palette')
  await a.page.keyboard.press('Escape')
  await a.page.getByRole('dialog').waitFor({ state: 'hidden' })

  await v.page.keyboard.press('Escape')
  await waitFor(async () => (await v.launcher()).startsWith('Open chat'), 'the closed card')
  assert.equal(await focused(), 'parley-widget', 'the focus is on the launcher again')
  browser.clean()
})

test('with cookies and storage blocked', async () => {
  const context = await browser.profile(blocking, desktop)
  const v = await Visitor.arrive(context, server)
  await v.open()
  const blocked = await v.frame.evaluate(() => { try { return globalThis.localStorage.length < 0 } catch { return true } })
  assert.ok(blocked, 'the browser really blocks storage')
  await v.write('Nothing is kept here')
  await v.frame.getByText(/as long as this page/i).waitFor()
  const a = await Agent.signIn(await browser.context(desktop), server)
  await a.choose('Nothing is kept here')
  await a.write('We talk all the same')
  await v.sees('We talk all the same')
  assert.deepEqual(await context.cookies(), [])
  browser.clean()
})

test('TestPromise_A2: nothing is stored before the visitor acts, and the conversation goes on from page to page', async () => {
  const context = await browser.profile(storing, desktop)
  const v = await Visitor.arrive(context, server)
  assert.deepEqual(await context.cookies(), [])
  assert.deepEqual(await v.page.evaluate(() => [localStorage.length, sessionStorage.length]), [0, 0])
  assert.equal(v.frame, undefined, 'no frame is loaded before the widget is opened')
  await v.open()
  assert.equal(await v.frame.evaluate(() => localStorage.length), 0, 'opening stores nothing in the frame')
  await v.write('Remember me, please')
  await waitFor(() => v.frame.evaluate(() => localStorage.length > 0), 'the token')
  assert.deepEqual(await v.frame.evaluate(() => Object.keys(localStorage)), ['parley.visitor'])
  assert.deepEqual(await v.page.evaluate(() => [...Object.keys(localStorage), ...Object.keys(sessionStorage)]), ['parley.open'])
  await v.page.getByRole('link', { name: /cart/i }).first().click()
  await v.page.waitForURL(/\/cart/)
  await v.attach()
  await v.sees('Remember me, please')
  assert.deepEqual(await context.cookies(), [])
  browser.clean()
})

test('across a cut line', async () => {
  const a = await Agent.signIn(await browser.context(desktop), server)
  const context = await browser.context(desktop)
  const v = await Visitor.arrive(context, server)
  await v.open()
  await v.write('Before the tunnel')
  await a.choose('Before the tunnel')
  await context.setOffline(true)
  await a.write('Said while you were away 1')
  await a.write('Said while you were away 2')
  await v.write('Written in the tunnel')
  await context.setOffline(false)
  await v.sees('Said while you were away 2')
  await a.sees('Written in the tunnel')
  for (const text of ['Said while you were away 1', 'Said while you were away 2', 'Written in the tunnel']) {
    assert.equal(await v.list.getByText(text, { exact: true }).count(), 1, text)
    assert.equal(await a.log.getByText(text, { exact: true }).count(), 1, text)
  }
  browser.trouble.splice(0) // requests without a network fail, as they should
})

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`across a restart of the server (${signal})`, async () => {
    const a = await Agent.signIn(await browser.context(desktop), server)
    const v = await Visitor.arrive(await browser.context(desktop), server)
    await v.open()
    await v.write(`Before ${signal}`)
    await a.choose(`Before ${signal}`)
    await server.down(signal)
    await v.write(`During ${signal}`)
    await server.up()
    await a.sees(`During ${signal}`)
    await a.write(`After ${signal}`)
    await v.sees(`After ${signal}`)
    assert.equal(await v.list.getByText(`During ${signal}`, { exact: true }).count(), 1)
    assert.equal(await a.log.getByText(`During ${signal}`, { exact: true }).count(), 1)
    browser.trouble.splice(0) // requests to a server that is down fail, as they should
  })
}

// What an agent does all day: several visitors at once, long histories, erasing somebody, going home. And a page that may not
// show the widget.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { after, afterEach, before, test } from 'node:test'
import { Agent, Browser, Server, Visitor, accessible, desktop, picture, storing, waitFor } from './world.mjs'

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

test('two visitors and one agent: badges and order, live', async () => {
  const a = await Agent.signIn(await browser.context(desktop), server)
  const first = await Visitor.arrive(await browser.context(desktop), server)
  await first.open()
  await first.write('First visitor, first line')
  await a.row('First visitor, first line').waitFor()
  const second = await Visitor.arrive(await browser.context(desktop), server, '/about')
  await second.open()
  await second.write('Second visitor, first line')
  await waitFor(async () => (await a.rows())[0] === 'Second visitor, first line', 'the second visitor above')
  await first.write('First visitor, second line')
  await waitFor(async () => (await a.rows()).join() === 'First visitor, second line,Second visitor, first line', 'the first visitor above again')
  await a.row('First visitor').getByText('2 unread.').waitFor()
  await a.row('Second visitor').getByText('1 unread.').waitFor()
  assert.match(await a.page.title(), /^\(/, 'the title counts what is unread')
  await picture(a.page, 'inbox-unread')

  await a.choose('First visitor, second line') // reading takes the badge away, here and only here
  await a.row('First visitor').getByText('unread.').waitFor({ state: 'hidden' })
  await a.row('Second visitor').getByText('1 unread.').waitFor()
  await second.write('Second visitor, second line')
  await a.row('Second visitor').getByText('2 unread.').waitFor()
  assert.equal(await a.log.getByText('Second visitor').count(), 0, 'nothing of the one shows in the other')

  await first.list.getByText('Seen').waitFor()
  await first.close()
  await a.write('An answer to the first')
  await waitFor(async () => await first.launcher() === 'Open chat, 1 new message', 'the badge on the launcher')
  assert.equal(await second.list.getByText('An answer to the first').count(), 0)
  await picture(first.page, 'launcher-unread')
  await first.open()
  await first.sees('An answer to the first')
  await first.close()
  await waitFor(async () => await first.launcher() === 'Open chat', 'the badge to go')
  browser.clean()
})

/**
 * Scrolls the list up until the first message is there. Each time that older messages come in above, what the reader had
 * before their eyes has to stay where it was.
 */
async function scrollToBeginning (list, first) {
  await waitFor(async () => {
    const moved = await list.evaluate(async box => {
      const frame = () => new Promise(resolve => requestAnimationFrame(resolve))
      const messages = () => [...box.querySelectorAll('li.message')]
      box.scrollTop = Math.min(box.scrollTop, 120)
      await frame()
      const count = messages().length
      const anchor = messages().find(m => m.getBoundingClientRect().top >= box.getBoundingClientRect().top)
      const before = anchor.getBoundingClientRect().top
      for (let i = 0; i < 200 && messages().length === count; i++) await frame()
      await frame()
      await frame()
      const grown = messages().length > count
      return { grown, by: Math.abs(anchor.getBoundingClientRect().top - before), text: anchor.textContent }
    })
    if (moved.grown) assert.ok(moved.by <= 2, `"${moved.text}" jumped by ${moved.by} px`)
    return list.getByText(first, { exact: true }).count()
  }, first)
}

test('a long history pages backwards without a jump, in the console and in the widget', async () => {
  const context = await browser.profile(storing, desktop)
  const v = await Visitor.arrive(context, server)
  await v.open()
  await v.write('line 1 of a long talk')
  await waitFor(() => v.frame.evaluate(() => localStorage.length > 0), 'the token')
  const { token } = Object.values(await v.frame.evaluate(() => JSON.parse(localStorage.getItem('parley.visitor'))))[0]
  const { items: [{ id }] } = await server.call('GET', '/widget/conversations', undefined, token)
  for (let i = 2; i <= 120; i++) {
    const body = { client_id: `long-${i}`, body: `line ${i} of a long talk` }
    await (i % 3 ? server.call('POST', `/widget/conversations/${id}/messages`, body, token) : server.call('POST', `/conversations/${id}/messages`, body))
  }

  const a = await Agent.signIn(await browser.context(desktop), server)
  await a.choose('line 120 of a long talk')
  assert.equal(await a.log.getByText('line 1 of a long talk', { exact: true }).count(), 0, 'only the newest page is there')
  await scrollToBeginning(a.log, 'line 1 of a long talk')

  await v.page.reload()
  await v.attach()
  await v.sees('line 120 of a long talk')
  assert.equal(await v.list.getByText('line 1 of a long talk', { exact: true }).count(), 0, 'only the newest page is there')
  await scrollToBeginning(v.list, 'line 1 of a long talk')

  for (const list of [a.log, v.list]) {
    const lines = (await list.locator('li.message').allTextContents()).map(t => Number(/line (\d+) of/.exec(t)[1]))
    assert.deepEqual(lines, Array.from({ length: 120 }, (_, i) => i + 1), 'each once, in order')
  }
  browser.clean()
})

test('erasing a visitor: gone from the console, and the widget starts afresh', async () => {
  const a = await Agent.signIn(await browser.context(desktop), server)
  const v = await Visitor.arrive(await browser.profile(storing, desktop), server)
  await v.open()
  await v.write('Something I would rather not have written')
  await a.choose('Something I would rather not have written')
  await a.page.reload() // the name in the question must not depend on the way here
  await a.sees('Something I would rather not have written')
  await a.page.getByRole('complementary').getByRole('button', { name: 'Erase this person' }).click()
  const dialog = a.page.getByRole('dialog')
  await dialog.getByText('This cannot be undone.').waitFor()
  await dialog.getByRole('heading', { name: /^Erase Visitor [0-9A-F]{4}\?$/ }).waitFor()
  await accessible(a.page, 'the question before erasing')
  await picture(a.page, 'erase-question')
  await dialog.getByRole('button', { name: 'Erase', exact: true }).click()
  await dialog.getByText(/The keys are destroyed/).waitFor()
  await accessible(a.page, 'the receipt of an erasure')
  await picture(a.page, 'erase-receipt')
  await dialog.getByRole('button', { name: 'Done' }).click()
  await a.row('rather not').waitFor({ state: 'detached' })
  assert.deepEqual(await a.page.getByText('rather not').evaluateAll(all => all.map(e => e.outerHTML)), [])

  await v.list.waitFor({ state: 'hidden' }) // by itself: the server ends the socket, and the frame asks
  await v.frame.getByText(/so this is a new one/).waitFor()
  assert.equal(await v.frame.getByText('rather not').count(), 0)
  assert.deepEqual(await v.frame.evaluate(() => Object.entries(localStorage)), [], 'the token is off the device')
  await picture(v.page, 'erased-widget')
  await v.write('A fresh start')
  await a.choose('A fresh start')
  assert.equal(await a.log.locator('li.message').count(), 1)
  browser.clean()
})

test('signing out ends the console in every tab', async () => {
  const context = await browser.context(desktop)
  const a = await Agent.signIn(context, server, { byHand: true }) // a session of its own, which ends here
  const other = await context.newPage()
  await other.goto(`${server.url}/app/`)
  await other.getByRole('region', { name: 'Conversations' }).waitFor()
  await a.page.bringToFront()
  await a.page.getByRole('button', { name: /Ada Lindqvist/ }).click()
  await accessible(a.page, 'the account menu')
  await picture(a.page, 'account-menu')
  await a.page.getByRole('menuitem', { name: 'Sign out' }).click()
  await a.page.getByRole('heading', { name: 'Sign in to Parley' }).waitFor()
  await other.getByRole('heading', { name: 'Sign in to Parley' }).waitFor()
  assert.equal(await other.getByRole('region', { name: 'Conversations' }).count(), 0)
  await context.clearCookies()
  browser.clean()
})

test('a page of another origin shows nothing and says why, once', async () => {
  const elsewhere = createServer((_, answer) => {
    answer.setHeader('Content-Type', 'text/html')
    answer.end(`<!doctype html><html lang="en"><title>Elsewhere</title><link rel="icon" href="data:,"><h1>Elsewhere</h1>
      <script src="${server.url}/widget.js" data-site="${server.demo.site}" async></script>`)
  })
  await new Promise(resolve => elsewhere.listen(0, '127.0.0.1', resolve))
  try {
    const origin = `http://localhost:${elsewhere.address().port}`
    const page = await (await browser.chromium.newContext()).newPage()
    const warnings = []
    page.on('console', m => { if (m.type() === 'warning') warnings.push(m.text()) })
    await page.goto(origin.replace('localhost', '127.0.0.1'))
    await waitFor(() => warnings.length, 'a warning')
    await page.evaluate(() => globalThis.Parley.open()) // a page that calls the widget all the same comes to no harm
    await page.waitForLoadState('networkidle')
    assert.equal(await page.locator('parley-widget').count(), 0)
    assert.equal(await page.locator('iframe').count(), 0)
    assert.equal(warnings.length, 1, warnings.join('\n'))
    assert.match(warnings[0], /^Parley: the chat is not shown\./)
    assert.match(warnings[0], new RegExp(`does not allow http://127.0.0.1:${elsewhere.address().port}`))
    await page.context().close()
  } finally {
    elsewhere.close()
  }
})

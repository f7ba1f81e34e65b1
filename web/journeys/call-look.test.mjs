// The screens of a call, on both sides, at three widths, light and dark, in both languages: axe-core on each, a picture of
// each to be judged by eye. Each kind of screen meets each width, each colour and each language; not every product of them.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { Agent, Browser, Server, accessible, desktop, phone, picture, storing, tablet, waitFor } from './world.mjs'
import { Caller, CallingVisitor, answer, devices, ringing, words } from './calls.mjs'

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

const questions = { en: 'Can you show me the glaze of the bowl?', de: 'Können Sie mir die Glasur der Schale zeigen?' }
const answers = { en: 'Of course. Look at the rim, it is almost blue there.', de: 'Natürlich. Sehen Sie sich den Rand an, dort ist sie fast blau.' }

for (const [width, size, colorScheme, locale] of [
  [360, phone, 'light', 'de-DE'], [360, phone, 'dark', 'en-GB'], [768, tablet, 'dark', 'de-DE'], [1440, desktop, 'light', 'en-GB']
]) {
  const lang = locale.slice(0, 2)
  test(`${width} px, ${colorScheme}, ${lang}`, async () => {
    const options = { ...size, ...devices, colorScheme, locale }
    // What fades in is looked at when it is there: its colours count then.
    const look = async (page, what, inside = page) => {
      await inside.evaluate(() => Promise.allSettled(document.getAnimations().filter(a => a.effect.getComputedTiming().endTime < Infinity).map(a => a.finished)))
      await picture(page, `call-${what}-${width}-${colorScheme}-${lang}`)
      await accessible(inside, what)
      assert.ok(await inside.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), `${what} scrolls sideways`)
    }
    const question = `${questions[lang]} (${width} ${colorScheme})`
    const a = await Agent.signIn(await browser.context(options), server)
    const v = await CallingVisitor.come(await browser.profile(storing, options), server, question, lang === 'de' ? '/de/' : '/')
    await a.choose(question)

    // The agent rings; the visitor does not want to.
    const agent = new Caller(a.page)
    await a.page.getByRole('button', { name: /^(Call|Anrufen)$/ }).click()
    await a.page.getByRole('menuitem', { name: /^(Video call|Videoanruf)$/ }).click()
    const notice = agent.button(words.accept)
    await notice.or(agent.button(words.join)).first().waitFor()
    if (await notice.count() > 0) {
      await look(a.page, 'agent-notice')
      await agent.press(words.accept)
    }
    await agent.at.locator('.call-look video').waitFor()
    await look(a.page, 'agent-preview')
    await agent.press(words.join)
    const decline = v.frame.getByRole('button', { name: words.decline })
    await decline.waitFor()
    await look(v.page, 'rings', v.frame)
    await look(a.page, 'agent-waits')
    await decline.evaluate(e => e.click())
    await agent.sees(words.declined)
    await look(a.page, 'agent-declined')
    await agent.press(words.close)

    // The visitor rings.
    await v.begin()
    await v.caller.button(words.accept).waitFor()
    await look(v.page, 'notice', v.frame)
    await v.caller.press(words.accept)
    await v.frame.locator('.call-look video').waitFor()
    await look(v.page, 'preview', v.frame)
    await v.caller.press(words.join)
    await ringing(a).first().waitFor()
    await look(a.page, 'agent-rings')
    await answer(a)
    await agent.enter()
    await Promise.all([v.caller.moving(1), agent.moving(1)])
    await look(v.page, 'talk', v.frame)
    await look(a.page, 'agent-talk')

    // The messages beside the picture; where there is no room, under it.
    await server.call('POST', `/conversations/${a.page.url().match(/[0-9a-f-]{36}/)[0]}/messages`, { client_id: crypto.randomUUID(), body: answers[lang] })
    const messages = v.frame.getByRole('button', { name: /^(Messages|Nachrichten)/ })
    if (await messages.isVisible()) await messages.evaluate(e => e.click())
    await v.sees(answers[lang])
    await look(v.page, 'reading', v.frame)
    await agent.press(words.more)
    await waitFor(() => agent.call.getByRole('dialog').isVisible(), 'the panel of devices')
    await look(a.page, 'agent-more')
    await a.page.keyboard.press('Escape')
    await agent.press(words.leave)
    await v.caller.sees(words.ended)
    await look(v.page, 'ended', v.frame)

    const check = await (await browser.context(options)).newPage()
    await check.goto(`${server.url}/w/check?lang=${lang}`)
    const works = check.getByRole('listitem').filter({ has: check.getByText(lang === 'de' ? /^Funktioniert(\.|$)/ : /^Works(\.|$)/) })
    await waitFor(async () => await works.count() === 5, 'the browser, the server and three ways')
    await look(check, 'check')
    browser.clean()
  })
}

// Every screen at three widths, light and dark, in both languages: axe-core on each, a picture of each to be judged by eye.
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, test } from 'node:test'
import { Agent, Browser, Server, Visitor, accessible, desktop, phone, picture, tablet } from './world.mjs'

const sizes = { 360: phone, 768: tablet, 1440: desktop }

const questions = {
  en: ['Which of these bowls may go into the oven, and for how long?', 'They all may, up to 220 °C. Let them cool before you wash them; a sudden change of heat is what breaks stoneware.'],
  de: ['Welche dieser Schalen dürfen in den Backofen, und wie lange?', 'Alle, bis 220 °C. Lassen Sie sie vor dem Spülen abkühlen; ein plötzlicher Temperaturwechsel lässt Steinzeug springen.']
}

function sideways (page) { return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth) }

describe('the looks', { concurrency: 2 }, () => {
  let server, browser
  before(async () => {
    server = await Server.start()
    browser = await Browser.start(server)
    const names = [['Mara Lindgren', 'mara@lindgren.example'], ['Jonas Okafor'], ['Wilhelmina Freifrau von Hohenstein-Weißenfels']]
    for (const [name, email] of names) await server.conversation('Do you ship to Norway, and what does it cost?', { visitor: { name, email } })
  })
  afterEach(t => browser.lookAtFailure(t))
  after(async () => {
    await browser?.stop()
    await server?.stop()
  })

  for (const [width, size] of Object.entries(sizes)) {
    for (const colorScheme of ['light', 'dark']) {
      for (const locale of ['en-GB', 'de-DE']) {
        const lang = locale.slice(0, 2)
        test(`${width} px, ${colorScheme}, ${lang}`, async () => {
          const options = { ...size, colorScheme, locale }
          const look = async (page, what, inside = page) => {
            await picture(page, `${what}-${width}-${colorScheme}-${lang}`)
            await accessible(inside, what)
            assert.ok(await sideways(inside) <= 0, `${what} scrolls sideways`)
          }
          const [question, answer] = questions[lang].map((q, i) => i ? q : `${q} (${width} ${colorScheme})`)

          const visiting = await browser.context(options)
          const v = await Visitor.arrive(visiting, server, lang === 'de' ? '/de/' : '/')
          await look(v.page, 'shop')
          await v.open()
          await look(v.page, 'widget-first', v.frame)
          await v.write(question)

          const working = await browser.context(options)
          const a = await Agent.signIn(working, server, { byHand: true, look: page => look(page, 'sign-in') })
          await a.row(question).first().waitFor()
          await look(a.page, 'inbox')
          await a.choose(question)
          await a.write(answer)
          await v.sees(answer)
          await v.write(lang === 'de' ? 'Vielen Dank.' : 'Thank you.')
          await a.sees(lang === 'de' ? 'Vielen Dank.' : 'Thank you.')
          await look(v.page, 'widget-talk', v.frame)
          await look(a.page, 'conversation')
          for (const page of ['sites', 'members']) {
            await a.page.goto(`${server.url}/app/#/${page}`)
            await a.page.getByRole('heading', { level: 1 }).waitFor()
            await a.page.getByText(page === 'sites' ? 'Northlight shop' : 'Ada Lindqvist').last().waitFor()
            await look(a.page, page)
          }
          await Promise.all([visiting.close(), working.close()])
          browser.clean()
        })
      }
    }
  }
})

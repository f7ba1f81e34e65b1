// Every screen at three widths, light and dark, in both languages: axe-core on each, a picture of each to be judged by eye.
import { after, before, test } from 'node:test'
import assert from 'node:assert/strict'
import { Agent, Browser, Server, Visitor, accessible, desktop, phone, picture, tablet } from './world.mjs'

let server, browser
before(async () => {
  server = await Server.start()
  browser = await Browser.start(server)
})
after(async () => {
  await browser?.stop()
  await server?.stop()
})

const sizes = { 360: phone, 768: tablet, 1440: desktop }

async function widest (page) { return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth) }

for (const [width, size] of Object.entries(sizes)) {
  for (const colorScheme of ['light', 'dark']) {
    for (const locale of ['en-GB', 'de-DE']) {
      test(`${width} px, ${colorScheme}, ${locale}`, async () => {
        const name = s => `${s}-${width}-${colorScheme}-${locale.slice(0, 2)}`
        const options = { ...size, colorScheme, locale }
        const v = await Visitor.arrive(await browser.context(options), server, locale === 'de-DE' ? '/de/' : '/')
        await picture(v.page, name('shop'))
        await v.open()
        await accessible(v.frame, 'the widget before a conversation')
        await picture(v.page, name('widget-first'))
        await v.write(`A long question, ${name('')}: ${'which of these bowls may go into the oven, and for how long? '.repeat(6)}`)
        await accessible(v.frame, 'the widget with a conversation')
        await picture(v.page, name('widget-talk'))

        const context = await browser.context(options)
        const door = await context.newPage()
        await door.goto(`${server.url}/app/`)
        await door.getByRole('textbox', { name: 'E-Mail' }).waitFor()
        await accessible(door, 'the sign-in')
        await picture(door, name('sign-in'))
        await door.getByRole('textbox', { name: 'E-Mail' }).fill('ada@northlight.example')
        await door.locator('input[type=password]').fill(server.password)
        await door.keyboard.press('Enter')
        await door.getByRole('link', { name: /A long question/ }).first().waitFor()
        await accessible(door, 'the inbox')
        await picture(door, name('inbox'))
        await door.getByRole('link', { name: /A long question/ }).first().click()
        await door.getByRole('main').getByRole('textbox').last().waitFor()
        await accessible(door, 'a conversation')
        await picture(door, name('conversation'))
        for (const page of ['sites', 'members']) {
          await door.goto(`${server.url}/app/#/${page}`)
          await door.getByRole('heading', { level: 1 }).waitFor()
          await accessible(door, page)
          await picture(door, name(page))
          assert.ok(await widest(door) <= 0, `${page} scrolls sideways`)
        }
        browser.clean()
        await context.close()
        await v.page.context().close()
      })
    }
  }
}

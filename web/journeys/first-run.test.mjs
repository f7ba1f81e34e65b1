// A newcomer opens a server that nobody has set up: organisation, owner, first site, snippet.
import { after, before, test } from 'node:test'
import { Browser, Server, accessible, desktop, phone, picture } from './world.mjs'

let server, browser
before(async () => {
  server = await Server.start({ demo: false })
  browser = await Browser.start(server)
})
after(async () => {
  await browser?.stop()
  await server?.stop()
})

test('from an empty server to a snippet', async () => {
  const page = await (await browser.context(desktop)).newPage()
  await page.goto(server.url)
  await page.getByRole('textbox', { name: /organi[sz]ation/i }).fill('Harbour Books')
  await page.getByRole('textbox', { name: /name/i }).last().fill('Ines Calder')
  await page.getByRole('textbox', { name: 'E-mail' }).fill('ines@harbour.example')
  await page.locator('input[type=password]').first().fill('lantern-gravel-otter-47')
  await accessible(page, 'the first-run setup')
  await picture(page, 'setup')
  await page.keyboard.press('Enter')
  await page.getByRole('navigation', { name: 'Main' }).waitFor()
  await picture(page, 'first-inbox')
  await accessible(page, 'the empty inbox')
  await page.goto(`${server.url}/app/#/sites`)
  await page.getByRole('button', { name: /add|new|create/i }).first().click()
  await page.getByRole('textbox', { name: /name/i }).last().fill('Harbour Books')
  await page.getByRole('textbox', { name: /origin|address|pages/i }).last().fill('https://harbour.example')
  await page.keyboard.press('Control+Enter')
  await page.getByRole('dialog').or(page.locator('form')).getByRole('button', { name: /add|create|save/i }).last().click().catch(() => {})
  await page.getByText(/data-site=/).first().waitFor()
  await picture(page, 'site-snippet')
  browser.clean()
})

test('on a phone the door fits too', async () => {
  const page = await (await browser.context(phone)).newPage()
  await page.goto(`${server.url}/app/`)
  await page.getByRole('textbox', { name: 'E-mail' }).waitFor()
  await accessible(page, 'the sign-in on a phone')
  browser.clean()
})

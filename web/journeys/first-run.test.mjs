// A newcomer opens a server that nobody has set up: organisation, owner, first site, snippet.
import { after, afterEach, before, test } from 'node:test'
import { Browser, Server, accessible, desktop, phone, picture } from './world.mjs'

let server, browser
before(async () => {
  server = await Server.start({ demo: false })
  browser = await Browser.start(server)
})
afterEach(t => browser.closeAll(t))
after(async () => {
  await browser?.stop()
  await server?.stop()
})

test('on a phone the setup fits too', async () => {
  const page = await (await browser.context({ ...phone, locale: 'de-DE', colorScheme: 'dark' })).newPage()
  await page.goto(server.url)
  await page.getByRole('textbox', { name: 'Organisation' }).waitFor()
  await accessible(page, 'the setup on a phone')
  await picture(page, 'setup-phone')
  browser.clean()
})

test('from an empty server to a snippet', async () => {
  const page = await (await browser.context(desktop)).newPage()
  await page.goto(server.url)
  await page.getByRole('textbox', { name: 'Organisation' }).fill('Harbour Books')
  await page.getByRole('textbox', { name: 'Your name' }).fill('Ines Calder')
  await page.getByRole('textbox', { name: 'E-mail' }).fill('ines@harbour.example')
  await page.getByLabel('Password', { exact: true }).fill('short')
  await page.keyboard.press('Enter')
  await page.locator('[aria-invalid=true]').first().waitFor()
  await accessible(page, 'the setup with a mistake')
  await picture(page, 'setup-mistake')
  await page.getByLabel('Password', { exact: true }).fill('lantern-gravel-otter-47')
  await picture(page, 'setup')
  await page.keyboard.press('Enter')
  await page.getByRole('navigation', { name: 'Main' }).waitFor()
  await page.getByText('No conversations yet').waitFor()
  await picture(page, 'first-inbox')
  await accessible(page, 'the empty inbox')

  await page.getByRole('link', { name: 'Go to sites' }).click()
  await page.getByText('Put Parley on your website').waitFor()
  await picture(page, 'first-sites')
  await accessible(page, 'the empty sites')
  await page.getByRole('button', { name: 'Add a site' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('textbox', { name: 'Name' }).fill('Harbour Books')
  await dialog.getByRole('textbox', { name: 'Addresses' }).fill('https://harbour.example')
  await accessible(page, 'adding a site')
  await picture(page, 'site-add')
  await dialog.getByRole('button', { name: 'Add a site' }).click()
  await dialog.getByText(/data-site=/).waitFor()
  await accessible(page, 'the snippet')
  await picture(page, 'site-snippet')
  browser.clean()
})

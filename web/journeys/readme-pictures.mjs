// Makes the README's pictures, docs/images/console.png, widget.png and call.png, from a real talk and a real call in the demo shop:
//
//     PARLEY_BIN=../bin/parley node journeys/readme-pictures.mjs
//
// The conversations begin GAP seconds apart (60 when not told), so that the inbox shows times as a working day does.
// `call` after it makes call.png alone.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as wait } from 'node:timers/promises'
import { Agent, Browser, Server, Visitor, desktop, phone, storing, waitFor } from './world.mjs'
import { CallingVisitor, answer, devices } from './calls.mjs'

const gap = Number(process.env.GAP ?? 60) * 1000
const images = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../docs/images')
mkdirSync(images, { recursive: true })
const looks = { colorScheme: 'light', timezoneId: 'Australia/Sydney' }

const server = await Server.start()
const browser = await Browser.start(server)
try {
  if (process.argv[2] !== 'call') await talkPictures()
  await browser.closeAll()
  await callPicture()
} finally {
  await browser.stop()
  await server.stop()
}
process.exit()

async function talkPictures () {
  const page = where => ({ url: `${server.shop}${where}`, title: 'Northlight' })
  const { items: [ada] } = await server.call('GET', '/members')

  const aiko = await server.conversation('Could you gift-wrap the two cups? I will collect them on Saturday.', { visitor: { name: 'Aiko Tanabe' }, page: page('/cart') })
  await aiko.answer('Gladly. They wait at the counter under your name.')
  await aiko.say('Perfect, see you on Saturday.')
  await aiko.read(3)
  await wait(gap)
  const tomas = await server.conversation('The lid of my teapot arrived with a chip. What do I do?', { visitor: { name: 'Tomás Herrera', email: 'tomas@herrera.example' }, page: page('/') })
  await tomas.answer('I am sorry to hear that. A new lid leaves our workshop today; keep the old one, there is nothing to send back.')
  await tomas.read(2)
  await tomas.assign(ada.id)
  await wait(gap)
  const olu = await server.conversation('Is the matcha from this year’s harvest?', { visitor: { name: 'Olu Adeyemi' }, page: page('/') })
  await olu.answer('Yes, picked in May and stone-ground in June.')
  await olu.read(2)
  await wait(gap)
  const greta = await server.conversation('Haben Sie die Schale Dune auch in Blau?', { visitor: { name: 'Greta Sommer' }, locale: 'de', page: page('/de/') })
  await wait(gap)
  await server.conversation('Do you ship to Norway, and what does it cost?', { visitor: { name: 'Ingrid Solheim', email: 'ingrid@solheim.example' }, page: page('/cart') })
  await wait(gap / 2)
  await greta.say('Am liebsten zwei Stück.')

  const shop = await browser.profile(storing, { ...looks, viewport: { width: 1240, height: 720 } })
  const v = await Visitor.arrive(shop, server, '/product/kiri')
  await v.open()
  await v.frame.getByText('Add your name or e-mail (optional)').click()
  await v.frame.getByRole('textbox', { name: /^Name/ }).fill('Mara Lindgren')
  await v.frame.getByRole('textbox', { name: /^E-mail/ }).fill('mara@lindgren.example')
  await v.write('Good morning. Does the Kiri teapot fit a 300 ml bowl, or do I pour twice?')

  const a = await Agent.signIn(await browser.context({ ...desktop, ...looks }), server)
  await a.choose('Good morning.')
  await a.page.getByRole('button', { name: 'Unassigned' }).click()
  await a.page.getByRole('menuitemradio', { name: 'Assign to me' }).click()
  await a.write('Good morning, Mara. The Kiri holds 280 ml, so one pot fills your bowl to just below the rim.')
  await v.sees('just below the rim')
  await wait(gap / 3)
  await v.write('That is exactly right. And may it go into the dishwasher?')
  await a.sees('dishwasher')
  await a.write('Please not: the clay is unglazed outside and takes on the taste of the soap. Warm water is all it needs.')
  await v.sees('Warm water')
  await wait(gap / 3)
  await v.write('Then I take it, together with two cups. Thank you.')
  await a.sees('Then I take it')
  await v.list.getByText('Seen').waitFor()
  await a.log.getByText('Read').waitFor()

  await a.page.bringToFront()
  await a.page.mouse.move(1439, 899)
  await a.page.screenshot({ path: path.join(images, 'console.png'), animations: 'disabled' })
  await v.page.bringToFront()
  await v.page.screenshot({ path: path.join(images, 'widget.png'), animations: 'disabled' })
}

/** A visitor on a phone and an agent in the console, each with something of the shop before the camera; side by side. */
async function callPicture () {
  const dir = mkdtempSync(path.join(tmpdir(), 'parley-cameras-'))
  const filming = []
  try {
    for (const what of ['kiri', 'dune']) {
      const page = await (await browser.context({ viewport: { width: 960, height: 720 } })).newPage()
      await page.goto(`${server.shop}/static/pictures/${what}.svg`)
      await page.evaluate(() => document.documentElement.setAttribute('preserveAspectRatio', 'xMidYMid slice'))
      const file = path.join(dir, `${what}.mjpeg`)
      writeFileSync(file, await page.screenshot({ type: 'jpeg', quality: 95 }))
      filming.push(await Browser.start(server, { media: true, more: [`--use-file-for-fake-video-capture=${file}`] }))
    }
    const [theirs, ours] = filming
    const question = 'Does the glaze of the bowl go with my teapot? I can show it to you.'
    const v = await CallingVisitor.come(await theirs.profile(storing, { ...looks, ...phone, ...devices }), server, question)
    const a = await Agent.signIn(await ours.context({ ...looks, ...devices, ...desktop }), server)
    await a.choose(question)
    await a.write('Please do. I have the bowl in my hands.')
    await v.begin()
    await v.caller.enter()
    const agent = await answer(a)
    await agent.enter()
    await Promise.all([v.caller.moving(1), agent.moving(1)])
    const sharp = at => at.call.locator('.call-tile:not(.call-mirrored) video').evaluate(e => e.videoWidth >= 960)
    await waitFor(async () => await sharp(v.caller) && await sharp(agent), 'the largest pictures', 60_000)
    await a.page.mouse.move(0, 0)
    const shots = []
    for (const page of [v.page, a.page]) {
      await page.bringToFront()
      shots.push((await page.screenshot({ animations: 'disabled' })).toString('base64'))
    }
    const both = await (await browser.context({ viewport: { width: 1612, height: 772 } })).newPage()
    await both.setContent(`<style>body { display: flex; gap: 20px; margin: 16px; background: #e9e6e1 } img { height: 740px; border-radius: 10px }</style>
      ${shots.map(s => `<img src="data:image/png;base64,${s}">`).join('')}`)
    await both.screenshot({ path: path.join(images, 'call.png') })
  } finally {
    for (const b of filming) await b.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

// Measures, in Chromium, how long after a press on Join the first picture of the other one is drawn: the visitor waits in the call
// already, with the camera on, and the agent joins. Both are on this machine, which makes and draws both pictures itself.
//
//     PARLEY_BIN=../bin/parley RUNS=20 node journeys/first-frame.mjs
import { setTimeout as wait } from 'node:timers/promises'
import { Agent, Browser, Server, desktop, storing } from './world.mjs'
import { CallingVisitor, answer, devices, words } from './calls.mjs'

const runs = Number(process.env.RUNS ?? 20)

const server = await Server.start()
const browser = await Browser.start(server, { media: true })
const took = []
try {
  const a = await Agent.signIn(await browser.context({ ...desktop, ...devices }), server)
  const v = await CallingVisitor.come(await browser.profile(storing, { ...desktop, ...devices }), server, 'How long does it take?')
  await a.choose('How long does it take?')
  for (let i = 0; i < runs; i++) {
    await v.begin()
    await v.caller.enter()
    const agent = await answer(a)
    const step = agent.button(words.accept).or(agent.button(words.join)).first()
    await step.waitFor()
    if (await agent.button(words.accept).count() > 0) await agent.press(words.accept)
    await agent.button(words.join).first().waitFor()
    const ms = await a.page.evaluate(firstFrame, words.join.source)
    took.push(ms)
    console.log(`${i + 1}: ${Math.round(ms)} ms`)
    await agent.press(words.leave)
    await v.caller.sees(words.ended)
    await v.caller.press(words.close)
    await wait(9000) // a visitor starts six calls a minute
  }
} finally {
  await browser.stop()
  await server.stop()
}
took.sort((x, y) => x - y)
const at = q => Math.round(took[Math.min(took.length - 1, Math.ceil(q * took.length) - 1)])
console.log(`from Join to the first frame, ${took.length} times: median ${at(0.5)} ms, p95 ${at(0.95)} ms, longest ${at(1)} ms`)
process.exit()

/** Runs in the page: presses Join and resolves with the milliseconds until a frame of the other's picture is drawn. */
function firstFrame (join) {
  const pattern = new RegExp(join)
  const button = [...document.querySelectorAll('.call:not(.call-ring) button')].find(b => pattern.test(b.innerText.trim()))
  return new Promise((resolve, reject) => {
    const began = performance.now()
    const seen = new WeakSet()
    const look = () => {
      for (const video of document.querySelectorAll('.call-tile:not(.call-mirrored) video')) {
        if (seen.has(video)) continue
        seen.add(video)
        video.requestVideoFrameCallback(() => resolve(performance.now() - began))
      }
      if (performance.now() - began > 20_000) reject(new Error('no frame in 20 s'))
      else requestAnimationFrame(look)
    }
    button.click()
    look()
  })
}

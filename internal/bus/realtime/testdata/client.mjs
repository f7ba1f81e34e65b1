// Drives the unmodified Centrifuge client of npm against the hub of centrifuge_test.go. Arguments: the client's module
// and the socket's URL. Every check that fails ends the process with the reason.
import assert from 'node:assert/strict'

const [module, url] = process.argv.slice(2)
const { Centrifuge } = await import(module)

// once resolves with the next event of the name, or fails after 8 s.
const once = (emitter, name, accept = () => true) =>
  new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no event "${name}" came`)), 8000)
    const listen = (ctx) => {
      if (!accept(ctx)) return
      clearTimeout(late)
      emitter.off(name, listen)
      resolve(ctx)
    }
    emitter.on(name, listen)
  })

const make = (token, options = {}) => new Centrifuge(url, { token, minReconnectDelay: 50, maxReconnectDelay: 200, ...options })

async function connected(token, options) {
  const c = make(token, options)
  const ready = once(c, 'connected')
  c.connect()
  return [c, await ready]
}

const tests = {
  async 'connects, with data, and hears the channels the server chose'() {
    const c = make('visitor:1 conv:1 visitor:1', { data: { locale: 'de' } })
    const subscribed = []
    c.on('subscribed', (ctx) => subscribed.push(ctx.channel))
    const joined = once(c, 'join')
    const ready = once(c, 'connected')
    c.connect()
    const ctx = await ready
    assert.match(ctx.client, /^[0-9a-f-]{36}$/)
    assert.equal(ctx.transport, 'websocket')
    assert.deepEqual(ctx.data, { locale: 'de' })
    assert.equal((await joined).info.user, 'visitor:1')
    assert.deepEqual(subscribed.sort(), ['conv:1', 'visitor:1'])
    const publication = once(c, 'publication')
    await c.rpc('publish', { channel: 'conv:1', body: 'grüß\n"dich" \u2028' })
    const pub = await publication
    assert.equal(pub.channel, 'conv:1')
    assert.equal(pub.data.body, 'grüß\n"dich" \u2028')
    c.disconnect()
  },

  async 'subscribes, hears publications, joins and leaves, asks who is there, unsubscribes'() {
    const [member] = await connected('member:m')
    const sub = member.newSubscription('conv:2', { joinLeave: true })
    const subscribed = once(sub, 'subscribed')
    sub.subscribe()
    await subscribed
    const join = once(sub, 'join', (ctx) => ctx.info.user === 'visitor:2')
    const [visitor] = await connected('visitor:2 conv:2')
    assert.equal((await join).info.user, 'visitor:2')
    const { clients } = await sub.presence()
    assert.deepEqual(Object.values(clients).map((i) => i.user).sort(), ['member:m', 'visitor:2'])
    assert.deepEqual(await sub.presenceStats(), { numClients: 2, numUsers: 2 })
    const got = []
    sub.on('publication', (ctx) => got.push(ctx.data.n))
    const last = once(sub, 'publication', (ctx) => ctx.data.n === 30)
    for (let n = 1; n <= 30; n++) await visitor.rpc('publish', { channel: 'conv:2', n })
    await last
    assert.deepEqual(got, Array.from({ length: 30 }, (_, i) => i + 1))
    const leave = once(sub, 'leave')
    visitor.disconnect()
    assert.equal((await leave).info.user, 'visitor:2')
    sub.unsubscribe()
    await member.rpc('nothing')
    const again = once(sub, 'subscribed')
    sub.subscribe()
    await again
    const refused = member.newSubscription('secret:1')
    const unsubscribed = once(refused, 'unsubscribed')
    refused.subscribe()
    assert.deepEqual(await unsubscribed, { channel: 'secret:1', code: 404, reason: 'conversation_unknown' })
    member.disconnect()
  },

  async 'calls, and gets the errors of calls'() {
    const [c] = await connected('visitor:3')
    assert.deepEqual((await c.rpc('echo', { a: [1, '€'] })).data, { a: [1, '€'] })
    assert.deepEqual((await c.rpc('nothing')).data, {})
    const failure = (method) => c.rpc(method).then(() => assert.fail(method), (e) => ({ ...e }))
    assert.deepEqual(await failure('limited'), { code: 429, message: 'too_many_messages retry_after=3', temporary: true })
    assert.deepEqual(await failure('unheard'), { code: 422, message: 'method_unknown', temporary: false })
    assert.deepEqual(await failure('panic'), { code: 500, message: 'internal', temporary: true })
    await assert.rejects(c.history('conv:1', { limit: 1 }), { code: 108 })
    await assert.rejects(c.publish('conv:1', {}), { code: 108 })
    c.disconnect()
  },

  async 'hears the server subscribe, unsubscribe and send'() {
    const [c] = await connected('visitor:4')
    const subscribed = once(c, 'subscribed')
    await c.rpc('subscribe', { channel: 'conv:4' })
    assert.equal((await subscribed).channel, 'conv:4')
    const other = once(c, 'subscribed')
    await c.rpc('subscribe-actor', { kind: 'visitor', id: '4', channel: 'conv:44' })
    assert.equal((await other).channel, 'conv:44')
    const publication = once(c, 'publication')
    await c.rpc('publish', { channel: 'conv:44' })
    assert.equal((await publication).channel, 'conv:44')
    const unsubscribed = once(c, 'unsubscribed')
    await c.rpc('unsubscribe', { channel: 'conv:4' })
    assert.equal((await unsubscribed).channel, 'conv:4')
    const message = once(c, 'message')
    await c.rpc('send', { hello: 1 })
    assert.deepEqual((await message).data, { hello: 1 })
    const sub = c.newSubscription('room:4')
    sub.subscribe()
    await sub.ready()
    const ended = once(sub, 'unsubscribed')
    await c.rpc('unsubscribe', { channel: 'room:4' })
    assert.equal((await ended).code, 2000)
    c.disconnect()
  },

  async 'answers pings and stays'() {
    const [c] = await connected('visitor:5', { maxServerPingDelay: 500 })
    let changes = 0
    c.on('state', () => changes++)
    await new Promise((r) => setTimeout(r, 4200)) // four pings
    assert.equal(changes, 0)
    c.disconnect()
  },

  async 'refreshes its token before it expires'() {
    const tokens = []
    const [c] = await connected('visitor:6 expires=1s', { getToken: async () => tokens.push(Date.now()) && 'visitor:6' })
    await new Promise((r) => setTimeout(r, 3500))
    assert.ok(tokens.length >= 2, `asked for a token ${tokens.length} times`)
    assert.equal(c.state, 'connected')
    c.disconnect()
  },

  async 'fetches another token when the first has expired'() {
    const [c] = await connected('expired', { getToken: async () => 'visitor:7' })
    c.disconnect()
  },

  async 'comes back after a restart, with its subscriptions'() {
    const [c] = await connected('member:8')
    const sub = c.newSubscription('conv:8')
    sub.subscribe()
    await sub.ready()
    const connecting = once(c, 'connecting')
    const back = once(c, 'connected')
    const resubscribed = once(sub, 'subscribed')
    c.rpc('restart').catch(() => {})
    assert.deepEqual(await connecting, { code: 3001, reason: 'shutdown' })
    await back
    await resubscribed
    const publication = once(sub, 'publication')
    await c.rpc('publish', { channel: 'conv:8' })
    await publication
    c.disconnect()
  },

  async 'stays away when signed out or refused'() {
    const [c] = await connected('member:9:s')
    const out = once(c, 'disconnected')
    c.rpc('drop', { kind: 'member', id: '9', session: 's' }).catch(() => {})
    assert.deepEqual(await out, { code: 3503, reason: 'signed out' })
    const refused = make('')
    const away = once(refused, 'disconnected')
    refused.connect()
    assert.deepEqual(await away, { code: 401, reason: 'signed_out' })
  },

  async 'tries again while the server cannot say'() {
    const c = make('down')
    const errors = []
    c.on('error', (ctx) => errors.push([ctx.type, ctx.error]))
    const third = once(c, 'error', () => errors.length >= 3)
    c.connect()
    await third
    for (const e of errors) assert.deepEqual(e, ['connect', { code: 503, message: 'store_away', temporary: true }])
    c.disconnect()
  },

  async 'is told when it says too much, and when a message is too big'() {
    const [c] = await connected('visitor:10')
    const connecting = once(c, 'connecting')
    const calls = Array.from({ length: 200 }, () => c.rpc('nothing').then(() => 200, (e) => e.code))
    assert.equal((await connecting).code, 3013)
    const codes = await Promise.all(calls)
    assert.ok(codes.filter((n) => n === 200).length >= 40, 'forty at once')
    assert.ok(codes.filter((n) => n === 429).length >= 30, 'then refusals')
    c.disconnect()
    const [big] = await connected('visitor:11')
    const out = once(big, 'disconnected')
    big.rpc('nothing', 'x'.repeat(40_000)).catch(() => {})
    assert.deepEqual(await out, { code: 3, reason: 'message size limit exceeded' })
  },
}

process.on('unhandledRejection', (e) => { console.error('unhandled:', e); process.exit(1) })
const results = await Promise.allSettled(Object.values(tests).map((test) => test()))
results.forEach((r, i) => {
  console.log(r.status === 'fulfilled' ? 'ok' : 'FAIL', Object.keys(tests)[i])
  if (r.status === 'rejected') console.log(r.reason?.stack ?? r.reason)
})
process.exit(results.every((r) => r.status === 'fulfilled') ? 0 : 1)

// Sound to see and to try: the level of a microphone, and a short tone for the loudspeaker. Nothing is recorded or kept.

let shared: AudioContext | undefined

/** One context for everything on the page: browsers allow few. Undefined where there is none. */
function context(): AudioContext | undefined {
  if (!('AudioContext' in window)) return undefined
  if (!shared || shared.state === 'closed') shared = new AudioContext()
  // Until the person does something on the page it stays suspended; the next touch or key wakes it.
  if (shared.state === 'suspended') void shared.resume().catch(() => undefined)
  return shared
}

/** Watches a microphone and says how loud it is, 0 to 1, some fifteen times a second. Ends with the returned function. */
export function watchLevel(track: MediaStreamTrack, onLevel: (level: number) => void): () => void {
  const ctx = context()
  if (!ctx) return () => undefined
  const source = ctx.createMediaStreamSource(new MediaStream([track]))
  const analyser = ctx.createAnalyser()
  analyser.fftSize = 1024
  source.connect(analyser)
  const samples = new Float32Array(analyser.fftSize)
  let level = 0
  const timer = setInterval(() => {
    if (ctx.state === 'suspended') void ctx.resume().catch(() => undefined)
    analyser.getFloatTimeDomainData(samples)
    level = smooth(level, loudness(samples))
    onLevel(level)
  }, 66)
  return () => {
    clearInterval(timer)
    source.disconnect()
  }
}

/** Loudness of some samples on the scale that ears have: silence 0, a loud voice 1. */
export function loudness(samples: Float32Array): number {
  let sum = 0
  for (const x of samples) sum += x * x
  const decibel = 10 * Math.log10(sum / Math.max(1, samples.length) + 1e-10)
  return Math.min(1, Math.max(0, (decibel + 60) / 50))
}

/** Up at once, down slowly: so that a word can be seen. */
export function smooth(before: number, now: number): number {
  return now > before ? now : before * 0.8 + now * 0.2
}

/** Plays two soft notes on a loudspeaker, or on the default one. Resolves when they are over. */
export async function playTone(speaker: string): Promise<void> {
  const ctx = context()
  if (!ctx) return
  await ctx.resume()
  const out = ctx.createMediaStreamDestination()
  const length = chime(ctx, out, ctx.currentTime + 0.05)
  const player = new Audio() as HTMLAudioElement & { setSinkId?(id: string): Promise<void> }
  player.srcObject = out.stream
  // A loudspeaker that is gone: the default one is better than silence.
  if (speaker && player.setSinkId) await player.setSinkId(speaker).catch(() => undefined)
  await player.play()
  await new Promise((done) => setTimeout(done, (length + 0.2) * 1000))
  player.pause()
  player.srcObject = null
}

/** Rings softly until the returned function is called; silent where the browser does not let the page. */
export function ring(incoming: boolean): () => void {
  const ctx = context()
  if (!ctx) return () => undefined
  const gain = ctx.createGain()
  gain.connect(ctx.destination)
  const once = () => {
    const at = ctx.currentTime + 0.02
    if (ctx.state === 'running') {
      if (incoming) chime(ctx, gain, at)
      else hum(ctx, gain, at)
    } else void ctx.resume().catch(() => undefined)
  }
  once()
  const timer = setInterval(once, incoming ? 3000 : 4000)
  return () => {
    clearInterval(timer)
    gain.disconnect()
  }
}

function chime(ctx: AudioContext, out: AudioNode, at: number): number {
  note(ctx, out, 587.33, at, 0.28, 0.16)
  note(ctx, out, 880, at + 0.24, 0.5, 0.16)
  return 0.8
}

function hum(ctx: AudioContext, out: AudioNode, at: number): void {
  note(ctx, out, 425, at, 0.9, 0.05)
}

function note(ctx: AudioContext, out: AudioNode, hertz: number, at: number, seconds: number, volume: number): void {
  const tone = ctx.createOscillator()
  const gain = ctx.createGain()
  tone.frequency.value = hertz
  gain.gain.setValueAtTime(0, at)
  gain.gain.linearRampToValueAtTime(volume, at + 0.02)
  gain.gain.setValueAtTime(volume, at + seconds * 0.5)
  gain.gain.linearRampToValueAtTime(0, at + seconds)
  tone.connect(gain).connect(out)
  tone.start(at)
  tone.stop(at + seconds + 0.05)
}

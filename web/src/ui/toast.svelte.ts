// Short notices about what just happened. Errors stay until they are dismissed; the rest leave after six seconds.

export interface Toast {
  id: number
  text: string
  tone: 'calm' | 'error'
}

class Toasts {
  items = $state<Toast[]>([])
  #next = 1

  show(text: string, tone: Toast['tone'] = 'calm'): void {
    const id = this.#next++
    this.items = [...this.items.filter((t) => t.text !== text), { id, text, tone }].slice(-3)
    if (tone === 'calm') setTimeout(() => this.dismiss(id), 6_000)
  }

  dismiss(id: number): void {
    this.items = this.items.filter((t) => t.id !== id)
  }
}

export const toasts = new Toasts()

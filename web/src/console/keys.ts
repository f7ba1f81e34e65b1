// The keyboard: which key does what, and when a single key may do anything at all.

const isMac = /mac|iphone|ipad/i.test(navigator.platform)

/** The name of the command key on this machine. */
export const commandKey = isMac ? '⌘' : 'Ctrl'

/** Whether the key belongs to what has the focus: a text field, a menu, a dialog. */
export function isTaken(event: KeyboardEvent): boolean {
  const target = event.target
  return (
    event.defaultPrevented ||
    event.isComposing ||
    (target instanceof HTMLElement &&
      (target.isContentEditable ||
        target.closest('input, textarea, select, [role="menu"], [role="dialog"], [role="listbox"]') !== null))
  )
}

export function isPalette(event: KeyboardEvent): boolean {
  return event.key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey
}

export function hasModifier(event: KeyboardEvent): boolean {
  return event.ctrlKey || event.metaKey || event.altKey
}

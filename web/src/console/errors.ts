// What went wrong, in the reader's words. The server's own sentence comes first: it knows more, and it is in the
// language that was asked for.

import { asApiError } from '../lib/api'
import { m } from '../paraglide/messages.js'

export function explain(cause: unknown): string {
  const error = asApiError(cause)
  if (error.detail) return error.detail
  if (error.status === 0) return navigator.onLine ? m.problem_unreachable() : m.problem_offline()
  if (error.status === 403) return m.problem_forbidden()
  if (error.status === 404 || error.status === 410) return m.problem_not_found()
  if (error.status === 413) return m.problem_too_large()
  if (error.status === 429) return m.problem_too_many()
  if (error.status === 507) return m.problem_full()
  if (error.status >= 500) return m.problem_server()
  return m.problem_other()
}

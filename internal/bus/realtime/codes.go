package realtime

import (
	"strconv"
	"time"

	"parley/internal/fault"
)

// The codes with which the hub ends a connection. A client reconnects by itself after 3000–3499 and stays away after
// 3500–3999; the numbers are those of the Centrifuge protocol.
const (
	codeShutdown     = 3001
	codeServerError  = 3004
	codeExpired      = 3005
	codeSlow         = 3008
	codeInsufficient = 3010 // publications may have been missed: connect again and read them
	codeNoPong       = 3012
	codeTooMany      = 3013
	codeInvalidToken = 3500
	codeBadRequest   = 3501
	codeStale        = 3502 // no connect command came
	codeDropped      = 3503
	codeNotAvailable = 3508
)

// unsubscribedByServer is the code of an unsubscribe push after which a client does not subscribe again by itself.
const unsubscribedByServer = 2000

// replyError is an error as clients receive it.
type replyError struct {
	code      int
	message   string
	temporary bool // the client may try again by itself
}

// Errors of the protocol itself; those of the application have HTTP statuses as codes.
var (
	errPermission   = replyError{code: 103, message: "permission denied"}
	errMethod       = replyError{code: 104, message: "method not found"}
	errSubscribed   = replyError{code: 105, message: "already subscribed"}
	errLimit        = replyError{code: 106, message: "limit exceeded"}
	errBadRequest   = replyError{code: 107, message: "bad request"}
	errNotAvailable = replyError{code: 108, message: "not available"}
)

// codeTokenExpired makes a client fetch another token and connect again.
const codeTokenExpired = 109

// tooMany refuses a command over the limit.
func tooMany(wait time.Duration) replyError {
	return replyError{code: 429, message: "too_many_commands" + retryAfter(wait), temporary: true}
}

func retryAfter(wait time.Duration) string {
	if wait <= 0 {
		return ""
	}
	return " retry_after=" + strconv.Itoa(seconds(wait))
}

// seconds rounds up, and up to 1.
func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }

// statuses are the HTTP statuses of the kinds of fault, as package fault documents them.
var statuses = map[fault.Kind]int{
	fault.Internal: 500, fault.Invalid: 422, fault.Malformed: 400, fault.Unauthenticated: 401, fault.Forbidden: 403,
	fault.NotFound: 404, fault.Conflict: 409, fault.Gone: 410, fault.TooLarge: 413, fault.RateLimited: 429,
	fault.Unavailable: 503, fault.Full: 507,
}

// fromFault turns an application's error into what a client may see: status and code, never a cause.
func fromFault(err error) replyError {
	f := fault.Of(err)
	e := replyError{code: statuses[f.Kind], message: f.Code}
	if e.message == "" {
		e.message = f.Kind.String()
	}
	e.message += retryAfter(f.RetryAfter)
	switch f.Kind {
	case fault.Internal, fault.RateLimited, fault.Unavailable, fault.Full:
		e.temporary = true
	}
	return e
}

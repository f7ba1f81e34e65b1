package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"parley/internal/fault"
)

// Document is a problem document (RFC 9457) as Parley writes it. It repeats nothing that the client sent.
type Document struct {
	Type       string       `json:"type,omitempty" doc:"about:blank: the status says which kind it is" example:"about:blank"`
	Title      string       `json:"title" doc:"The status in words" example:"Unprocessable Entity"`
	Status     int          `json:"status" doc:"HTTP status" example:"422"`
	Detail     string       `json:"detail,omitempty" doc:"For people, in the language of Accept-Language"`
	Code       string       `json:"code" doc:"Stable and machine-readable" example:"message_empty"`
	Field      string       `json:"field,omitempty" doc:"JSON name of the one input at fault" example:"body"`
	Object     string       `json:"object,omitempty" doc:"Id of what stands in the way, where it can be asked for"`
	Errors     []FieldError `json:"errors,omitempty" nullable:"false" doc:"Every input at fault, when there are several"`
	RetryAfter int          `json:"retry_after,omitempty" doc:"Seconds until it is worth trying again; also in Retry-After"`
	Request    string       `json:"request,omitempty" doc:"Id of the request, to quote to whoever runs this server"`
}

// FieldError is one input that does not fit the operation's schema.
type FieldError struct {
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail"`
}

// Error returns the code and status.
func (d *Document) Error() string { return d.Code + " (" + strconv.Itoa(d.Status) + ")" }

// GetStatus returns the HTTP status; with it a Document is a huma.StatusError.
func (d *Document) GetStatus() int { return d.Status }

// ContentType is application/problem+json.
func (d *Document) ContentType(string) string { return problemType }

// GetHeaders returns Retry-After where it applies.
func (d *Document) GetHeaders() http.Header {
	h := http.Header{"Cache-Control": {"no-store"}}
	if d.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(d.RetryAfter))
	}
	return h
}

const problemType = "application/problem+json"

// Status returns the HTTP status of a kind. It is the only such mapping; the socket uses it for its error codes.
func Status(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusUnprocessableEntity
	case fault.Malformed:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Gone:
		return http.StatusGone
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.RateLimited:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Full:
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}

// FromFault makes the problem document of an error, for huma handlers that are not mounted by Op. What is internal is
// logged by kind, operation and type of cause, and never shown.
func FromFault(ctx context.Context, err error) huma.StatusError {
	return infoOf(ctx).api.fromFault(ctx, err)
}

func (a *API) fromFault(ctx context.Context, err error) huma.StatusError {
	return a.document(ctx, err)
}

// Problem answers a request with an error, for plain handlers. It must be called before anything is written.
func Problem(w http.ResponseWriter, r *http.Request, err error) {
	a := infoOf(r.Context()).api
	a.write(w, r, a.document(r.Context(), err))
}

func (a *API) document(ctx context.Context, err error) *Document {
	if ready, ok := errors.AsType[*Document](err); ok {
		return a.finish(ctx, ready)
	}
	f := fault.Of(err)
	d := &Document{Status: Status(f.Kind), Code: f.Code, Field: f.Field, Object: f.Object, Detail: f.Text}
	if d.Code == "" {
		d.Code = f.Kind.String()
	}
	if f.RetryAfter > 0 {
		d.RetryAfter = int(math.Ceil(f.RetryAfter.Seconds()))
	}
	if f.Kind == fault.Internal {
		d.Detail, d.Field, d.Object = "", "", ""
	}
	a.logFault(ctx, f)
	return a.finish(ctx, d)
}

// finish fills in what a document says in every case. The given document is not changed.
func (a *API) finish(ctx context.Context, d *Document) *Document {
	out := *d
	out.Type = "about:blank"
	out.Title = http.StatusText(out.Status)
	out.Request = RequestID(ctx)
	out.Detail = a.texts.detail(LocaleOf(ctx), out.Code, out.Detail, out.RetryAfter)
	return &out
}

func (a *API) write(w http.ResponseWriter, r *http.Request, d *Document) {
	d = a.finish(r.Context(), d)
	maps.Copy(w.Header(), d.GetHeaders())
	w.Header().Set("Content-Type", problemType)
	w.Header().Del("Content-Length")
	w.WriteHeader(d.Status)
	if r.Method == http.MethodHead {
		return
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(d) // the client is gone: nobody is left to tell
}

func (a *API) logFault(ctx context.Context, f *fault.Error) {
	var level slog.Level
	switch f.Kind {
	case fault.Internal:
		level = slog.LevelError
	case fault.Unavailable, fault.Full:
		level = slog.LevelWarn
	default:
		return
	}
	if ctx.Err() != nil { // the client left; what failed is that
		level = slog.LevelDebug
	}
	a.log.LogAttrs(ctx, level, "request failed", slog.String("request", RequestID(ctx)), slog.String("op", f.Op),
		slog.String("kind", f.Kind.String()), slog.String("code", f.Code), slog.String("cause", Cause(f.Cause)))
}

// Cause describes an error for a log by its types and database codes alone: messages of libraries may hold values.
func Cause(err error) string {
	var out []string
	for depth := 0; err != nil && depth < 8; depth++ {
		s := strings.TrimPrefix(fmt.Sprintf("%T", err), "*")
		if err == context.Canceled || err == context.DeadlineExceeded { //nolint:errorlint // this link alone: a wrapper's text may hold values
			s = err.Error()
		}
		if c, ok := err.(interface{ SQLState() string }); ok {
			s += " " + c.SQLState()
		}
		if c, ok := err.(interface{ Code() int }); ok {
			s += " " + strconv.Itoa(c.Code())
		}
		if f, ok := err.(*fault.Error); ok { //nolint:errorlint // this link alone: the loop comes to the others
			s += " " + f.Op + " " + f.Code
		}
		if s != "fmt.wrapError" {
			out = append(out, s)
		}
		if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
			err = many.Unwrap()[0]
			continue
		}
		err = errors.Unwrap(err)
	}
	return strings.Join(out, ": ")
}

// transform turns the errors that huma makes itself into Documents of the same shape. It drops the values that huma echoes.
func (a *API) transform(hc huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	d := &Document{Status: m.Status, Code: "malformed"}
	switch m.Status {
	case http.StatusUnprocessableEntity:
		d.Code = "invalid"
	case http.StatusRequestEntityTooLarge:
		d.Code = "body_too_large"
	case http.StatusUnsupportedMediaType:
		d.Code = "media_type"
	case http.StatusRequestTimeout:
		d.Code = "body_timeout"
	case http.StatusInternalServerError:
		d.Code = "internal"
	}
	if d.Code == "invalid" {
		for _, e := range m.Errors {
			if e != nil {
				d.Errors = append(d.Errors, fieldError(e))
			}
		}
		if len(d.Errors) > 0 {
			d.Field = d.Errors[0].Field
			d.Detail = d.Errors[0].Detail
		}
		if len(d.Errors) == 1 {
			d.Errors = nil
		}
	}
	return a.finish(hc.Context(), d), nil
}

// fieldError names the field as the client wrote it: "email", not "body.email". For a missing property huma names only its parent.
func fieldError(e *huma.ErrorDetail) FieldError {
	loc := e.Location
	for _, in := range []string{"body", "query", "path", "header", "cookie"} {
		if rest, ok := strings.CutPrefix(loc, in); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			loc = strings.TrimPrefix(rest, ".")
			break
		}
	}
	if name, ok := strings.CutPrefix(e.Message, "expected required property "); ok {
		name, _, _ = strings.Cut(name, " ")
		loc = strings.TrimPrefix(loc+"."+name, ".")
	}
	// huma's messages hold the schema's bounds, never the value - but for two that quote what a parser made of it.
	msg := e.Message
	if i := strings.Index(msg, ": "); i >= 0 {
		msg = msg[:i]
	}
	return FieldError{Field: loc, Detail: msg}
}

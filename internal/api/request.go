package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// info is what the edge knows of a request; it travels in its context.
type info struct {
	api       *API
	id        string
	addr      netip.Addr // the client, as far as trusted proxies say
	peer      netip.Addr // the other end of the connection
	forwarded bool       // a proxy, trusted or not, says that it forwards
	base      string     // public address of this server, without a final slash
	locale    string
	once      string // Idempotency-Key
	pattern   string // route, filled in by the mux
	refused   bool   // Idempotency-Key too long
	request   *http.Request
}

type infoKey struct{}

// infoOf never returns nil: a context that did not come through Handler gets an API without texts or log.
func infoOf(ctx context.Context) *info {
	if i, ok := ctx.Value(infoKey{}).(*info); ok {
		return i
	}
	return &info{api: &API{texts: &catalogue{}, log: slog.New(slog.DiscardHandler)}, locale: "en"}
}

// RequestID returns the id under which a request is logged, or "".
func RequestID(ctx context.Context) string { return infoOf(ctx).id }

// LocaleOf returns the language to answer in: "en" or another for which there are texts.
func LocaleOf(ctx context.Context) string { return infoOf(ctx).locale }

// ClientAddr returns the address of the client: the peer, or what trusted proxies say. It lives in memory only:
// callers HMAC it or forget it (promise E2). It is the zero Addr where it cannot be known.
func ClientAddr(r *http.Request) netip.Addr { return infoOf(r.Context()).addr }

// ClientAddrOf is ClientAddr for handlers that have only the context.
func ClientAddrOf(ctx context.Context) netip.Addr { return infoOf(ctx).addr }

// Subscriber is what limits by address count as one client: an IPv4 address, or the /64 that an IPv6 subscriber has to itself.
func Subscriber(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}

// PublicURL returns the address under which the client knows this server ("https://chat.example"), without a final slash.
func PublicURL(r *http.Request) string { return infoOf(r.Context()).base }

// PublicURLOf is PublicURL for handlers that have only the context.
func PublicURLOf(ctx context.Context) string { return infoOf(ctx).base }

// Request returns the request being answered, for handlers that must read a header the API does not decode; nil outside one.
func Request(ctx context.Context) *http.Request { return infoOf(ctx).request }

// Secure reports whether the client came by HTTPS.
func Secure(ctx context.Context) bool { return strings.HasPrefix(infoOf(ctx).base, "https://") }

// Nearby reports whether the request came straight from this machine or its private network: the peer's address is
// loopback or private, and no proxy that nobody declared claims to forward for somebody else.
func Nearby(ctx context.Context) bool {
	i := infoOf(ctx)
	if !near(i.peer) {
		return false
	}
	if i.forwarded {
		return i.addr != i.peer && near(i.addr)
	}
	return near(i.addr)
}

func near(a netip.Addr) bool { return a.IsValid() && (a.IsLoopback() || a.IsPrivate()) }

// withInfo reads what the edge needs to know of a request.
func (a *API) withInfo(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := &info{api: a, id: uuid.Must(uuid.NewV7()).String(), locale: a.texts.match(r.Header.Get("Accept-Language"))}
		i.once = r.Header.Get("Idempotency-Key")
		if len(i.once) > maxOnce {
			i.once, i.refused = "", true
		}
		a.origin(i, r)
		w.Header().Set("X-Request-Id", i.id)
		i.request = r.WithContext(context.WithValue(r.Context(), infoKey{}, i))
		next.ServeHTTP(w, i.request)
	})
}

// origin finds the client and the public address. X-Forwarded-* counts only from a trusted proxy.
func (a *API) origin(i *info, r *http.Request) {
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		i.peer = ap.Addr().Unmap().WithZone("")
	}
	i.addr = i.peer
	i.forwarded = len(r.Header["X-Forwarded-For"]) > 0 || len(r.Header["Forwarded"]) > 0
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if a.trusted(i.peer) {
		i.addr = forwardedFor(r.Header["X-Forwarded-For"], i.peer, a.trusted)
		if p := strings.ToLower(lastOf(r.Header["X-Forwarded-Proto"])); p == "http" || p == "https" {
			scheme = p
		}
		if h := lastOf(r.Header["X-Forwarded-Host"]); h != "" {
			host = h
		}
	}
	i.base = a.opt.BaseURL
	if i.base == "" && validHost(host) {
		i.base = scheme + "://" + strings.ToLower(host)
	}
}

func (a *API) trusted(addr netip.Addr) bool {
	for _, p := range a.opt.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// maxHops bounds the work that a hostile header can cause.
const maxHops = 32

// forwardedFor walks the list from its right end, the part that our own proxies wrote, and returns the first address
// that is not a trusted proxy. What cannot be read ends the walk at the last address that could.
func forwardedFor(headers []string, peer netip.Addr, trusted func(netip.Addr) bool) netip.Addr {
	addr, hops := peer, 0
	for _, rest := range slices.Backward(headers) {
		for rest != "" {
			item := rest
			if i := strings.LastIndexByte(rest, ','); i >= 0 {
				item, rest = rest[i+1:], rest[:i]
			} else {
				rest = ""
			}
			if hops++; hops > maxHops {
				return addr
			}
			next, ok := parseAddr(strings.TrimSpace(item))
			if !ok {
				return addr
			}
			addr = next
			if !trusted(addr) {
				return addr
			}
		}
	}
	return addr
}

// parseAddr reads an address with or without a port, IPv6 with or without brackets.
func parseAddr(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, false
	}
	return a.Unmap().WithZone(""), true
}

// lastOf returns the item that the nearest proxy wrote.
func lastOf(headers []string) string {
	if len(headers) == 0 {
		return ""
	}
	v := headers[len(headers)-1]
	return strings.TrimSpace(v[strings.LastIndexByte(v, ',')+1:])
}

// validHost reports whether a Host header is a plain host with an optional port; it ends up in links that people follow.
func validHost(h string) bool {
	if h == "" || len(h) > 255 {
		return false
	}
	for _, c := range h {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune(".-_:[]", c):
		default:
			return false
		}
	}
	u, err := url.Parse("http://" + h)
	return err == nil && u.Host == h && u.Hostname() != ""
}

// cleanBase checks a configured base URL and drops its final slash.
func cleanBase(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || !validHost(u.Host) || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", errors.New("base URL: want https://host or http://host, with an optional port and nothing behind it")
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

// Package egress is the one way out of Parley. Every outbound connection goes to a recipient that the catalogue
// declares, at a host that the operator's configuration bound to it, and the address that the host resolved to is checked
// when the socket connects: a name that leads to loopback, a private network or a cloud's metadata service is refused
// unless the recipient is declared private. A test of the repository forbids every other dialer and HTTP client.
//
// It knows nothing of what is sent: which fields may go to a recipient is the sender's typed payload. It reads no proxy
// settings. Names are resolved by the system's resolver, which is the operator's and no recipient.
package egress

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"parley/catalog"
	"parley/internal/fault"
)

// Options of a Gate.
type Options struct {
	Recipients []catalog.Recipient // everybody that the catalogue declares
	Logger     *slog.Logger        // refusals; nil: silent
	Resolver   *net.Resolver       // nil: the system's
	// MaxResponse is the most bytes of one response's body that a Client reads; 0: 4 MiB.
	MaxResponse int64
}

const (
	connectTimeout     = 10 * time.Second
	defaultMaxResponse = 4 << 20
	maxObserved        = 1024 // pairs of recipient and host; more are counted as otherHosts
	otherHosts         = "(others)"
)

// Gate is the register of recipients and the only dialer. It is safe for concurrent use.
type Gate struct {
	opt Options

	mu         sync.Mutex
	recipients map[string]*recipient
	observed   map[seen]*Connection
}

type recipient struct {
	catalog.Recipient
	hosts []pattern
}

type seen struct{ recipient, host string }

// Connection is what was dialled, or tried.
type Connection struct {
	Recipient string // id; it may be one that nobody declared, when Opened is 0
	Host      string // host:port as the caller named it, or a Unix socket's path
	Opened    int64  // connections made
	Refused   int64  // connections that a rule of this package stopped
}

// New returns a gate that knows the recipients and lets nothing through until Allow binds them to hosts.
func New(opt Options) *Gate {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.MaxResponse <= 0 {
		opt.MaxResponse = defaultMaxResponse
	}
	g := &Gate{opt: opt, recipients: map[string]*recipient{}, observed: map[seen]*Connection{}}
	for _, r := range opt.Recipients {
		g.recipients[r.ID] = &recipient{Recipient: r}
	}
	return g
}

// Allow binds a declared recipient to hosts, in addition to those it has. A host is "name", "name:port", "*.name" (any
// name below it), an address, "[v6]:port", or "unix:/path" for a private recipient; without a port every port is
// meant. Errors: NotFound "recipient_unknown"; Invalid "host_invalid", and "address_not_public" for an address that the recipient may not have.
func (g *Gate) Allow(recipientID string, hosts ...string) error {
	const op = "egress.Allow"
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.recipients[recipientID]
	if r == nil {
		return fault.New(fault.NotFound, op, "recipient_unknown", fmt.Sprintf("no recipient %q is declared", recipientID))
	}
	add := make([]pattern, 0, len(hosts))
	for _, h := range hosts {
		p, err := parsePattern(h)
		if err != nil {
			return fault.Bad(op, "host", "host_invalid", fmt.Sprintf("%s: %q %v", recipientID, h, err))
		}
		if (p.unix != "" && !r.Private) || (p.addr.IsValid() && !r.mayReach(p.addr)) {
			return fault.Bad(op, "host", "address_not_public", fmt.Sprintf("%s: %q is no address that this recipient may have", recipientID, h))
		}
		add = append(add, p)
	}
	// A new slice: dialers read the old one without the lock.
	r.hosts = append(slices.Clone(r.hosts), add...)
	return nil
}

func (r *recipient) mayReach(a netip.Addr) bool {
	if r.Private {
		return private(a)
	}
	return Public(a)
}

// Dialer returns the function through which the recipient's client must connect. It takes the networks tcp, tcp4, tcp6
// and unix, and the host as the operator named it: a client that resolves names itself must be told not to (pgx: LookupFunc).
// A connection that the rules stop is a Forbidden fault with the code "egress_refused"; other errors are the network's own.
func (g *Gate) Dialer(recipientID string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		r, reason := g.admit(recipientID, network, addr)
		if reason != "" {
			return nil, g.refuse(recipientID, addr, reason)
		}
		var refused bool // written by dials in parallel, read when they have ended
		var mu sync.Mutex
		d := net.Dialer{Timeout: connectTimeout, Resolver: g.opt.Resolver,
			ControlContext: func(_ context.Context, network, resolved string, _ syscall.RawConn) error {
				if strings.HasPrefix(network, "unix") {
					return nil // the path was matched exactly
				}
				ap, err := netip.ParseAddrPort(resolved)
				if err != nil || !r.mayReach(ap.Addr()) {
					mu.Lock()
					refused = true
					mu.Unlock()
					return errAddress
				}
				return nil
			}}
		conn, err := d.DialContext(ctx, network, addr)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			if refused {
				return nil, g.refuse(recipientID, addr, "the host resolves to an address that the recipient may not have")
			}
			return nil, err
		}
		g.note(recipientID, addr, func(c *Connection) { c.Opened++ })
		return conn, nil
	}
}

// errAddress ends a dial inside net; callers see the fault made from it.
var errAddress = fault.New(fault.Forbidden, "egress.Dial", "egress_refused", "address not allowed")

// admit returns the recipient when it is declared and bound to the address, or the reason why not.
func (g *Gate) admit(id, network, addr string) (r recipient, reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	have := g.recipients[id]
	if have == nil {
		return r, "no such recipient is declared"
	}
	r = *have
	switch network {
	case "unix":
		for _, p := range r.hosts {
			if p.unix != "" && p.unix == addr {
				return r, ""
			}
		}
		return r, "the socket is not bound to the recipient"
	case "tcp", "tcp4", "tcp6":
	default:
		return r, "only tcp and unix are let through"
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return r, "the address is not host:port"
	}
	for _, p := range r.hosts {
		if p.matches(host, port) {
			return r, ""
		}
	}
	return r, "the host is not bound to the recipient"
}

// refuse counts and logs a refusal. Neither the log nor the error holds the resolved address: whoever chose the host
// would learn about the network behind it.
func (g *Gate) refuse(id, addr, reason string) error {
	g.note(id, addr, func(c *Connection) { c.Refused++ })
	g.opt.Logger.Warn("outbound connection refused", "recipient", id, "reason", reason)
	return fault.New(fault.Forbidden, "egress.Dial", "egress_refused", fmt.Sprintf("outbound connection to %s refused: %s", id, reason))
}

func (g *Gate) note(id, addr string, count func(*Connection)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := seen{id, addr}
	if g.observed[key] == nil && len(g.observed) >= maxObserved {
		key.host = otherHosts
	}
	c := g.observed[key]
	if c == nil {
		c = &Connection{Recipient: key.recipient, Host: key.host}
		g.observed[key] = c
	}
	count(c)
}

// Observed returns what was dialled since the start, by recipient and host.
func (g *Gate) Observed() []Connection {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]Connection, 0, len(g.observed))
	for _, c := range g.observed {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b Connection) int {
		return strings.Compare(a.Recipient+" "+a.Host, b.Recipient+" "+b.Host)
	})
	return out
}

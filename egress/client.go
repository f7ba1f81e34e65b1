package egress

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"time"

	"parley/internal/fault"
)

const (
	maxRedirects   = 5
	maxHeaderBytes = 64 << 10
	handshakeLimit = 10 * time.Second
	idleLimit      = 90 * time.Second
	maxIdle        = 16
)

// Client returns an HTTP client for the recipient; make one per recipient and keep it. timeout bounds a whole exchange,
// body included. It follows redirects within one origin only, wants https unless the recipient is private, and fails the read
// of a body beyond Options.MaxResponse with a TooLarge fault "response_too_large". The errors of net/http name
// the URL: callers log the fault inside them, never the whole.
func (g *Gate) Client(recipientID string, timeout time.Duration) *http.Client {
	return g.ClientTrusting(recipientID, timeout, nil)
}

// ClientTrusting is Client for a recipient whose certificate is signed by one of roots; nil: by whom the system trusts.
func (g *Gate) ClientTrusting(recipientID string, timeout time.Duration, roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &guarded{gate: g, recipient: recipientID, next: &http.Transport{
			Proxy:                  nil, // a proxy would resolve names where nobody checks the address
			DialContext:            g.Dialer(recipientID),
			ForceAttemptHTTP2:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:    handshakeLimit,
			IdleConnTimeout:        idleLimit,
			MaxIdleConnsPerHost:    maxIdle,
			MaxResponseHeaderBytes: maxHeaderBytes,
		}},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			last := via[len(via)-1].URL
			if req.URL.Scheme != last.Scheme || req.URL.Host != last.Host {
				return g.refuse(recipientID, req.URL.Host, "the answer redirects elsewhere")
			}
			if len(via) > maxRedirects {
				return fault.New(fault.Unavailable, "egress.Client", "too_many_redirects", fmt.Sprintf("%s redirects without end", recipientID))
			}
			return nil
		},
	}
}

// guarded refuses plain HTTP to public recipients and limits what is read of an answer.
type guarded struct {
	gate      *Gate
	recipient string
	next      *http.Transport
}

func (t *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !t.gate.isPrivate(t.recipient) {
		closeBody(req.Body)
		return nil, t.gate.refuse(t.recipient, req.URL.Host, "only https is let through")
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, nil // the body is the connection now, and its reader sets the limits
	}
	resp.Body = &limited{body: resp.Body, left: t.gate.opt.MaxResponse, recipient: t.recipient}
	return resp, nil
}

// CloseIdleConnections makes http.Client.CloseIdleConnections work.
func (t *guarded) CloseIdleConnections() { t.next.CloseIdleConnections() }

func (g *Gate) isPrivate(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.recipients[id]
	return r != nil && r.Private
}

// limited fails, instead of pretending the end, when a body is longer than allowed. It counts after decompression.
type limited struct {
	body      io.ReadCloser
	left      int64
	recipient string
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.body.Read(p)
	if int64(n) > l.left {
		n = int(l.left)
		l.left = 0
		return n, fault.New(fault.TooLarge, "egress.Client", "response_too_large", fmt.Sprintf("%s answered with more than is read", l.recipient))
	}
	l.left -= int64(n)
	return n, err
}

func (l *limited) Close() error { return l.body.Close() }

func closeBody(b io.Closer) {
	if b != nil {
		_ = b.Close()
	}
}

package app

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"sync"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

const challengePath = "/.well-known/acme-challenge/"

// proofs are what a certificate authority wants to see under a name before it gives a certificate: a text by HTTP (RFC 8555,
// section 8.3), or a certificate in a handshake (RFC 8737). They are here for the seconds that it takes.
type proofs struct {
	mu    sync.Mutex
	texts map[string]string           // by token
	certs map[string]*tls.Certificate // by name
}

func newProofs() *proofs {
	return &proofs{texts: map[string]string{}, certs: map[string]*tls.Certificate{}}
}

// Present makes a proof ready.
func (p *proofs) Present(_ context.Context, c acme.Challenge) error {
	if c.Type == challengeHTTP {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.texts[c.Token] = c.KeyAuthorization
		return nil
	}
	cert, err := acmez.TLSALPN01ChallengeCert(c)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.certs[c.Identifier.Value] = cert
	return nil
}

// CleanUp forgets a proof.
func (p *proofs) CleanUp(_ context.Context, c acme.Challenge) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.Type == challengeHTTP {
		delete(p.texts, c.Token)
	} else {
		delete(p.certs, c.Identifier.Value)
	}
	return nil
}

func (p *proofs) certificate(name string) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.certs[name]; c != nil {
		return c, nil
	}
	return nil, errNoCertificate
}

// serve answers for a token. A path below challengePath is the authority's, whether there is a proof or not.
func (p *proofs) serve(w http.ResponseWriter, r *http.Request) bool {
	token, ok := strings.CutPrefix(r.URL.Path, challengePath)
	if !ok {
		return false
	}
	p.mu.Lock()
	text := p.texts[token]
	p.mu.Unlock()
	if text == "" || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
		http.Error(w, "No such proof.", http.StatusNotFound)
		return true
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write([]byte(text)) // the authority has gone
	return true
}

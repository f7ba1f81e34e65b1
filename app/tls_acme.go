package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"parley/internal/fault"
)

// certsDir is where certificates by ACME are kept, with their keys and the account's.
const certsDir = "certs"

// acmeCerts are certificates that an authority gives for the names of --domain, and renews. certmagic keeps and renews them;
// how they are asked for is in tls_issuer.go, so that every connection goes through package egress.
//
// Revocation by OCSP is not stapled: certmagic would ask the responder by a client of its own, and Let's Encrypt
// has had no responder since 2025. Certificates are short-lived instead.
type acmeCerts struct {
	names  []string
	magic  *certmagic.Config
	cache  *certmagic.Cache
	issuer *issuer
	proofs *proofs
	log    *slog.Logger
}

// openACME loads the certificates that there are; run gets the others.
func (s *server) openACME(ctx context.Context, names []string) (*acmeCerts, error) {
	store, err := openCertStore(filepath.Join(s.cfg.Data, certsDir))
	if err != nil {
		return nil, err
	}
	c := &acmeCerts{names: names, proofs: newProofs(), log: s.log}
	client, err := s.acmeClient()
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	solvers := map[string]acmez.Solver{challengeTLSALPN: c.proofs}
	if s.cfg.HTTPRedirect != off {
		solvers[challengeHTTP] = c.proofs
	}
	c.issuer = newIssuer(client, s.cfg.ACMEEmail, solvers, store, s.log)
	logger := zap.New(quietZap{zapcore.WarnLevel, s.log})
	c.cache = certmagic.NewCache(certmagic.CacheOptions{Logger: logger,
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return c.magic, nil }})
	c.magic = certmagic.New(c.cache, certmagic.Config{Storage: store, Issuers: []certmagic.Issuer{c.issuer}, Logger: logger,
		OCSP: certmagic.OCSPConfig{DisableStapling: true}, DefaultServerName: names[0], OnEvent: c.event})
	s.closing(func() error {
		c.cache.Stop()
		return store.Close()
	})
	for _, name := range names {
		if _, err := c.magic.CacheManagedCertificate(ctx, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(fault.Unavailable, "app.openACME", "certs_damaged", "The certificate of "+name+" in "+filepath.Join(s.cfg.Data, certsDir)+
				" cannot be read. Remove that directory: Parley gets a new one.")
		}
	}
	return c, nil
}

// acmeClient speaks to the certificate authority, through egress.
func (s *server) acmeClient() (*directoryClient, error) {
	d := &directoryClient{url: certmagic.LetsEncryptProductionCA}
	recipient := "acme"
	var roots *x509.CertPool
	if s.cfg.ACMECA != "" {
		d.url, recipient = s.cfg.ACMECA, "acme-own"
	}
	if s.cfg.ACMERoot != "" {
		text, err := os.ReadFile(s.cfg.ACMERoot)
		if err != nil {
			return nil, bad("acme-ca-root", "tls_unreadable", unreadable(s.cfg.ACMERoot, err))
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(text) {
			return nil, bad("acme-ca-root", "tls_no_certificate", "the file holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
		}
	}
	u, err := url.Parse(d.url)
	if err != nil {
		return nil, bad("acme-ca", "acme_ca", "it is the address of an ACME directory, such as https://ca.example/acme/directory")
	}
	host := u.Host
	if u.Port() == "" {
		host += ":443"
	}
	if err := s.gate.Allow(recipient, host); err != nil {
		return nil, bad("acme-ca", fault.Of(err).Code, fault.Of(err).Text)
	}
	d.http = s.gate.ClientTrusting(recipient, acmeTimeout, roots)
	return d, nil
}

func (c *acmeCerts) covers(host string) bool { return slices.Contains(c.names, strings.ToLower(host)) }

func (c *acmeCerts) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	switch {
	case slices.Contains(hello.SupportedProtos, acmez.ACMETLS1Protocol):
		return c.proofs.certificate(name)
	case name != "" && !c.covers(name):
		return nil, errNoCertificate
	}
	return c.magic.GetCertificate(hello)
}

// errNoCertificate ends a handshake for a name that is none of ours.
var errNoCertificate = errors.New("no certificate for that name")

func (c *acmeCerts) challenge(w http.ResponseWriter, r *http.Request) bool {
	return c.proofs.serve(w, r)
}

func (c *acmeCerts) until() (first time.Time) {
	for _, name := range c.names {
		var last time.Time
		for _, cert := range c.cache.AllMatchingCertificates(name) {
			if cert.Leaf != nil && cert.Leaf.NotAfter.After(last) {
				last = cert.Leaf.NotAfter
			}
		}
		if last.IsZero() {
			return last
		}
		if first.IsZero() || last.Before(first) {
			first = last
		}
	}
	return first
}

// run gets the certificates that are missing, trying again until it has them, and renews those that are due; from then on
// the cache renews them by itself. SIGHUP means: try now.
func (c *acmeCerts) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.issuer.hurry(ctx) })
	for _, name := range c.names {
		if len(c.cache.AllMatchingCertificates(name)) > 0 {
			continue
		}
		wg.Go(func() { c.obtain(ctx, name) })
	}
	if err := c.cache.RenewManagedCertificates(ctx); err != nil && ctx.Err() == nil {
		c.log.Error("certificates that are due could not be renewed; it is tried again", "code", "renewal")
	}
	<-ctx.Done()
	return nil
}

// obtain returns when the certificate is there, or ctx ended.
func (c *acmeCerts) obtain(ctx context.Context, name string) {
	for {
		err := c.magic.ObtainCertSync(ctx, name)
		if err == nil {
			_, err = c.magic.CacheManagedCertificate(ctx, name)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		wait, hurry := c.issuer.pause(name)
		if !strings.HasPrefix(fault.Of(err).Code, acmeFault) { // the authority gave one
			c.log.Error("the certificate could not be kept: is the disk full, or the data directory not writable?", "code", "certs_write", "url", "https://"+name)
			wait = pauseAway
		}
		select {
		case <-time.After(wait):
		case <-hurry:
		case <-ctx.Done():
			return
		}
	}
}

// event hears from certmagic.
func (c *acmeCerts) event(_ context.Context, event string, data map[string]any) error {
	if event == "cert_obtained" {
		name, _ := data["identifier"].(string)
		renewed, _ := data["renewal"].(bool)
		what := "certificate obtained"
		if renewed {
			what = "certificate renewed"
		}
		c.log.Info(what, "url", "https://"+name)
	}
	return nil
}

// quietZap takes what certmagic would print. It holds addresses of clients, so only that there was something is kept
// (promises E2, E3); what an operator must know is said in our own words where it happens.
type quietZap struct {
	zapcore.LevelEnabler
	to *slog.Logger
}

// With forgets the fields.
func (q quietZap) With([]zapcore.Field) zapcore.Core { return q }

// Check asks for what is at or above the level.
func (q quietZap) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if q.Enabled(e.Level) {
		return ce.AddCore(e, q)
	}
	return ce
}

// Write notes that there was something.
func (q quietZap) Write(zapcore.Entry, []zapcore.Field) error {
	q.to.Debug("a library complained", "kind", "certificates")
	return nil
}

// Sync has nothing to do.
func (quietZap) Sync() error { return nil }

func newAccountKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

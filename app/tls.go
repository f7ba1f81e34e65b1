package app

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
)

// certificates is where the server's certificate comes from: an authority (tls_acme.go) or files (tls_files.go).
type certificates interface {
	// get returns the certificate for a handshake.
	get(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
	// covers reports whether the certificate is for the host name.
	covers(host string) bool
	// challenge answers a request of the certificate authority over plain HTTP, and reports whether it was one.
	challenge(w http.ResponseWriter, r *http.Request) bool
	// until is when the certificate that is in use ends; zero while there is none.
	until() time.Time
	// run keeps the certificate fresh until ctx ends.
	run(ctx context.Context) error
}

// tlsFlags declares where certificates come from: what the public address follows from.
func (c *Config) tlsFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Domain, "domain", "", "public host `name` of this server: Parley gets a certificate for it by ACME (Let's Encrypt) and listens on ports 443 and 80; several with commas")
	fs.StringVar(&c.TLSCert, "tls-cert", "", "`file` with your own certificate and its chain, in PEM, in place of --domain; read again when it changes")
	fs.StringVar(&c.TLSKey, "tls-key", "", "`file` with the key of --tls-cert, in PEM")
}

// acmeFlags declares how certificates are got, and what becomes of plain HTTP.
func (c *Config) acmeFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.ACMEEmail, "acme-email", "", "`address` that the certificate authority may write to; it is sent to the authority, and to nobody else")
	fs.StringVar(&c.ACMECA, "acme-ca", "", "directory `URL` of another ACME certificate authority (default Let's Encrypt)")
	fs.StringVar(&c.ACMERoot, "acme-ca-root", "", "`file` with the root certificate of --acme-ca, in PEM, if this machine does not trust it already")
	fs.StringVar(&c.HTTPRedirect, "http-redirect", "", "`host:port` where plain HTTP is answered with the way to HTTPS, and the certificate authority with its proof; or off (default :80 with --domain)")
}

// ownTLS reports whether this server speaks HTTPS itself.
func (c *Config) ownTLS() bool { return c.Domain != "" || c.TLSCert != "" }

// resolveTLS fills in what follows from having a certificate, and refuses what contradicts itself.
func (c *Config) resolveTLS() error {
	names, err := c.domains()
	if err != nil {
		return err
	}
	if err := c.checkTLS(names); err != nil {
		return err
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8080"
		if c.ownTLS() {
			c.Listen = ":443"
		}
	}
	if len(names) == 0 {
		return nil
	}
	if c.BaseURL == "" {
		c.BaseURL = "https://" + names[0]
	}
	if c.HTTPRedirect == "" {
		host, _, _ := net.SplitHostPort(c.Listen) // checkListen refuses what cannot be read
		c.HTTPRedirect = net.JoinHostPort(host, "80")
	}
	return nil
}

func (c *Config) checkTLS(names []string) error {
	acme := map[string]string{"acme-email": c.ACMEEmail, "acme-ca": c.ACMECA, "acme-ca-root": c.ACMERoot}
	switch {
	case len(names) > 0 && c.TLSCert+c.TLSKey != "":
		return bad("domain", "tls_twice", "a certificate comes from an authority (--domain) or from files (--tls-cert and --tls-key), not from both")
	case c.TLSCert != "" && c.TLSKey == "":
		return bad("tls-key", "tls_half", "--tls-cert has the certificate with its chain, --tls-key has its key; both are needed, in PEM")
	case c.TLSCert == "" && c.TLSKey != "":
		return bad("tls-cert", "tls_half", "--tls-cert has the certificate with its chain, --tls-key has its key; both are needed, in PEM")
	case c.ownTLS() && strings.HasPrefix(c.BaseURL, "http://"):
		return bad("base-url", "base_url_plain", "this server speaks HTTPS, so its public address begins with https://")
	case !c.ownTLS() && c.HTTPRedirect != "" && c.HTTPRedirect != off:
		return bad("http-redirect", "redirect_nowhere", "there is no HTTPS to redirect to: it needs --domain, or --tls-cert and --tls-key")
	case c.ACMERoot != "" && c.ACMECA == "":
		return bad("acme-ca-root", "acme_root", "it belongs to --acme-ca")
	}
	for _, flag := range []string{"acme-email", "acme-ca", "acme-ca-root"} {
		if acme[flag] != "" && len(names) == 0 {
			return bad(flag, "acme_without_domain", "it says how to get a certificate for --domain, which is not set")
		}
	}
	if c.HTTPRedirect != "" && c.HTTPRedirect != off {
		if _, port, err := net.SplitHostPort(c.HTTPRedirect); err != nil || port == "" {
			return bad("http-redirect", "redirect_invalid", "it has the form host:port, such as :80, or is off")
		}
	}
	if a, err := mail.ParseAddress(c.ACMEEmail); c.ACMEEmail != "" && (err != nil || a.Address != c.ACMEEmail) {
		return bad("acme-email", "acme_email", "it is one plain e-mail address, such as ops@chat.example")
	}
	if u, err := url.Parse(c.ACMECA); c.ACMECA != "" && (err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil) {
		return bad("acme-ca", "acme_ca", "it is the address of an ACME directory, such as https://ca.example/acme/directory")
	}
	if u, err := url.Parse(c.BaseURL); len(names) > 0 && c.BaseURL != "" && (err != nil || !slices.Contains(names, u.Hostname())) {
		return bad("base-url", "base_url_domain", "its host is not among the names of --domain, so the certificate would not be for it")
	}
	return nil
}

// domainName is a host name in the form that certificates have it.
var domainName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// domains returns the names of --domain, the first being the public one.
func (c *Config) domains() (names []string, err error) {
	for _, s := range strings.FieldsFunc(c.Domain, func(r rune) bool { return r == ',' || r == ' ' }) {
		name := strings.ToLower(strings.TrimSuffix(s, "."))
		_, err := netip.ParseAddr(name)
		switch {
		case err == nil:
			return nil, bad("domain", "domain_address", fmt.Sprintf("%s is an address; a certificate by ACME is for a host name, such as chat.example", s))
		case strings.HasPrefix(name, "*."):
			return nil, bad("domain", "domain_wildcard", "name each host: authorities give certificates for *.… to whoever can change the domain's name server, which Parley cannot. "+
				"Your own wildcard certificate goes into --tls-cert and --tls-key")
		case !domainName.MatchString(name) || len(name) > 253:
			return nil, bad("domain", "domain_invalid", fmt.Sprintf("%q is no host name such as chat.example (international names are written in their xn-- form)", s))
		case c.ACMECA == "" && (!strings.Contains(name, ".") || !certmagic.SubjectQualifiesForPublicCert(name)):
			return nil, bad("domain", "domain_private", fmt.Sprintf("%s is no name on the public internet, for which Let's Encrypt gives certificates. "+
				"Use a certificate authority of your own (--acme-ca), or files (--tls-cert and --tls-key)", s))
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 && c.Domain != "" {
		return nil, bad("domain", "domain_invalid", "it is a host name such as chat.example")
	}
	return names, nil
}

// openTLS makes the certificates ready, if this server has any.
func (s *server) openTLS(ctx context.Context) (err error) {
	names, err := s.cfg.domains()
	switch {
	case err != nil:
		return err
	case len(names) > 0:
		s.certs, err = s.openACME(ctx, names)
	case s.cfg.TLSCert != "":
		s.certs, err = openCertFiles(s.cfg.TLSCert, s.cfg.TLSKey, s.log)
	}
	return err
}

// suites are those of TLS 1.2 that have forward secrecy and authenticated encryption; those of TLS 1.3 all do.
func suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// tlsConfig is for whatever speaks TLS under the server's name (promise I6): nil without a certificate. Keys of session tickets
// are Go's to rotate, daily.
func (s *server) tlsConfig() *tls.Config {
	if s.certs == nil {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: suites(), GetCertificate: s.certs.get}
}

// webTLS is tlsConfig for HTTPS. Sockets come by HTTP/1.1, which browsers choose for them.
func (s *server) webTLS() *tls.Config {
	cfg := s.tlsConfig()
	if cfg != nil {
		cfg.NextProtos = []string{"h2", "http/1.1"}
		if s.cfg.Domain != "" {
			cfg.NextProtos = append(cfg.NextProtos, acmez.ACMETLS1Protocol)
		}
	}
	return cfg
}

// certificateEnd is the time at which the certificate in use ends, for monitoring: 0 without one.
func (s *server) certificateEnd() float64 {
	if s.certs == nil || s.certs.until().IsZero() {
		return 0
	}
	return float64(s.certs.until().Unix())
}

package app

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"parley/internal/fault"
)

const (
	acmeTimeout = 30 * time.Second // one exchange with the authority
	acmePoll    = 3 * time.Minute  // until it has made up its mind
	userAgent   = "Parley"

	// After a failure: soon, twice; then with a pause that Let's Encrypt bears, which allows five refusals an hour, when a
	// try may be two of them.
	retrySoon    = time.Minute
	retrySoonFor = 2
	pauseAway    = 10 * time.Minute
	pauseRefused = 25 * time.Minute

	acmeFault = "acme_" // begins the code of every error of the issuer

	challengeHTTP    = acme.ChallengeTypeHTTP01
	challengeTLSALPN = acme.ChallengeTypeTLSALPN01
)

// directoryClient is where the authority is, and how to speak to it.
type directoryClient struct {
	url  string
	http *http.Client
}

// issuer gets certificates from an ACME authority (RFC 8555). It is certmagic's Issuer; certmagic's own would make its HTTP
// client itself.
type issuer struct {
	acme  *acmez.Client
	email string
	store certmagic.Storage
	log   *slog.Logger

	account sync.Mutex // held while the account is looked up or made
	mu      sync.Mutex
	failed  map[string]failure
	now     chan struct{} // closed and replaced when somebody is in a hurry
}

// failure is how often in a row there was no certificate for a name, and whether the last time the authority refused it.
type failure struct {
	count   int
	refused bool
	last    time.Time
}

func newIssuer(c *directoryClient, email string, solvers map[string]acmez.Solver, store certmagic.Storage, log *slog.Logger) *issuer {
	return &issuer{acme: &acmez.Client{ChallengeSolvers: solvers, Client: &acme.Client{Directory: c.url, HTTPClient: c.http, UserAgent: userAgent, PollTimeout: acmePoll}},
		email: email, store: store, log: log, failed: map[string]failure{}, now: make(chan struct{})}
}

// IssuerKey names the authority in the store.
func (i *issuer) IssuerKey() string {
	u, err := url.Parse(i.acme.Directory)
	if err != nil {
		return "acme"
	}
	return strings.Trim(u.Host+strings.ReplaceAll(u.Path, "/", "-"), "-")
}

// Issue gets the certificate that csr asks for.
func (i *issuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	name := strings.Join(csr.DNSNames, ",")
	if wait, _ := i.pause(name); wait > 0 {
		return nil, errTooSoon // certmagic comes again with the next look at what is due
	}
	chain, err := i.obtain(ctx, csr)
	if problem, ok := errors.AsType[acme.Problem](err); ok && problem.Type == acme.ProblemTypeAccountDoesNotExist {
		// The authority was set up anew; so is the account.
		if err = i.store.Delete(ctx, i.accountKey()); err == nil {
			chain, err = i.obtain(ctx, csr)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		text, code, refused := acmeTrouble(err)
		i.failed[name] = failure{i.failed[name].count + 1, refused, time.Now()}
		i.log.Error("no certificate yet: "+text, "url", "https://"+name, "code", code)
		return nil, fault.New(fault.Unavailable, "app.Issue", acmeFault+code, text) // and nothing of what the authority wrote
	}
	delete(i.failed, name)
	return &certmagic.IssuedCertificate{Certificate: chain.ChainPEM, Metadata: chain}, nil
}

func (i *issuer) obtain(ctx context.Context, csr *x509.CertificateRequest) (chain acme.Certificate, err error) {
	account, err := i.useAccount(ctx)
	if err != nil {
		return chain, err
	}
	order, err := acmez.OrderParametersFromCSR(account, csr)
	if err != nil {
		return chain, err
	}
	chains, err := i.acme.ObtainCertificate(ctx, order)
	if err != nil {
		return chain, err
	}
	if len(chains) == 0 {
		return chain, errors.New("the authority sent no certificate")
	}
	return chains[0], nil
}

// GetRenewalInfo asks when the authority would like the certificate to be renewed (RFC 9773).
func (i *issuer) GetRenewalInfo(ctx context.Context, cert certmagic.Certificate) (acme.RenewalInfo, error) {
	return i.acme.GetRenewalInfo(ctx, cert.Leaf)
}

var errTooSoon = fault.New(fault.RateLimited, "app.Issue", acmeFault+"pause", "the certificate authority is given a pause")

// pause is how long to wait before the authority is asked for the name again, and what ends the wait before.
func (i *issuer) pause(name string) (wait time.Duration, hurry <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f, ok := i.failed[name]
	wait = pauseAway
	switch {
	case !ok:
		return 0, i.now
	case f.count <= retrySoonFor:
		wait = retrySoon
	case f.refused:
		wait = pauseRefused
	}
	return time.Until(f.last.Add(wait)), i.now
}

// hurry ends every pause on SIGHUP: the operator has mended something.
func (i *issuer) hurry(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			i.mu.Lock()
			clear(i.failed)
			close(i.now)
			i.now = make(chan struct{})
			i.mu.Unlock()
		}
	}
}

// acmeAccount is the account as it is stored.
type acmeAccount struct {
	Location string   `json:"location"`
	Contact  []string `json:"contact,omitempty"`
	Key      string   `json:"key"` // PEM
}

func (i *issuer) accountKey() string { return "acme/" + i.IssuerKey() + "/account.json" }

// useAccount returns the account at the authority, and makes it the first time. Giving --domain agrees to the authority's terms;
// the operator's manual says so.
func (i *issuer) useAccount(ctx context.Context) (a acme.Account, err error) {
	i.account.Lock()
	defer i.account.Unlock()
	var contact []string
	if i.email != "" {
		contact = []string{"mailto:" + i.email}
	}
	text, err := i.store.Load(ctx, i.accountKey())
	switch {
	case err == nil:
		return i.storedAccount(ctx, text, contact)
	case !errors.Is(err, fs.ErrNotExist):
		return a, err
	}
	key, err := newAccountKey()
	if err != nil {
		return a, err
	}
	if a, err = i.acme.NewAccount(ctx, acme.Account{Contact: contact, TermsOfServiceAgreed: true, PrivateKey: key}); err != nil {
		return a, err
	}
	return a, i.keepAccount(ctx, a, contact)
}

// storedAccount brings back what keepAccount kept, and tells the authority when the operator's e-mail address is another.
func (i *issuer) storedAccount(ctx context.Context, text []byte, contact []string) (a acme.Account, err error) {
	var have acmeAccount
	if err := json.Unmarshal(text, &have); err != nil {
		return a, errAccount
	}
	key, err := certmagic.PEMDecodePrivateKey([]byte(have.Key))
	if err != nil {
		return a, errAccount
	}
	a = acme.Account{Status: acme.StatusValid, Contact: have.Contact, Location: have.Location, PrivateKey: key}
	if strings.Join(have.Contact, " ") == strings.Join(contact, " ") {
		return a, nil
	}
	a.Contact = contact
	if a.Contact == nil {
		a.Contact = []string{}
	}
	if _, err := i.acme.UpdateAccount(ctx, a); err != nil {
		return a, err
	}
	return a, i.keepAccount(ctx, a, contact)
}

func (i *issuer) keepAccount(ctx context.Context, a acme.Account, contact []string) error {
	key, err := certmagic.PEMEncodePrivateKey(a.PrivateKey)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(acmeAccount{Location: a.Location, Contact: contact, Key: string(key)}, "", "  ")
	if err != nil {
		return err
	}
	return i.store.Store(ctx, i.accountKey(), text)
}

var errAccount = fault.New(fault.Unavailable, "app.acme", "account_damaged", "the account's file below certs/acme in the data directory cannot be read: remove it, and a new account is made")

// acmeTrouble says what an operator can do about a failure, and whether the authority could not be convinced (and so counts it).
// The authority's own words are left out: they hold what a stranger's server may have answered.
func acmeTrouble(err error) (text, code string, refused bool) {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		if f.Code == "egress_refused" {
			return "the address of the certificate authority is not allowed: Let's Encrypt must be on the public internet, --acme-ca may be anywhere, and its directory may name no other host", f.Code, false
		}
		return f.Text, f.Code, false
	}
	problem, ok := errors.AsType[acme.Problem](err)
	if !ok {
		return acmeAway(err)
	}
	code = strings.TrimPrefix(problem.Type, acme.ProblemTypeNamespace)
	switch problem.Type {
	case acme.ProblemTypeConnection, acme.ProblemTypeTLS:
		return "the certificate authority could not reach this server under its name. Ports 80 and 443 of the name's public address must lead here, " +
			"through every router and firewall, by IPv6 too if the name has an AAAA record", code, true
	case acme.ProblemTypeDNS:
		return "the certificate authority found no address for the name. It needs an A or AAAA record that leads here", code, true
	case acme.ProblemTypeUnauthorized, acme.ProblemTypeIncorrectResponse:
		return "another server answered under the name. Its A and AAAA records must lead here, and to nobody else", code, true
	case acme.ProblemTypeCAA:
		return "the name's CAA record allows other certificate authorities only", code, true
	case acme.ProblemTypeRateLimited:
		return "the certificate authority was asked too often, and will answer again in some hours. Parley keeps trying", code, true
	case acme.ProblemTypeRejectedIdentifier, acme.ProblemTypeUnsupportedIdentifier:
		return "the certificate authority gives no certificate for such a name", code, true
	case acme.ProblemTypeInvalidContact, acme.ProblemTypeUnsupportedContact:
		return "the certificate authority does not accept the address in --acme-email", code, true
	case acme.ProblemTypeExternalAccountRequired:
		return "this certificate authority serves customers it knows only (external account binding), which Parley cannot prove to be", code, true
	}
	if !acmeCode(code) {
		code = "unknown"
	}
	return "the certificate authority refused", code, true
}

// acmeCode reports whether an error's name looks like one: it comes from another server and goes into the log.
func acmeCode(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != "" && len(s) <= 40
}

func acmeAway(err error) (text, code string, refused bool) {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "this machine does not trust the certificate authority's own certificate: give its root with --acme-ca-root", "untrusted", false
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the certificate authority's own certificate is for another name: --acme-ca must name the host as its certificate does", "untrusted", false
	}
	return "the certificate authority does not answer. Parley must be able to open connections to it (port 443, and DNS)", "away", false
}

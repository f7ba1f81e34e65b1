package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"parley/internal/fault"
)

const (
	certCheck   = 2 * time.Second     // how often the files are looked at
	certWarning = 14 * 24 * time.Hour // before its end a certificate is warned of, daily
)

// certFiles is a certificate in files. They are read again when they change, and on SIGHUP; what cannot be used is said in the
// log, and the certificate before it stays.
type certFiles struct {
	cert, key string
	log       *slog.Logger
	now       atomic.Pointer[tls.Certificate]

	// Of run only.
	judged  pemFiles // what was loaded, or refused
	pending pemFiles // what was found at the last look: files are judged when they are found twice, for they are written one after the other
	warned  time.Time
}

type pemFiles struct{ cert, key []byte }

func (p pemFiles) equal(q pemFiles) bool {
	return bytes.Equal(p.cert, q.cert) && bytes.Equal(p.key, q.key)
}

// checkCertFiles refuses files that cannot be used before anything else is begun.
func (c *Config) checkCertFiles() error {
	if c.TLSCert == "" {
		return nil
	}
	_, _, err := loadCertFiles(c.TLSCert, c.TLSKey)
	return err
}

func openCertFiles(cert, key string, log *slog.Logger) (*certFiles, error) {
	f := &certFiles{cert: cert, key: key, log: log}
	files, loaded, err := loadCertFiles(cert, key)
	if err != nil {
		return nil, err
	}
	f.judged, f.pending = files, files
	f.now.Store(loaded)
	if err := inTime(loaded); err != nil {
		log.Error("browsers will refuse this server: "+fault.Of(err).Text, "code", fault.Of(err).Code)
	}
	f.warn()
	return f, nil
}

// loadCertFiles reads the two files. Its errors are fixed words: a library would quote what it read.
func loadCertFiles(certFile, keyFile string) (files pemFiles, c *tls.Certificate, err error) {
	if files.cert, err = os.ReadFile(certFile); err != nil {
		return files, nil, bad("tls-cert", "tls_unreadable", unreadable(certFile, err))
	}
	if files.key, err = os.ReadFile(keyFile); err != nil {
		return files, nil, bad("tls-key", "tls_unreadable", unreadable(keyFile, err))
	}
	c, err = parseCertFiles(files)
	return files, c, err
}

func parseCertFiles(files pemFiles) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(files.cert, files.key)
	switch {
	case err != nil && !bytes.Contains(files.cert, []byte("-----BEGIN CERTIFICATE-----")):
		return nil, bad("tls-cert", "tls_no_certificate", "the file holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
	case err != nil && !bytes.Contains(files.key, []byte("PRIVATE KEY-----")):
		return nil, bad("tls-key", "tls_no_key", "the file holds no private key in PEM (-----BEGIN PRIVATE KEY-----)")
	case err != nil && bytes.Contains(files.key, []byte("ENCRYPTED")):
		return nil, bad("tls-key", "tls_key_encrypted", "the key has a passphrase; Parley starts by itself and needs one without")
	case err != nil:
		return nil, bad("tls-key", "tls_mismatch", "certificate and key do not belong together, or one of them is damaged. The server's own certificate comes first in --tls-cert, then its chain")
	}
	return &pair, nil
}

// inTime says what is wrong with a certificate that is not valid now. At the start it is used all the same: a server that
// is down would not notice the new one.
func inTime(c *tls.Certificate) error {
	switch now := time.Now(); {
	case now.Before(c.Leaf.NotBefore):
		return bad("tls-cert", "tls_not_yet", "the certificate is valid from "+day(c.Leaf.NotBefore)+" on only: is this machine's clock right?")
	case now.After(c.Leaf.NotAfter):
		return bad("tls-cert", "tls_expired", "the certificate ended on "+day(c.Leaf.NotAfter)+": put a new one in its place")
	}
	return nil
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func unreadable(file string, err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return file + " is not there"
	case errors.Is(err, os.ErrPermission):
		return file + " may not be read by the user that Parley runs as"
	}
	return file + " cannot be read"
}

func (f *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error)         { return f.now.Load(), nil }
func (f *certFiles) covers(host string) bool                                    { return f.now.Load().Leaf.VerifyHostname(host) == nil }
func (f *certFiles) until() time.Time                                           { return f.now.Load().Leaf.NotAfter }
func (f *certFiles) challenge(_ http.ResponseWriter, _ *http.Request) (is bool) { return false }

// run looks at the files every other second, and at once on SIGHUP.
func (f *certFiles) run(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(certCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			f.look(true)
		case <-tick.C:
			f.look(false)
		}
		f.warn()
	}
}

// look takes the files over if they changed: at once, or when they have stayed the same for two looks.
func (f *certFiles) look(atOnce bool) {
	files, loaded, err := loadCertFiles(f.cert, f.key)
	settled := atOnce || files.equal(f.pending)
	f.pending = files
	if !settled || (!atOnce && files.equal(f.judged)) {
		return
	}
	f.judged = files
	if err == nil {
		err = inTime(loaded)
	}
	if err != nil {
		why := fault.Of(err)
		f.log.Error("the new certificate cannot be used, and the one before it stays: "+why.Field+": "+why.Text, "code", why.Code, "until", day(f.until()))
		return
	}
	f.now.Store(loaded)
	f.log.Info("the certificate was read again", "until", day(loaded.Leaf.NotAfter))
}

func (f *certFiles) warn() {
	end := f.until()
	if left := time.Until(end); left > certWarning || left < 0 || time.Since(f.warned) < 24*time.Hour {
		return
	}
	f.warned = time.Now()
	f.log.Warn("the certificate ends soon: put a new one in its place", "until", day(end))
}

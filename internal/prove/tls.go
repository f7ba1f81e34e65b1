package prove

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"parley/app"
	"parley/internal/fault"
)

// encrypted holds the server's listeners against I6: a plain one that others could reach does not start, one with a certificate
// speaks TLS of today only, and every answer tells browsers to stay with it.
func (r *run) encrypted(ctx context.Context) error {
	for _, cfg := range []app.Config{{Listen: "0.0.0.0:0"}, {Listen: "[::]:0"}, {Listen: "0.0.0.0:0", BaseURL: "http://" + publicHost}} {
		var out bytes.Buffer
		cfg.Data = filepath.Join(r.dir, "never")
		err := app.Serve(ctx, cfg, &out, &out)
		r.found.check("I6", err != nil && fault.Of(err).Code == "listen_plain", "a plain HTTP listener that other machines could reach refuses to start", err)
	}
	a, err := r.people.agent.call(ctx, "GET", "/app/", nil, nil)
	if err != nil {
		return err
	}
	r.found.check("I6", pins(a.header), "behind HTTPS every answer has Strict-Transport-Security")
	return r.withCertificate(ctx)
}

func pins(h http.Header) bool {
	return strings.Contains(h.Get("Strict-Transport-Security"), "max-age=31536000")
}

// withCertificate runs a second, empty server that ends TLS itself.
func (r *run) withCertificate(ctx context.Context) error {
	roots, certFile, keyFile, err := r.certificate()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ready, done := make(chan string, 1), make(chan error, 1)
	cfg := app.Config{Data: filepath.Join(r.dir, "tls"), Listen: "127.0.0.1:0", TLSCert: certFile, TLSKey: keyFile, LogLevel: "debug", LogFormat: "json",
		RTCUDP: "off", RTCTCP: "off", RTCTURN: "off", RTCTURNTLS: "off", OnReady: func(url string) { ready <- url }}
	go func() { done <- app.Serve(ctx, cfg, r.out, r.log) }()
	defer cancel()
	select {
	case url := <-ready:
		addr := strings.TrimPrefix(url, "https://")
		err = r.gate.Allow("self", addr)
		if err == nil {
			err = r.handshakes(ctx, addr, roots)
		}
	case err := <-done:
		r.found.breaks("I6", "a server with a certificate does not start: %v", err)
		return nil
	case <-time.After(startWithin):
		return errors.New("the server with a certificate was not ready in time")
	}
	cancel()
	select {
	case stopped := <-done:
		return errors.Join(err, stopped)
	case <-time.After(stopWithin):
		return errors.Join(err, errors.New("the server with a certificate did not stop in time"))
	}
}

func (r *run) handshakes(ctx context.Context, addr string, roots *x509.CertPool) error {
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		conn, err := r.shake(ctx, addr, &tls.Config{RootCAs: roots, ServerName: publicHost, MinVersion: version, MaxVersion: version})
		if old := version < tls.VersionTLS12; old {
			r.found.check("I6", err != nil, tls.VersionName(version)+" is refused")
		} else {
			r.found.check("I6", err == nil, tls.VersionName(version)+" is spoken", err)
		}
		if err == nil {
			_ = conn.Close() // it said all that it was asked
		}
	}
	for _, path := range []string{"/app/", "/widget.js", "/api/v1/session", "/nothing"} {
		conn, err := r.shake(ctx, addr, &tls.Config{RootCAs: roots, ServerName: publicHost, MinVersion: tls.VersionTLS12})
		if err != nil {
			return err
		}
		head, err := ask(conn, path)
		if err != nil {
			return err
		}
		r.found.check("I6", pins(head), "over the server's own HTTPS every answer has Strict-Transport-Security", path)
	}
	plain, err := r.gate.Dialer("self")(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }()
	if _, err := fmt.Fprintf(plain, "GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", publicHost); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(plain, 1<<16))
	r.found.check("I6", !bytes.Contains(text, []byte("200 OK")), "plain HTTP gets nothing from the HTTPS port", err)
	return nil
}

func (r *run) shake(ctx context.Context, addr string, cfg *tls.Config) (*tls.Conn, error) {
	conn, err := r.gate.Dialer("self")(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error is the one that matters
		return nil, err
	}
	return secure, nil
}

// ask sends one request and returns the answer's header.
func ask(conn net.Conn, path string) (http.Header, error) {
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(callWithin)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, publicHost); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, err
	}
	return res.Header, res.Body.Close()
}

// certificate makes one for publicHost that signs itself.
func (r *run) certificate() (roots *x509.CertPool, certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: publicHost}, DNSNames: []string{publicHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, "", "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", "", err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	certFile, keyFile = filepath.Join(r.dir, "cert.pem"), filepath.Join(r.dir, "key.pem")
	return roots, certFile, keyFile, errors.Join(os.WriteFile(certFile, cert, 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

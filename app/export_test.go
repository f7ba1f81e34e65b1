package app

import (
	"context"
	"log/slog"
	"net"
	"net/url"

	"github.com/caddyserver/certmagic"

	"parley/internal/db"
)

// PretendNewerSchema records a migration that this program does not know, as a newer one would have.
func (a *App) PretendNewerSchema(ctx context.Context) error {
	return a.data.Do(ctx, "test", func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO schema_migration (domain, version, applied_at) VALUES ('chat', 999, 0)`)
		return err
	})
}

// SweepAged makes every first message's record and visitor's token old, sweeps, and returns how many rows of each are left.
func (a *App) SweepAged(ctx context.Context) (starts, tokens int64, err error) {
	err = a.data.Do(ctx, "test", func(tx *db.Tx) error {
		if _, err := tx.Exec(`UPDATE chat_start SET created_at = 1`); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE chat_visitor_token SET expires_at = 1`)
		return err
	})
	if err == nil {
		err = a.privacy.Sweep(ctx)
	}
	if err != nil {
		return 0, 0, err
	}
	err = a.data.Read(ctx, "test", func(tx *db.Tx) error {
		return tx.QueryRow(`SELECT (SELECT COUNT(*) FROM chat_start), (SELECT COUNT(*) FROM chat_visitor_token)`).Scan(&starts, &tokens)
	})
	return starts, tokens, err
}

// PlainNeighbours is what stands before plain HTTP.
func PlainNeighbours(l net.Listener, proxies string, log *slog.Logger) (net.Listener, error) {
	trusted, err := (&Config{Proxies: proxies}).proxies()
	return &neighbours{Listener: l, trusted: trusted, log: log}, err
}

// ListenFault is what an operator reads about a port that cannot be had.
func ListenFault(err error, addr, flag string) error { return listenFault(err, addr, flag) }

// OpenCertStore opens the directory in which certificates by ACME are kept.
func OpenCertStore(dir string) (interface {
	certmagic.Storage
	Close() error
}, error) {
	return openCertStore(dir)
}

// ACMETrouble is what an operator reads about a certificate that could not be got.
func ACMETrouble(err error) (text, code string) {
	text, code, _ = acmeTrouble(err)
	return text, code
}

// AtHome wraps the dialer of a store.
func AtHome(dial func(context.Context, string, string) (net.Conn, error), raw string) func(context.Context, string, string) (net.Conn, error) {
	return atHome(dial, "--database", raw, "Do this.")
}

// WayTo is where the plain port leads.
func WayTo(base string, asked *url.URL) string { return wayTo(base, asked) }

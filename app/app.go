// Package app puts Parley together: it opens the stores, makes every domain's service, hands them what they need of each
// other, and serves the result. It is the only package that imports every domain; it holds no rules of its own.
package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"parley/account"
	"parley/catalog"
	"parley/chat"
	"parley/egress"
	"parley/internal/bus"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/person"
	"parley/privacy"
	"parley/vault"
	"parley/video"
)

// App is an opened Parley: its stores and services, without listeners.
type App struct {
	cfg     Config
	log     *slog.Logger
	catalog *catalog.Catalog
	gate    *egress.Gate
	data    *db.DB
	keys    *db.DB
	redis   *redis.Client
	vault   *vault.Vault
	bus     *bus.Bus

	account *account.Service
	persons *person.Service
	chat    *chat.Service
	video   *video.Service
	privacy *privacy.Service

	closers []func() error // run in reverse order
}

// Open locks the data directory, opens and migrates the stores and repeats the erasures that a restored store forgot. Close it.
func Open(ctx context.Context, cfg Config) (*App, error) { return open(ctx, cfg, os.Stderr) }

func open(ctx context.Context, cfg Config, stderr io.Writer) (a *App, err error) {
	if err := cfg.resolve(); err != nil {
		return nil, err
	}
	if vault.NoOp && !cfg.NoOpVault {
		return nil, fault.New(fault.Forbidden, "app.open", "vault_no_op", "This program was built with parley_noop_vault, for measuring: it seals nothing and keeps nobody's data.")
	}
	a = &App{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.catalog, err = Catalog(); err != nil {
		return a, err
	}
	a.log = newLogger(stderr, cfg, a.catalog)
	if err := makeDirs(cfg.Data, cfg.Keys); err != nil {
		return a, err
	}
	lock, err := lockDir(cfg.Data)
	if err != nil {
		return a, err
	}
	a.closing(lock.Close)
	a.gate = egress.New(egress.Options{Recipients: a.catalog.Recipients(), Logger: a.log})
	if err := a.openStores(ctx); err != nil {
		return a, err
	}
	if err := a.openServices(); err != nil {
		return a, err
	}
	if _, err = a.privacy.Replay(ctx); err != nil {
		return a, err
	}
	if _, err = a.account.ReplayErased(ctx); err != nil {
		return a, err
	}
	_, err = a.account.ReplayAudit(ctx) // what was recorded while the disk was full
	return a, err
}

func (a *App) closing(f func() error) { a.closers = append(a.closers, f) }

// Close ends everything that Open began, the last first.
func (a *App) Close() error {
	var errs []error
	for _, end := range slices.Backward(a.closers) {
		errs = append(errs, end())
	}
	a.closers = nil
	return errors.Join(errs...)
}

func (a *App) openStores(ctx context.Context) (err error) {
	if err := AllowStores(a.gate, a.cfg); err != nil {
		return err
	}
	dial := atHome(a.gate.Dialer("postgres"), "--database", a.cfg.Database, "Add sslmode=verify-full to the URL, or reach it through a private network.")
	if a.data, err = a.openStore(ctx, db.Config{URL: a.cfg.Database, Dial: dial, SyncOff: a.cfg.SyncOff}); err != nil {
		if f := fault.Of(err); f.Field == "database" {
			f.Field = "--database"
		}
		return err
	}
	a.closing(a.data.Close)
	if err := a.keysBelong(ctx); err != nil {
		return err
	}
	keysURL, schema := a.cfg.keyStoreURL()
	if a.keys, err = a.openStore(ctx, db.Config{URL: keysURL, Schema: schema, Dial: dial, SecureDelete: true, SyncOff: a.cfg.SyncOff}); err != nil {
		return err
	}
	a.closing(a.keys.Close)
	a.vault, err = vault.Open(ctx, vault.Options{Store: a.keys, Dir: a.cfg.Keys, LedgerCopy: a.cfg.LedgerHead, Catalog: a.catalog,
		Node: nodeName(a.cfg.Data, a.cfg.Redis != ""), Logger: a.log, BackupLife: a.cfg.KeyBackupLife})
	if err != nil {
		return err
	}
	a.closing(a.vault.Close)
	if err := a.data.Migrate(ctx, migrations()...); err != nil {
		return err
	}
	if err := a.cfg.keepReserve(); err != nil {
		return err
	}
	return a.openRedis(ctx)
}

// alone marks the name of a node that hears no other.
const alone = " (without Redis)"

// nodeName is the same for every run on a data directory, and differs between machines.
func nodeName(data string, joined bool) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if !joined {
		data += alone
	}
	return host + ":" + data
}

// shortName is the same for every run on a data directory, and says nothing of the machine to who reads it in a row.
func shortName(data string) string {
	sum := sha256.Sum256([]byte(nodeName(data, true)))
	return hex.EncodeToString(sum[:8])
}

// aloneOrJoined refuses a second node that could not hear the first: their visitors and agents would miss each other.
func (a *App) aloneOrJoined(ctx context.Context) error {
	others, err := a.vault.OtherNodes(ctx)
	if a.cfg.Redis != "" {
		others = slices.DeleteFunc(others, func(name string) bool { return !strings.HasSuffix(name, alone) })
	}
	if err != nil || len(others) == 0 {
		return err
	}
	return fault.New(fault.Conflict, "app.nodes", "redis_needed", "Another Parley is running on this database: "+strings.Join(others, ", ")+
		". Several processes need --redis to hear each other. If the other one has just stopped, try again in a few seconds.")
}

// AllowStores binds the declared recipients to the hosts that the operator configured.
func AllowStores(gate *egress.Gate, cfg Config) error {
	flags := map[string]string{"postgres": "database", "redis": "redis"}
	for id, raw := range map[string]string{"postgres": cfg.Database, "redis": cfg.Redis} {
		if raw == "" || strings.HasPrefix(raw, "sqlite:") {
			continue
		}
		u, err := url.Parse(raw)
		if err != nil {
			return bad(flags[id], "store_url", "the URL cannot be read")
		}
		host := u.Host
		switch {
		case u.Scheme == "unix":
			host = "unix:" + u.Path
		case u.Query().Get("host") != "": // PostgreSQL's way to name a Unix socket's directory
			port := u.Query().Get("port")
			if port == "" {
				port = "5432"
			}
			host = "unix:" + filepath.Join(u.Query().Get("host"), ".s.PGSQL."+port)
		}
		if err := gate.Allow(id, host); err != nil {
			return bad(flags[id], fault.Of(err).Code, fault.Of(err).Text)
		}
	}
	return nil
}

func (a *App) openRedis(ctx context.Context) error {
	if a.cfg.Redis == "" {
		return nil
	}
	opt, err := redis.ParseURL(a.cfg.Redis)
	if err != nil {
		return bad("redis", "redis_url", "it has the form redis://host:6379/0")
	}
	dial, tlsConfig := atHome(a.gate.Dialer("redis"), "--redis", a.cfg.Redis, "Use rediss://, or reach it through a private network."), opt.TLSConfig
	opt.Dialer, opt.Protocol = dial, 2 // see bus.CheckRedis
	if tlsConfig != nil {
		opt.Dialer = overTLS(dial, tlsConfig)
	}
	redis.SetLogger(redisLog{a.log}) // the client's only way to be told
	a.redis = redis.NewClient(opt)
	a.closing(a.redis.Close)
	if err := a.redis.Ping(ctx).Err(); fault.Is(err, fault.Forbidden) {
		return err
	} else if err != nil {
		return fault.New(fault.Unavailable, "app.openRedis", "redis_away", "Redis does not answer at the address that --redis names.")
	}
	return nil
}

func (a *App) openServices() (err error) {
	if a.bus, err = bus.New(bus.Options{DB: a.data, Redis: a.redis, Logger: a.log}); err != nil {
		return err
	}
	a.account, err = account.New(account.Options{DB: a.data, Vault: a.vault, Logger: a.log, Dir: a.cfg.Data})
	if err != nil {
		return err
	}
	a.closing(a.account.Close)
	a.persons = person.New(a.data, a.vault, a.account)
	a.chat = chat.New(chat.Options{DB: a.data, Vault: a.vault, Bus: a.bus, Account: a.account, Persons: a.persons, Logger: a.log,
		Calls: func() bool { return a.video.Available() }, StartsPerMinute: a.cfg.StartsPerMinute, WritesPerSecond: a.cfg.SocketCommands})
	a.privacy = privacy.New(privacy.Options{DB: a.data, Vault: a.vault, Bus: a.bus, Catalog: a.catalog, Account: a.account,
		Persons: a.persons, Logger: a.log})
	a.video = video.New(video.Options{DB: a.data, Bus: a.bus, Account: a.account, Conversations: conversations{a.chat}, Notices: a.privacy,
		Logger: a.log, Node: shortName(a.cfg.Data), Limits: video.Limits{Participants: a.cfg.CallParticipants, JoinsPerMinute: a.cfg.CallJoins}})
	a.openJobs()
	return nil
}

package app

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/peterbourgon/ff/v3"
	"github.com/redis/go-redis/v9"

	"parley/internal/fault"
)

// Config is what an operator decides. Every field is a flag, an environment variable (PARLEY_ and the flag's name in capitals,
// with _ for -) and a line of the config file (the flag's name, a space, the value), in that order of strength.
type Config struct {
	Data          string        // directory of everything that Parley keeps
	Listen        string        // host:port
	BaseURL       string        // public address, "" = taken from the request
	Database      string        // sqlite:///path or postgres://…; "" = DATA/parley.db
	Redis         string        // redis://… or unix://…; "" = one process
	Keys          string        // directory of the master key and the deletion ledger; "" = DATA/keys
	LedgerHead    string        // second place of the ledger's head; "" = DATA/ledger.head
	Proxies       string        // trusted proxies: addresses or prefixes, separated by commas
	Demo          bool          // also serve the demo shop, with a ready member and site
	DemoListen    string        // host:port of the demo shop
	LogLevel      string        // debug, info, warn, error
	LogFormat     string        // text or json
	KeyBackupLife time.Duration // how long backups of Keys are kept: an erasure is final after that
	Version       string        // of the program, for the API page and the log

	Domain       string // public host names, separated by commas, for which a certificate is got; "" = none
	ACMEEmail    string // where the certificate authority may write; "" = it may not
	ACMECA       string // directory of the authority; "" = Let's Encrypt
	ACMERoot     string // file with the root of ACMECA; "" = trusted already
	TLSCert      string // file with a certificate of one's own, in place of Domain
	TLSKey       string // file with its key
	HTTPRedirect string // host:port that sends plain HTTP to HTTPS, or "off"; "" = port 80 with Domain

	RTCUDP, RTCTCP      string // host:port that audio and video use over UDP and TCP; "" = by Listen, "off" = none
	RTCTURN, RTCTURNTLS string // host:port of the relay (TURN) over UDP and over TLS; "" and "off" as above
	PublicIPs           string // addresses that browsers reach the media ports at, separated by commas; "" = this machine's own

	ports ports // where the media listen, once resolved

	// OnReady is told the server's own address once it answers, whatever BaseURL says; for tests and commands that run a server.
	OnReady func(url string)

	// Limits that only a load test raises.
	StartsPerMinute   int // new conversations from one address; 0 = 10
	ConnectsPerSecond int // socket connections from one address; 0 = 20
	SocketCommands    int // commands a second on one socket; 0 = 20
	CallParticipants  int // people in one call; 0 = 8
	CallJoins         int // entries into calls by one person a minute; 0 = 30

	// For measuring and for the test of the durability test. No flag sets them.
	NoOpVault bool // run although the program was built to seal nothing
	SyncOff   bool // acknowledge before the disk has it
}

// Flags declares the flags of the store and the server on fs.
func (c *Config) Flags(fs *flag.FlagSet) {
	c.StoreFlags(fs)
	fs.StringVar(&c.Proxies, "trusted-proxies", "", "`addresses` or prefixes of proxies whose X-Forwarded-* headers count, separated by commas")
	c.acmeFlags(fs)
	c.mediaFlags(fs)
	fs.BoolVar(&c.Demo, "demo", false, "also serve a demo shop on its own origin, with a member and a site made ready")
	fs.StringVar(&c.DemoListen, "demo-listen", "localhost:8081", "`host:port` of the demo shop")
	fs.IntVar(&c.StartsPerMinute, "limit-starts", 0, "new conversations a minute from one address (default 10)")
	fs.IntVar(&c.ConnectsPerSecond, "limit-connects", 0, "socket connections a second from one address (default 20)")
	fs.IntVar(&c.SocketCommands, "limit-commands", 0, "commands a second on one socket, and writes a second of one visitor over HTTP (default 20)")
}

// StoreFlags declares the flags that say where the data is: all that a command without a server needs.
func (c *Config) StoreFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Data, "data", "./data", "`directory` of everything that Parley keeps")
	fs.StringVar(&c.Database, "database", "", "`URL` of the database: sqlite:///path or postgres://…; DATA/parley.db if empty")
	fs.StringVar(&c.Redis, "redis", "", "`URL` of Redis, for several processes: redis://host:6379/0")
	fs.StringVar(&c.Keys, "keys", "", "`directory` of the master key and the deletion ledger; keep it out of data backups; DATA/keys if empty")
	fs.StringVar(&c.LedgerHead, "ledger-head", "", "second `file` with the head of the deletion ledger, best on another disk; DATA/ledger.head if empty")
	fs.StringVar(&c.Listen, "listen", "", "`host:port` to listen on; 127.0.0.1:8080, or port 443 with --domain or --tls-cert, if empty")
	fs.StringVar(&c.BaseURL, "base-url", "", "public `URL` of this server, such as https://chat.example; by --domain, or taken from the request, if empty")
	c.tlsFlags(fs)
	fs.DurationVar(&c.KeyBackupLife, "key-backup-life", 0, "how long you keep backups of the keys directory (720h for 30 days); an erasure is final after that")
	fs.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.LogFormat, "log-format", "text", "text or json")
}

// Parse reads arguments, environment and the file named by -config into c through the flags declared on fs.
func (c *Config) Parse(fs *flag.FlagSet, args []string) error {
	fs.String("config", "", "`file` with one \"flag value\" a line")
	return ff.Parse(fs, args, Options()...)
}

// Options are how flags, environment and file go together.
func Options(more ...ff.Option) []ff.Option {
	return append([]ff.Option{ff.WithEnvVarPrefix("PARLEY"), ff.WithConfigFileFlag("config"), ff.WithConfigFileParser(ff.PlainParser), ff.WithAllowMissingConfigFile(false)}, more...)
}

// resolve fills in what follows from the rest and refuses what cannot work.
func (c *Config) resolve() error {
	abs, err := filepath.Abs(c.Data)
	if err != nil {
		return bad("data", "data_dir", err.Error())
	}
	c.Data = abs
	if c.Keys == "" {
		c.Keys = filepath.Join(c.Data, "keys")
	}
	if c.LedgerHead == "" {
		c.LedgerHead = filepath.Join(c.Data, "ledger.head")
	}
	if c.Keys, err = filepath.Abs(c.Keys); err != nil {
		return bad("keys", "keys_dir", err.Error())
	}
	if c.Database == "" {
		c.Database = "sqlite://" + filepath.Join(c.Data, "parley.db")
	}
	if err := c.resolveTLS(); err != nil {
		return err
	}
	if c.ports == (ports{}) { // before --listen is replaced by the port that it got
		if err := c.resolveMedia(); err != nil {
			return err
		}
	}
	if c.BaseURL != "" {
		u, err := url.Parse(c.BaseURL)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || (u.Path != "" && u.Path != "/") {
			return bad("base-url", "base_url", "it has the form https://chat.example, without a path")
		}
		c.BaseURL = u.Scheme + "://" + u.Host
	}
	if _, err := c.proxies(); err != nil {
		return err
	}
	if _, err := redis.ParseURL(c.Redis); c.Redis != "" && err != nil {
		return bad("redis", "redis_url", "it has the form redis://host:6379/0")
	}
	return c.checkLog()
}

func (c *Config) checkLog() error {
	if c.LogLevel != "" && new(slog.Level).UnmarshalText([]byte(c.LogLevel)) != nil {
		return bad("log-level", "log_level", "it is debug, info, warn or error")
	}
	if c.LogFormat != "" && c.LogFormat != "text" && c.LogFormat != "json" {
		return bad("log-format", "log_format", "it is text or json")
	}
	return nil
}

// checkListen refuses a plaintext listener that others could reach (promise I6): this server has a certificate, or it stands
// behind a proxy that ends TLS, and the base URL says https.
func (c *Config) checkListen() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return bad("listen", "listen_invalid", "it has the form host:port, such as 127.0.0.1:8080")
	}
	if loopback(host) || c.ownTLS() || strings.HasPrefix(c.BaseURL, "https://") {
		return nil
	}
	return bad("listen", "listen_plain", fmt.Sprintf("%s can be reached from other machines, and Parley would speak plain HTTP there. "+
		"Let Parley get a certificate with --domain chat.example, or give it yours with --tls-cert and --tls-key; "+
		"or put a proxy that ends TLS in front and set --base-url https://…; or listen on 127.0.0.1", c.Listen))
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func (c *Config) proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range strings.FieldsFunc(c.Proxies, func(r rune) bool { return r == ',' || r == ' ' }) {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p)
			continue
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, bad("trusted-proxies", "proxy_invalid", fmt.Sprintf("%q is not an address such as 10.0.0.5 or a prefix such as 10.0.0.0/8", s))
		}
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out, nil
}

func bad(flag, code, text string) error { return fault.Bad("config", "--"+flag, code, text) }

// keyStoreURL is where the wrapped keys are: beside the database, never in it.
func (c *Config) keyStoreURL() (url, schema string) {
	if strings.HasPrefix(c.Database, "sqlite:") {
		return "sqlite://" + filepath.Join(c.Keys, "keys.db"), ""
	}
	return c.Database, "parley_keys"
}

func makeDirs(paths ...string) error {
	for _, p := range paths {
		if err := os.MkdirAll(p, 0o700); err != nil {
			return fault.Wrap(fault.Unavailable, "config", err)
		}
	}
	return nil
}

// scheme is that of the server's own port.
func (c *Config) scheme() string {
	if c.ownTLS() {
		return "https://"
	}
	return "http://"
}

// publicURL is the address for links that no request asked for.
func (c *Config) publicURL() string {
	if c.BaseURL != "" {
		return c.BaseURL
	}
	return c.scheme() + c.Listen
}

// Explain writes an error as one line that an operator can act upon.
func Explain(w io.Writer, err error) {
	f := fault.Of(err)
	switch {
	case f.Text != "" && f.Field != "":
		fmt.Fprintf(w, "parley: %s: %s\n", f.Field, f.Text)
	case f.Text != "":
		fmt.Fprintf(w, "parley: %s\n", f.Text)
	default:
		fmt.Fprintf(w, "parley: %v\n", err)
	}
}

package parley_test

import (
	"testing"
)

// This file is the policy of the house: who may import whom, who may reach the network, what every file must look
// like. The lists are statements of policy; they are not changed to make a build pass. How they are checked
// stands in arch_*_test.go beside it, and arch_planted_test.go shows that each check fails when it should.

// walls are the lines of the house. A package imports only from lines above its own; packages on one line never import
// each other. A sub-package that is not listed stands directly below its parent: it may import the parent, never
// the reverse, and never a sibling. Every package has its place: one that no line covers fails.
var walls = [][]string{
	{"catalog", "internal/fault", "web", "internal/parleytest/testdb"},
	{"internal/db", "internal/actor"},
	{"internal/rtc/signal", "internal/rtc/transport", "internal/rtc/forward"}, // the engine's parts
	{"internal/bus", "internal/api", "internal/rtc"},
	{"vault", "egress"},
	{"account"},
	{"person"},
	{"chat", "video", "privacy"},
	{"app/demo"}, // the shop knows Parley from outside only
	{"app"},
	{"internal/bench", "internal/prove"}, // run a server, and look at it from outside
	{"internal/parleytest", "cmd/parley", "tools"},
}

// onlyFrom names the rooms that few may enter, whatever the lines say.
var onlyFrom = map[string][]string{
	"internal/parleytest/testdb": {"internal/parleytest", "tools"}, // servers for tests never enter the product
	"web":                        {"internal/api", "app"},          // texts and files; domains know no front end
	"vault":                      {"account", "person", "chat", "privacy", "app"},
	"internal/rtc":               {"app", "internal/bench", "internal/prove"}, // domains know the engine by an interface of theirs, so that it can be replaced
	"internal/rtc/transport":     {"internal/rtc", "app"},
	"internal/rtc/forward":       {"internal/rtc"},
	"internal/rtc/signal":        {"internal/rtc", "internal/bench", "internal/prove"},

	"video":          {"app"},
	"privacy":        {"app"},
	"app/demo":       {"app"},
	"internal/bench": {"cmd/parley"},
	"internal/prove": {"cmd/parley"},
	"chat":           {"app"},
}

// stdlibOnly are the rooms that import neither Parley nor anybody else.
var stdlibOnly = []string{"catalog", "internal/fault", "app/demo", "web"}

// owners says which rooms may import a module that others must not know.
var owners = map[string][]string{
	"github.com/jackc/pgx/v5":           {"internal/db", "internal/parleytest/testdb"}, // the only code that knows the engine
	"modernc.org/sqlite":                {"internal/db"},
	"database/sql":                      {"internal/db", "account", "person", "chat", "video", "privacy", "vault", "internal/bus", "internal/api", "app"}, // sql.ErrNoRows and Scanner
	"github.com/tink-crypto/tink-go/v2": {"vault"},                                                                                                        // nobody else does cryptography on personal data
	"github.com/redis/go-redis/v9":      {"internal/bus", "app", "internal/parleytest/testdb"},
	"github.com/coder/websocket":        {"internal/bus", "internal/rtc", "internal/bench", "internal/prove", "internal/parleytest"},
	"github.com/caddyserver/certmagic":  {"app"},
	"github.com/mholt/acmez/v3":         {"app"},
	"go.uber.org/zap":                   {"app"}, // what certmagic logs to
	"github.com/danielgtaylor/huma/v2":  {"internal/api", "account", "person", "chat", "video", "privacy", "app"},
	"github.com/pion":                   {"internal/rtc"}, // media stays behind the engine
	"golang.org/x/tools":                {},               // this test only
	"github.com/rogpeppe/go-internal":   {},               // tests only
}

// dialers are the ways out of the process; none is used outside package egress (and its tests). A type may be
// named behind a pointer: a client that egress made is handed on.
var dialers = map[string][]string{
	"net": {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialUnix", "DialIP", "Dialer", "Resolver", "DefaultResolver",
		"LookupHost", "LookupIP", "LookupAddr", "LookupCNAME", "LookupMX", "LookupNS", "LookupPort", "LookupSRV", "LookupTXT"},
	"net/http":                        {"Get", "Post", "PostForm", "Head", "DefaultClient", "DefaultTransport", "Client", "Transport"},
	"net/http/httputil":               {"ReverseProxy", "NewSingleHostReverseProxy", "ClientConn", "NewClientConn"},
	"crypto/tls":                      {"Dial", "DialWithDialer", "Dialer"},
	"net/smtp":                        {"*"},
	"net/rpc":                         {"*"},
	"net/rpc/jsonrpc":                 {"*"},
	"log/syslog":                      {"*"},
	"plugin":                          {"*"},
	"syscall":                         {"Connect", "Socket", "Sendto", "Exec", "ForkExec", "StartProcess"},
	"golang.org/x/sys/unix":           {"Connect", "Socket", "Sendto", "Exec"},
	"os":                              {"StartProcess"},
	"os/exec":                         {"Command", "CommandContext", "Cmd"}, // a subprocess dials by itself
	"github.com/coder/websocket":      {"Dial"},
	"github.com/jackc/pgx/v5":         {"Connect", "ConnectConfig", "ConnectWithOptions"},
	"github.com/jackc/pgx/v5/pgconn":  {"Connect", "ConnectConfig", "ConnectWithOptions"},
	"github.com/jackc/pgx/v5/pgxpool": {"*"},
	"github.com/jackc/pgx/v5/stdlib":  {"OpenDB", "OpenDBFromPool", "GetConnector", "GetDefaultDriver", "RegisterConnConfig"},
	"github.com/redis/go-redis/v9":    {"NewClient", "NewClusterClient", "NewFailoverClient", "NewFailoverClusterClient", "NewUniversalClient", "NewRing", "NewSentinelClient"},
	"database/sql":                    {"Open", "OpenDB"},
	"github.com/prometheus/client_golang/prometheus/push": {"*"},
	"github.com/caddyserver/certmagic": {"Default", "DefaultACME", "HTTPS", "Listen", "ManageAsync", "ManageSync", "New", "NewACMEIssuer", "NewDefault",
		"ACMEIssuer", "TLS", "ZeroSSLIssuer"},
	"github.com/mholt/acmez/v3/acme": {"Client"},
}

// exemptions are the uses of a dialer that are right where they are. One that is no longer used fails.
var exemptions = []exemption{
	{Room: "internal/db", Object: "github.com/jackc/pgx/v5/stdlib.OpenDB", Sets: []string{"DialFunc", "LookupFunc"},
		Why: "connects by the function of egress that Config.Dial holds, and leaves resolving names to it"},
	{Room: "internal/db", Object: "database/sql.Open", Why: "opens SQLite, a file; the engine's driver has no network"},
	{Room: "internal/bench", Object: "github.com/coder/websocket.Dial", Sets: []string{"HTTPClient"},
		Why: "speaks to the server under test by a client of egress"},
	{Room: "internal/rtc", Object: "github.com/coder/websocket.Dial", Sets: []string{"HTTPClient"},
		Why: "internal/rtc/client, a participant for measuring and tests, speaks to the server under test by the client that it is handed"},
	{Room: "internal/prove", Object: "github.com/coder/websocket.Dial", Sets: []string{"HTTPClient"},
		Why: "speaks to the server that it proves by a client of egress"},
	{Room: "internal/bench", Object: "os/exec.Command", Why: "starts this binary again, as the server under test"},
	{Room: "app", Object: "github.com/caddyserver/certmagic.New", Sets: []string{"Issuers", "DisableStapling"},
		Why: "gets certificates from an issuer of ours; without one, and for OCSP, it would connect by itself"},
	{Room: "app", Object: "github.com/mholt/acmez/v3/acme.Client", Sets: []string{"HTTPClient"},
		Why: "asks the certificate authority by a client of egress"},
	{Room: "app", Object: "github.com/redis/go-redis/v9.NewClient", Sets: []string{"Dialer"},
		Why: "connects by the function of egress"},
}

// noDialersIn are the rooms whose code is no part of the product.
var noDialersIn = []string{"egress", "internal/parleytest", "tools"}

// reach says of every module that the product requires directly how it could reach the network. A module that is
// missing here fails: somebody must look first.
var reach = map[string]string{
	"github.com/caddyserver/certmagic":    "keeps and renews certificates; its own issuers and OCSP are not used: see the exemptions",
	"github.com/ccojocar/zxcvbn-go":       "no network",
	"github.com/coder/websocket":          "serves; websocket.Dial is exempted one by one",
	"github.com/danielgtaylor/huma/v2":    "serves only",
	"github.com/google/uuid":              "no network",
	"github.com/golang-jwt/jwt/v5":        "no network",
	"github.com/jackc/pgx/v5":             "connects by egress: see the exemptions",
	"github.com/mholt/acmez/v3":           "asks the certificate authority by egress: see the exemptions",
	"github.com/nicksnyder/go-i18n/v2":    "no network",
	"github.com/peterbourgon/ff/v3":       "no network",
	"github.com/pion/dtls/v3":             "over the connections of pion/ice",
	"github.com/pion/ice/v4":              "media to admitted participants: answers those who hold the credentials of a session",
	"github.com/pion/interceptor":         "no network of its own: rewrites packets on their way",
	"github.com/pion/logging":             "no network",
	"github.com/pion/rtcp":                "no network: a codec",
	"github.com/pion/rtp":                 "no network: a codec",
	"github.com/pion/sdp/v3":              "no network: a codec",
	"github.com/pion/stun/v3":             "no network in the packages used: a codec",
	"github.com/pion/transport/v4":        "sockets that internal/rtc/transport opens",
	"github.com/pion/turn/v5":             "relays between admitted participants and this server's own media port, to nobody else",
	"github.com/pion/webrtc/v4":           "media to admitted participants, from the sockets of internal/rtc/transport",
	"github.com/prometheus/client_golang": "serves only; its push package is not imported",
	"github.com/redis/go-redis/v9":        "connects by egress: see the exemptions",
	"github.com/rogpeppe/go-internal":     "tests only",
	"github.com/tink-crypto/tink-go/v2":   "no network; key management services are other modules",
	"go.uber.org/zap":                     "no network: its only core here writes to our log",
	"golang.org/x/crypto":                 "no network in the packages used",
	"golang.org/x/sync":                   "no network",
	"golang.org/x/text":                   "no network",
	"golang.org/x/time":                   "no network",
	"golang.org/x/tools":                  "tests only",
	"google.golang.org/protobuf":          "no network: a codec",
	"modernc.org/sqlite":                  "no network",
}

// knownURLs are the beginnings of absolute URLs that may stand in the front ends; a browser asks none of them for anything.
var knownURLs = map[string]string{
	"https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension": "the name of an RTP header extension",
	"http://www.w3.org/": "XML namespaces",
}

// buildTags are the sets of build tags under which the checks look at the code.
var buildTags = []string{"", "parley_noop_vault"}

// Limits of what one reader takes in at a time, in lines.
const (
	maxFileLines = 600
	maxFuncLines = 80
)

func TestWalls(t *testing.T) {
	for _, tags := range buildTags {
		report(t, checkWalls(load(t, loadImports, tags, nil, "./...")))
	}
}

func TestDialersAndState(t *testing.T) {
	used := map[string]bool{}
	for _, tags := range buildTags {
		pkgs := load(t, loadTypes, tags, nil, "./...")
		report(t, checkDialers(pkgs, used))
		report(t, checkState(pkgs))
	}
	for _, e := range exemptions {
		if !used[e.key()] {
			t.Errorf("nothing in %s uses %s any more: remove the exemption", e.Room, e.Object)
		}
	}
}

func TestSource(t *testing.T)       { report(t, checkSource(repository(t))) }
func TestPlaces(t *testing.T)       { report(t, checkPlaces(repository(t))) }
func TestWebURLs(t *testing.T)      { report(t, checkURLs("web")) }
func TestDependencies(t *testing.T) { report(t, checkDependencies(".")) }

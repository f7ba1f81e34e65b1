package transport

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"parley/internal/fault"
)

// Config says which ports to open and what to announce.
type Config struct {
	UDP     string      // "host:port" of all ICE over UDP; "" switches it off. A host that is a wildcard means every address of the machine
	TCP     string      // "host:port" of ICE over TCP; "" switches it off
	TURN    string      // "host:port" of the TURN server's UDP listener; "" switches it off. It needs UDP
	TURNTLS string      // "host:port" of TURN over TLS over TCP; "" switches it off. It needs UDP and TLS
	TLS     *tls.Config // certificates of TURNTLS

	// PublicIPs are announced instead of the machine's own addresses. One that no interface has is taken to be forwarded
	// (NAT 1:1) to the address that UDP and TCP name or, where they name none, to the address of the default route.
	PublicIPs []netip.Addr
	// Loopback announces 127.0.0.1 too: development and tests.
	Loopback bool
	// TURNHost is the host name in turn: URLs; the first public address if empty. TURN over TLS needs one that its
	// certificate is for.
	TURNHost string

	Log *slog.Logger     // slog.Default() if nil
	Now func() time.Time // time.Now if nil

	fresh, checkLife time.Duration // freshFor and CheckLife, shorter in tests
}

// Kind is one way for media to travel.
type Kind uint8

// The ways. Relay is TURN: to the engine it looks like UDP.
const (
	UDP Kind = iota + 1
	TCP
	Relay
)

var kindNames = [...]string{UDP: "udp", TCP: "tcp", Relay: "relay"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return ""
}

// ParseKind reads "udp", "tcp" or "relay".
func ParseKind(s string) (Kind, error) {
	for k, name := range kindNames {
		if name != "" && name == s {
			return Kind(k), nil
		}
	}
	return 0, fault.Bad("transport.ParseKind", "kind", "kind_unknown", "Say udp, tcp or relay.")
}

// ICEServer is one entry of RTCConfiguration.iceServers.
type ICEServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitempty"`
	Credential string   `json:"credential,omitempty"`
}

// PeerOptions say what a peer connection may do.
type PeerOptions struct {
	// Only restricts how media may travel; empty: every way that is open. A check tries one at a time.
	Only []Kind
}

// Estimator says how many bits a second the way to a subscriber carries.
type Estimator interface {
	// Bitrate is the current estimate in bits per second; InitialBitrate before the client has reported anything.
	Bitrate() int
	// Measured says whether the client has reported at all. One that never does sends no congestion feedback.
	Measured() bool
}

// Limits of what clients may take. They are constants because no operator has a better number at hand.
const (
	// InitialBitrate is assumed of a way that nothing is known about: 720p, sent once.
	InitialBitrate = 2_000_000
	// MinBitrate and MaxBitrate bound every estimate: below is audio alone, above nobody sends to one person.
	MinBitrate = 60_000
	MaxBitrate = 50_000_000

	// DisconnectedAfter and FailedAfter end an ICE connection: silence for the first and the connection counts as
	// interrupted, for both together and it is given up. A phone that changes from Wi-Fi to a mobile network needs
	// five to ten seconds before it offers new candidates, and signalling may be away for ten.
	DisconnectedAfter = 10 * time.Second
	FailedAfter       = 20 * time.Second

	// TURNSession bounds how long a participant's allocation may be refreshed after its credential ran out.
	TURNSession = 12 * time.Hour
	// MaxAllocations and MaxAllocationsPerUser bound relays. A browser takes one per peer connection, URL and network
	// interface: two connections, two URLs and two interfaces make eight, and twice that while it restarts ICE.
	MaxAllocations        = 2048
	MaxAllocationsPerUser = 16
	// MaxAllocationsPerNetwork bounds what one address (IPv6: one /64) takes of them: an office of sixty behind one router.
	MaxAllocationsPerNetwork = 256
	// MaxCheckAllocations bounds the relays of checks, which do not count among those of participants, and
	// MaxAllocationsPerCheck those of one credential: two URLs and two interfaces.
	MaxCheckAllocations    = 4 * MaxChecks
	MaxAllocationsPerCheck = 4

	// MaxChecks is how many preflight checks may run at once, CheckLife how long each.
	MaxChecks = 64
	CheckLife = 20 * time.Second
	// MaxOffer is the longest session description of a preflight check, in bytes.
	MaxOffer = 16 << 10
)

// Stats are counts since the start, and a few that hold now.
type Stats struct {
	Warnings      map[string]uint64 // what libraries complained of, by scope ("ice", "dtls", "turn")
	Peers         int               // peer connections that are open, preflight checks among them
	Checks        int               // preflight checks that are open
	Allocations   int               // TURN allocations that are open
	TCP           int               // TCP connections of ICE and TURN that are open
	TCPRefused    uint64            // TCP connections that were closed because there were too many, or because they said nothing
	Dropped       uint64            // UDP packets that were none of STUN, DTLS, RTP, RTCP or TURN
	RelayDenied   uint64            // packets and permissions for other peers than this server's media
	ReceiveBuffer int               // bytes that the system granted the UDP socket, for reading and
	SendBuffer    int               // for writing; little means loss under load (net.core.rmem_max)
}

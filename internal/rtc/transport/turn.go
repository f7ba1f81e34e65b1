package transport

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/turn/v5"
)

const (
	turnRealm = "parley"
	// allocationLife is how long an allocation lives without a refresh; clients refresh every few minutes. A client
	// may ask for more, up to an hour, and no credential is good for longer than its end and TURNSession.
	allocationLife = 10 * time.Minute
	maxTURNUser    = 64 // bytes of a user name; ours have 36, those of checks 42
	// checkUser begins the ids of users that only check their network. Anybody is given such a credential for the asking.
	checkUser = "check:"
	// checkLives is how many times the life of a check its relay lives: addresses are gathered before the check begins.
	checkLives = 3
)

// relays is the TURN server: it tells who may relay, and holds the relay sockets.
type relays struct {
	secret [32]byte // per process: a restart ends every credential
	now    func() time.Time
	media  []*udpSocket
	peers  map[netip.AddrPort]destination // what clients may send to, by the address that they know
	hosts  map[netip.Addr]bool            // the same without ports: what permissions are for
	gate   *gate                          // of TLS; nil without
	server *turn.Server
	denied atomic.Uint64
	// checkLife ends the relays of checks: whatever their clients ask for, a crowd of them holds nothing for long.
	checkLife time.Duration

	mu     sync.Mutex
	count  int // of participants' allocations
	checks int // of those of checks, which have a share of their own: they never take a participant's
	users  map[string]int
	from   map[netip.Addr]int // by the network of the client
}

// destination is one media address: the socket that has it, and the address as clients know it.
type destination struct {
	socket int
	known  *net.UDPAddr
}

func newRelays(media []*udpSocket, addrs []local, now func() time.Time, checkLife time.Duration) *relays {
	r := &relays{now: now, media: media, peers: map[netip.AddrPort]destination{}, hosts: map[netip.Addr]bool{}, users: map[string]int{},
		from: map[netip.Addr]int{}, checkLife: checkLives * checkLife}
	_, _ = rand.Read(r.secret[:]) // never fails
	for i, s := range media {
		for _, a := range addrs[i].announce {
			at := netip.AddrPortFrom(a, s.at.Port())
			r.peers[at] = destination{i, net.UDPAddrFromAddrPort(at)}
			r.hosts[a] = true
		}
	}
	return r
}

// serve starts the server on its sockets. sockets are UDP, listener is TLS; either may be absent.
func (r *relays) serve(sockets []*udpSocket, listener *gate, log *silencer) (err error) {
	cfg := turn.ServerConfig{
		Realm: turnRealm, LoggerFactory: log, AuthHandler: r.authenticate, QuotaHandler: r.quota, AllocationLifetime: allocationLife,
		EventHandler: turn.EventHandler{
			OnAllocationCreated: func(src, _ net.Addr, _, _, _ string, _ net.Addr, _ int) { r.proved(src) },
			OnAllocationDeleted: func(src, _ net.Addr, _, _, _ string) { r.ended(src) },
		},
	}
	for _, s := range sockets {
		cfg.PacketConnConfigs = append(cfg.PacketConnConfigs,
			turn.PacketConnConfig{PacketConn: s, RelayAddressGenerator: r, PermissionHandler: r.permit})
	}
	if r.gate = listener; listener != nil {
		cfg.ListenerConfigs = []turn.ListenerConfig{{Listener: listener, RelayAddressGenerator: r, PermissionHandler: r.permit}}
	}
	r.server, err = turn.NewServer(cfg)
	return err
}

// proved notes that a client has an allocation, and ended that it has it no more.
func (r *relays) proved(src net.Addr) {
	r.mu.Lock()
	r.from[siteOf(src)]++
	r.mu.Unlock()
	if r.gate != nil {
		r.gate.prove(src)
	}
}

func (r *relays) ended(src net.Addr) {
	at := siteOf(src)
	r.mu.Lock()
	if r.from[at]--; r.from[at] <= 0 {
		delete(r.from, at)
	}
	r.mu.Unlock()
	if r.gate != nil {
		r.gate.drop(src)
	}
}

// siteOf is the network that a client comes from; the zero value for an address that is none, and those count together.
func siteOf(src net.Addr) netip.Addr {
	var at netip.AddrPort
	switch a := src.(type) {
	case *net.UDPAddr:
		at = a.AddrPort()
	case *net.TCPAddr:
		at = a.AddrPort()
	}
	return site(at.Addr().Unmap().WithZone(""))
}

// credential makes a user name that says when it ends, and its password. Without an identity it is one for a check.
func (r *relays) credential(identity string, life time.Duration) (user, password string) {
	var id [12]byte
	mark := ""
	if identity == "" {
		mark = checkUser
		_, _ = rand.Read(id[:])
	} else {
		copy(id[:], r.keyed("user", identity))
	}
	user = strconv.FormatInt(r.now().Add(life).Unix(), 10) + ":" + mark + hex.EncodeToString(id[:])
	return user, r.password(user)
}

func ofCheck(id string) bool { return strings.HasPrefix(id, checkUser) }

func (r *relays) password(user string) string {
	return base64.RawStdEncoding.EncodeToString(r.keyed("password", user)[:20])
}

func (r *relays) keyed(use, s string) []byte {
	h := hmac.New(sha256.New, r.secret[:])
	h.Write([]byte(use + "\x00" + s))
	return h.Sum(nil)
}

// authenticate gives the key that a user's messages must be signed with. A credential that has ended opens no
// allocation; one that is open lives on, so that a long call is not cut. A check's lives as long as a check may last.
func (r *relays) authenticate(a *turn.RequestAttributes) (id string, key []byte, ok bool) {
	ends, id, ok := parseUser(a.Username)
	if !ok {
		return "", nil, false
	}
	switch {
	case a.Method == stun.MethodAllocate:
	case ofCheck(id):
		ends = ends.Add(r.checkLife)
	default:
		ends = ends.Add(TURNSession)
	}
	if r.now().After(ends) {
		return "", nil, false
	}
	return id, turn.GenerateAuthKey(a.Username, turnRealm, r.password(a.Username)), true
}

// parseUser reads "seconds:id". The id of a check begins with checkUser.
func parseUser(s string) (ends time.Time, id string, ok bool) {
	seconds, id, ok := strings.Cut(s, ":")
	if !ok || len(s) > maxTURNUser || id == "" || len(seconds) > 12 {
		return time.Time{}, "", false
	}
	n, err := strconv.ParseUint(seconds, 10, 63)
	if err != nil {
		return time.Time{}, "", false
	}
	return time.Unix(int64(n), 0), id, true
}

// quota is asked just before an allocation is made. What comes from a network is counted when it was, so a few that come at the same
// moment over several connections may be one too many.
func (r *relays) quota(user, _ string, src net.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.from[siteOf(src)] < MaxAllocationsPerNetwork && r.free(user)
}

// free says whether user may have one more. mu is held.
func (r *relays) free(user string) bool {
	if ofCheck(user) {
		return r.checks < MaxCheckAllocations && r.users[user] < MaxAllocationsPerCheck
	}
	return r.count < MaxAllocations && r.users[user] < MaxAllocationsPerUser
}

func (r *relays) open() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count + r.checks
}

// permit allows a peer if it is this server's media, whatever the port: relay.WriteTo looks at the port.
func (r *relays) permit(_ net.Addr, ip net.IP) bool {
	a, _ := netip.AddrFromSlice(ip)
	if r.hosts[a.Unmap()] {
		return true
	}
	r.denied.Add(1)
	return false
}

// Validate is asked by the library before it starts.
func (r *relays) Validate() error { return nil }

// AllocatePacketConn opens the socket of an allocation, on the machine's own media address: its only correspondent
// is on the same machine, so no port needs to be open to the outside.
func (r *relays) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	if c.UserID == "" || c.RequestedPort != 0 { // pairs of ports are for telephones of long ago
		return nil, nil, errSealed
	}
	var home netip.Addr
	for _, s := range r.media {
		if s.at.Addr().Is4() == (c.Network == "udp4") {
			home = s.at.Addr()
			break
		}
	}
	if !home.IsValid() {
		return nil, nil, errSealed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.free(c.UserID) {
		return nil, nil, errSealed
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(home, 0)))
	if err != nil {
		return nil, nil, err
	}
	rl := &relay{UDPConn: conn, all: r, user: c.UserID, used: make([]atomic.Pointer[net.UDPAddr], len(r.media))}
	r.add(c.UserID, 1)
	if ofCheck(c.UserID) {
		rl.late = time.AfterFunc(r.checkLife, func() { _ = rl.Close() }) // the library ends an allocation whose socket is closed
	}
	return rl, conn.LocalAddr(), nil
}

// AllocateListener would accept TCP connections for a client (RFC 6062); nobody needs that here.
func (r *relays) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errSealed
}

// AllocateConn would open TCP connections for a client; nobody gets that.
func (r *relays) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errSealed }

func (r *relays) released(rl *relay) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(rl.user, -1)
	if rl.late != nil {
		rl.late.Stop()
	}
}

// add counts allocations of a user. mu is held.
func (r *relays) add(user string, n int) {
	if ofCheck(user) {
		r.checks += n
	} else {
		r.count += n
	}
	if r.users[user] += n; r.users[user] <= 0 {
		delete(r.users, user)
	}
}

// relay is the socket of one allocation. It speaks to the media sockets and to nothing else, and translates between
// the addresses that clients were told and those that the sockets have.
type relay struct {
	*net.UDPConn
	all  *relays
	user string
	used []atomic.Pointer[net.UDPAddr] // by media socket: the address that the client calls it by
	late *time.Timer                   // of a check: ends it. all.mu guards it
	once sync.Once
}

// WriteTo sends what the client sent to a peer.
func (r *relay) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, errSealed
	}
	at := udp.AddrPort()
	p, ok := r.all.peers[netip.AddrPortFrom(at.Addr().Unmap(), at.Port())]
	if !ok {
		r.all.denied.Add(1)
		return 0, errSealed
	}
	if r.used[p.socket].Load() != p.known {
		r.used[p.socket].Store(p.known)
	}
	return r.WriteToUDPAddrPort(b, r.all.media[p.socket].at)
}

// ReadFrom gives the next packet of a media socket that the client has written to.
func (r *relay) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := r.ReadFromUDPAddrPort(b)
		if err != nil {
			return 0, nil, err
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		for i, s := range r.all.media {
			if s.at != from {
				continue
			}
			if known := r.used[i].Load(); known != nil {
				return n, known, nil
			}
		}
		r.all.denied.Add(1)
	}
}

// Close gives the allocation's place back.
func (r *relay) Close() error {
	r.once.Do(func() { r.all.released(r) })
	return r.UDPConn.Close()
}

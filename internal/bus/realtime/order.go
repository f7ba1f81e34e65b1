package realtime

import (
	"sync"
	"time"
)

// order is something done to all connections of a user: they end, or are subscribed to a channel.
type order struct {
	user    string
	session string // of those to end; "" for all
	channel string // to subscribe to; "" to end
	at      time.Time
}

// orders remembers the orders of late. A client that is just connecting was let in before them, yet is not found among
// the connected: it catches up.
type orders struct {
	mu   sync.Mutex
	list []order
}

// carryOut applies an order to the connections here.
func (h *Hub) carryOut(o order) {
	o.at = time.Now()
	h.orders.add(o)
	h.eachConn(func(c *conn) { c.obey(o) })
}

// catchUp applies to a client what was ordered since it began to connect.
func (h *Hub) catchUp(c *conn, began time.Time) {
	for _, o := range h.orders.since(began) {
		c.obey(o)
	}
}

func (o *orders) add(latest order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	old := 0 // nobody takes longer to connect than a handler may
	for old < len(o.list) && latest.at.Sub(o.list[old].at) > handlerTimeout {
		old++
	}
	o.list = append(o.list[old:], latest)
}

func (o *orders) since(t time.Time) []order {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := len(o.list)
	for i > 0 && !o.list[i-1].at.Before(t) {
		i--
	}
	return append([]order(nil), o.list[i:]...)
}

func (c *conn) obey(o order) {
	c.mu.Lock()
	mine := c.state == connected && c.user == o.user && (o.session == "" || o.session == c.who.Session)
	c.mu.Unlock()
	switch {
	case !mine:
	case o.channel != "":
		c.Subscribe(o.channel)
	default:
		c.Disconnect(codeDropped, "signed out")
	}
}

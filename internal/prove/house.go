package prove

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"parley/app"
	"parley/catalog"
	"parley/egress"
	"parley/internal/api"
	"parley/internal/fault"
)

// declared checks the catalogue against the stores, both ways, and that it cannot leave undecided how long something is kept (H1).
func (r *run) declared(ctx context.Context) error {
	err := r.opened(ctx, func(a *app.App) error {
		lines, err := a.SchemaDrift(ctx)
		for _, line := range lines {
			r.found.breaks("I7", "the catalogue and the stores differ: %s", line)
			r.found.breaks("H1", "the catalogue and the stores differ: %s", line)
		}
		if err == nil && len(lines) == 0 {
			r.found.holds("I7", "every column of every table is declared, and every declared column exists")
			r.found.holds("F15", "conversations and calls are catalogued like any other data: every column of every table is declared")
		}
		return err
	})
	if err != nil {
		return err
	}
	limited, parents := 0, 0
	for _, t := range r.catalog.Tables() {
		switch {
		case t.Keep.Trigger != "" && t.Keep.Max > 0:
			limited++
		case t.Keep.Forever != "":
			parents++
		default:
			r.found.breaks("H1", "table %s does not say how long its rows are kept", t.Name)
		}
	}
	r.found.holds("H1", "%d tables have a trigger and a maximum, %d live as long as what they belong to, by declaration", limited, parents)
	undecided := catalog.Dataset{Domain: "proof", Tables: []catalog.Table{{Name: "proof", Doc: "A table.", NoPerson: "a test", Erase: catalog.Retain,
		Columns: catalog.Columns{"id": catalog.Plain}}}}
	_, err = catalog.New(undecided)
	r.found.check("H1", err != nil && strings.Contains(err.Error(), "Keep is undecided"), "a table that does not say it is refused before the program starts", err)
	return nil
}

// outward holds what the server says of its outbound connections, and what the system says of this process's, against the register (G1).
func (r *run) outward(ctx context.Context) error {
	a, err := r.local().call(ctx, "GET", "/metrics", nil, nil)
	if err != nil {
		return err
	}
	allowed := map[string]bool{}
	if !r.sqlite() {
		allowed["postgres"] = true
	}
	if r.opt.Redis != "" {
		allowed["redis"] = true
	}
	opened := 0
	for line := range strings.SplitSeq(string(a.body), "\n") {
		rest, ok := strings.CutPrefix(line, `parley_egress_connections_total{recipient="`)
		if !ok {
			continue
		}
		id, rest, _ := strings.Cut(rest, `"`)
		if strings.HasSuffix(rest, " 0") || !strings.Contains(rest, `result="opened"`) {
			continue
		}
		opened++
		r.found.check("G1", allowed[id], "the server connected to "+id+", which is declared and configured")
	}
	r.found.check("G1", opened == len(allowed), fmt.Sprintf("the server connected to exactly the %d stores that it was given", len(allowed)), opened)
	known := map[catalog.Purpose]bool{}
	for _, p := range purposes {
		known[p] = true
	}
	for _, rec := range r.catalog.Recipients() {
		for _, p := range rec.Purposes {
			r.found.check("G1", known[p], "recipients hold purposes of the closed list only, and no sale is in it", rec.ID, p)
		}
		r.found.check("F7", len(rec.Fields) == 0, "no recipient gets data of a person, so there is nobody to tell of an erasure", rec.ID)
		r.found.check("G2", len(rec.Fields) == 0, "no recipient is declared to get a field in the clear", rec.ID)
	}
	gate := egress.New(egress.Options{Recipients: r.catalog.Recipients()})
	for _, id := range []string{"nobody", "postgres"} {
		_, err := gate.Dialer(id)(ctx, "tcp", "tracker.example:443")
		for _, promise := range []string{"G1", "G6"} {
			r.found.check(promise, err != nil && fault.Of(err).Code == "egress_refused", "a connection to a host that nobody declared is refused", err)
		}
	}
	return nil
}

// ownPorts are the ports that this process has reasons to connect to: the scratch server's and the stores'.
func (r *run) ownPorts() map[string]bool {
	ports := map[string]bool{"53": true} // the operator's resolver, where a store has a name
	for _, raw := range []string{r.server.url, r.opt.Database, r.opt.Redis} {
		if raw == "" {
			continue
		}
		if _, addr, u, err := redisPlace(raw); err == nil {
			_, port, err := net.SplitHostPort(addr)
			if u.Port() == "" && strings.HasPrefix(raw, "postgres") {
				port = "5432"
			}
			if err == nil {
				ports[port] = true
			}
		}
	}
	return ports
}

// connections asks the system to which addresses this process is connected: the gateway's own count is not taken on trust.
func (r *run) connections() {
	mine := map[string]bool{}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:[") {
			mine[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	ports, seen := r.ownPorts(), 0
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		text, err := os.ReadFile("/proc/self/net/" + table)
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			f := strings.Fields(line)
			if len(f) < 10 || !mine[f[9]] || strings.HasSuffix(f[2], ":0000") {
				continue
			}
			seen++
			if !ports[hexPort(f[2])] && !ports[hexPort(f[1])] {
				r.found.breaks("G1", "this process is connected to port %s of a host that is neither the scratch server nor a store", hexPort(f[2]))
			}
		}
	}
	if seen > 0 {
		r.found.holds("G1", "the system knows of no connection of this process but those to the scratch server and its stores")
	}
}

// hexPort reads the port of an address as the system's tables write it.
func hexPort(s string) string {
	_, port, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// records that the server's edge writes for each request may have these keys and no others (E1).
var accessKeys = []string{"time", "level", "msg", "request", "method", "route", "status", "ms"}

// logKeys reads the log record by record: keys that nobody declared must not be there (E3), ids of people not in the access log (E1).
func (r *run) logKeys() error {
	f, err := os.Open(r.logPath)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	ids := []string{r.people.agentID, r.people.org}
	for _, v := range []*visitor{r.people.gone, r.people.stays} {
		if v != nil {
			ids = append(append(ids, v.id), v.conversations...)
		}
	}
	lines, requests := bufio.NewScanner(f), 0
	lines.Buffer(make([]byte, 0, 1<<16), 1<<22)
	for lines.Scan() {
		var rec map[string]any
		if json.Unmarshal(lines.Bytes(), &rec) != nil {
			r.found.breaks("E3", "the log holds a line that is no record")
			continue
		}
		access := rec["msg"] == "request"
		for key := range rec {
			if !slices.Contains([]string{"time", "level", "msg"}, key) && !r.catalog.LogKey(key) {
				r.found.breaks("E3", "the log has the key %q, which nobody declared", key)
			}
			if access && !slices.Contains(accessKeys, key) {
				r.found.breaks("E1", "the access log has the key %q", key)
			}
		}
		if !access {
			continue
		}
		requests++
		for _, id := range ids {
			if id != "" && bytes.Contains(lines.Bytes(), []byte(id)) {
				r.found.breaks("E1", "the access log names an account, a person or a conversation")
			}
		}
	}
	r.found.check("E3", requests > 100, fmt.Sprintf("the records of %d requests and all others carry declared keys only", requests))
	r.found.holds("E1", "the records of %d requests carry no account id, no address and no path", requests)
	r.unknownKey()
	return lines.Err()
}

// unknownKey logs under a key that nobody declared, through the server's own filter.
func (r *run) unknownKey() {
	c := r.drop("a value under a log key that nobody declared")
	var out bytes.Buffer
	log := slog.New(api.AllowKeys(slog.NewJSONHandler(&out, nil), r.catalog.LogKey))
	log.With("visitor_email", c.token).Info("a record", "visitor_name", c.token, slog.Group("visitor", "phone", c.token), "err", errors.New(c.token), "count", 1)
	r.found.check("E3", !bytes.Contains(out.Bytes(), []byte(c.token)) && bytes.Contains(out.Bytes(), []byte(`"count":1`)),
		"a log key that nobody declared is dropped, and so is what an error from elsewhere says")
}

// strippedPage checks that a page's address came back without query and fragment.
func (r *run) strippedPage(ctx context.Context) error {
	var c struct{ Page struct{ URL string } }
	if err := r.people.agent.must(ctx, "GET", "/api/v1/conversations/"+r.people.stays.conversations[0], nil, &c); err != nil {
		return err
	}
	r.found.check("E3", strings.HasPrefix(c.Page.URL, siteOrigin) && !strings.ContainsAny(c.Page.URL, "?#"), "the page on which a visitor writes is kept without query and fragment")
	return nil
}

// hashed checks how passwords are kept.
func (r *run) hashed(recs []record) {
	n := 0
	for _, rec := range recs {
		if hash := rec.text("password_hash"); hash != "" {
			n++
			r.found.check("I1", strings.HasPrefix(hash, "$argon2id$v=19$m="), "passwords are kept as argon2id hashes, each with a salt of its own")
		}
	}
	r.found.check("I1", n > 1, "the scratch members' passwords were looked at")
}

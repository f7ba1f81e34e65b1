package main_test

import (
	"net/http"
	"syscall"
	"testing"
)

// `systemctl reload` sends SIGHUP to every installation, those without a certificate of ours too: none may end by it. Here it has
// no terminal either; a server in somebody's terminal ends with it.
func TestHangupEndsNoService(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--rtc-udp", "off", "--rtc-tcp", "off")
	pid := p.cmd.Process.Pid
	for range 3 {
		if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.Get(p.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("after SIGHUP the server answers %d", res.StatusCode)
	}
	if err := p.stop(t); err != nil {
		t.Errorf("the server stopped with %v", err)
	}
}

package testdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// Server is a database server that this process started.
type Server struct {
	URL  string // of the maintenance database, or of Redis
	Log  string // path of the server's log, gone after Stop
	keep *keeper
}

// Stop ends the server and removes its files.
func (s *Server) Stop() error { return s.keep.stop() }

// tries bounds how often a server is started again because another process took its port first.
const tries = 5

// StartPostgres starts a PostgreSQL cluster on a loopback port, as the user postgres when this process runs as
// root. It ends by Stop, or when this process ends in whatever way. The URL's role may create databases and is no superuser.
func StartPostgres() (*Server, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := tempDir("parley-pg-", who)
	if err != nil {
		return nil, err
	}
	super, err := initCluster(bin, dir, who)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	s, err := retryPort(func(port int) (*Server, error) {
		args := []string{filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"),
			"-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(port),
			"-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "logging_collector=off"}
		if os.Getenv("PARLEY_TEST_PG_FAST") == "1" {
			args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off")
		}
		keep, err := keepRunning(dir, who, args)
		if err != nil {
			return nil, err
		}
		s := &Server{Log: keep.log, keep: keep}
		s.URL, err = openCluster(keep, fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable", super, port))
		if err != nil {
			return nil, errors.Join(err, keep.stop())
		}
		return s, nil
	})
	if err != nil {
		_ = os.RemoveAll(dir)
	}
	return s, err
}

// initCluster makes the cluster's files and returns the superuser's password.
func initCluster(bin, dir string, who *syscall.Credential) (string, error) {
	password := token() + token()
	pwfile := filepath.Join(dir, "password")
	if err := os.WriteFile(pwfile, []byte(password+"\n"), 0o600); err != nil {
		return "", err
	}
	if who != nil {
		if err := os.Chown(pwfile, int(who.Uid), int(who.Gid)); err != nil {
			return "", err
		}
	}
	// --no-sync: the empty cluster itself is not worth waiting for; what tests write is synced.
	cmd := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "--pwfile="+pwfile,
		"--auth=scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "--no-sync")
	cmd.Dir, cmd.SysProcAttr = dir, as(who)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return password, nil
}

// openCluster waits until the cluster answers and adds the role that tests use.
func openCluster(keep *keeper, super string) (string, error) {
	var conn *pgx.Conn
	err := keep.await(func(ctx context.Context) (err error) {
		conn, err = pgx.Connect(ctx, super)
		return err
	})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	defer func() { _ = conn.Close(ctx) }()
	password := token() + token()
	for _, sql := range []string{
		"CREATE ROLE parley LOGIN CREATEDB PASSWORD '" + password + "'",
		"CREATE DATABASE parley OWNER parley",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return "", err
		}
	}
	cfg := conn.Config()
	return fmt.Sprintf("postgres://parley:%s@%s:%d/parley?sslmode=disable", password, cfg.Host, cfg.Port), nil
}

// StartRedis starts a redis-server on a loopback port. It ends by Stop, or when this process ends in whatever way.
func StartRedis() (*Server, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is not installed: apt-get install redis-server")
	}
	return retryPort(func(port int) (*Server, error) {
		dir, err := tempDir("parley-redis-", nil)
		if err != nil {
			return nil, err
		}
		keep, err := keepRunning(dir, nil, []string{bin, "--bind", "127.0.0.1", "--port", strconv.Itoa(port),
			"--save", "", "--appendonly", "no", "--dir", dir, "--loglevel", "notice"})
		if err != nil {
			return nil, err
		}
		client := redis.NewClient(&redis.Options{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))})
		defer func() { _ = client.Close() }()
		err = keep.await(func(ctx context.Context) error {
			// Another test's server on the same port would answer too: only ours runs in our directory.
			have, err := client.ConfigGet(ctx, "dir").Result()
			if err == nil && have["dir"] != dir {
				return errPortTaken
			}
			return err
		})
		if err != nil {
			err = errors.Join(err, keep.stop())
			_ = os.RemoveAll(dir)
			return nil, err
		}
		return &Server{URL: fmt.Sprintf("redis://127.0.0.1:%d/0", port), Log: keep.log, keep: keep}, nil
	})
}

var errPortTaken = errors.New("the port was taken by another process")

// retryPort starts a server on a free port, again when another process takes the port in between.
func retryPort(start func(port int) (*Server, error)) (*Server, error) {
	var last error
	for range tries {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		s, err := start(port)
		if err == nil {
			return s, nil
		}
		if last = err; !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, last
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// postgresBin returns the directory with the newest installed server's binaries.
func postgresBin() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	sort.Slice(found, func(i, j int) bool { return major(found[i]) < major(found[j]) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p), nil
	}
	return "", errors.New("the server is not installed: apt-get install postgresql")
}

func major(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

// unprivileged returns the user postgres when this process is root, as which PostgreSQL refuses to run; otherwise nil.
func unprivileged() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
}

// as gives a child its user and a process group of its own, so that an interrupt at the terminal leaves it to its keeper.
func as(who *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: who, Setpgid: true}
}

func tempDir(prefix string, who *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	if who != nil {
		return dir, os.Chown(dir, int(who.Uid), int(who.Gid))
	}
	return dir, nil
}

// keeper runs a server under a small shell that holds the read end of a pipe. When this process closes the pipe,
// or dies and the kernel closes it, the shell ends the server and removes its directory: nothing is left behind by a
// test that was killed.
type keeper struct {
	cmd  *exec.Cmd
	pipe *os.File
	log  string
	done chan struct{}
}

// A server that ends by itself keeps its directory, for the log.
const keepScript = `dir=$1; shift
"$@" >"$dir/log" 2>&1 3<&- </dev/null &
server=$!
( read -r _ <&3; : >"$dir/stop"; kill -INT $server ) &
killer=$!
exec 3<&-
wait $server
if [ -e "$dir/stop" ]; then
	case $dir in */parley-*) rm -rf "$dir";; esac
else
	kill $killer
	exit 1
fi`

func keepRunning(dir string, who *syscall.Credential, args []string) (*keeper, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", keepScript, "keeper", dir}, args...)...)
	cmd.Dir, cmd.SysProcAttr, cmd.ExtraFiles = dir, as(who), []*os.File{r}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	_ = r.Close()
	k := &keeper{cmd: cmd, pipe: w, log: filepath.Join(dir, "log"), done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(k.done)
	}()
	return k, nil
}

// await calls ready until it succeeds, the server ends or the limit passes.
func (k *keeper) await(ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil || errors.Is(err, errPortTaken) {
			return err
		}
		select {
		case <-k.done:
			return k.explain(errors.New("the server ended"))
		case <-ctx.Done():
			return k.explain(err)
		case <-tick.C:
		}
	}
}

// explain adds the end of the server's log to err.
func (k *keeper) explain(err error) error {
	text, _ := os.ReadFile(k.log)
	if bytes.Contains(text, []byte("Address already in use")) {
		return errPortTaken
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) > 12 {
		lines = lines[len(lines)-12:]
	}
	return fmt.Errorf("%w\n%s", err, strings.Join(lines, "\n"))
}

func (k *keeper) stop() error {
	_ = k.pipe.Close()
	select {
	case <-k.done:
		return nil
	case <-time.After(waitLimit):
		return errors.Join(errors.New("the server did not end in time"), syscall.Kill(-k.cmd.Process.Pid, syscall.SIGKILL))
	}
}

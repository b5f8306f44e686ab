package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// row is one server with its listener and what was measured of it.
type row struct {
	name, role string
	seen       string    // of setHeader, by the router
	server     *exec.Cmd // nil for roleNone
	socket     string
	port       int
	spec       string // the file with the policy
	reference  string // of the policy
	rounds     []sample
}

// bench is one comparison. Its rows are measured against base, which is one of them.
type bench struct {
	settings

	dir, title string
	rows       []*row
	base       *row
	chain      func(r *row, cluster string) chain
	envoy      *exec.Cmd
	token      string
	load1      string // the machine's, before
}

// run starts everything, measures and prints.
func (b *bench) run(ctx context.Context, w io.Writer, binary string) error {
	b.load1 = load1()
	defer b.stop()
	if err := b.start(ctx, binary); err != nil {
		return err
	}
	if err := b.measure(ctx); err != nil {
		return err
	}
	b.print(w)
	return nil
}

// start starts a process for each row that has one, and then Envoy.
func (b *bench) start(ctx context.Context, binary string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i, r := range b.rows {
		if r.port, err = b.port(); err != nil {
			return err
		}
		if r.role == roleNone {
			continue
		}
		r.socket = filepath.Join(b.dir, b.title+"-"+strconv.Itoa(i)+".sock")
		r.server = exec.CommandContext(ctx, self, r.socket, r.spec) //nolint:gosec // this program itself
		r.server.Env = append(os.Environ(), roleVariable+"="+r.role)
		if b.profiles != "" {
			r.server.Env = append(r.server.Env, profileVariable+"="+filepath.Join(b.profiles, b.title+"-"+strconv.Itoa(i)+"-"+r.role+".pprof"))
		}
		r.server.Stderr = os.Stderr
		if err := r.server.Start(); err != nil {
			return err
		}
	}
	words, err := b.startEnvoy(ctx, binary)
	if err != nil {
		return err
	}
	for _, r := range b.rows {
		if err := r.await(b.token); err != nil {
			b.stop() // after which Envoy says nothing more
			return fmt.Errorf("%w\n%s", err, words.String())
		}
	}
	return nil
}

// startEnvoy returns what Envoy will say.
func (b *bench) startEnvoy(ctx context.Context, binary string) (words *bytes.Buffer, err error) {
	config := filepath.Join(b.dir, b.title+".json")
	text, err := json.Marshal(b.bootstrap())
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return nil, err
	}
	words = &bytes.Buffer{}
	b.envoy = exec.CommandContext(ctx, binary, "-c", config, "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id") //nolint:gosec // the Envoy that was asked for
	b.envoy.Stderr = words
	return words, b.envoy.Start()
}

// errHeader is a processor that doesn't do what is measured.
var errHeader = errors.New("the router saw another " + setHeader)

// await asks until the row's whole chain answers.
func (r *row) await(token string) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/things", r.port), nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Origin", origin)
		said := "no answer"
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			seen := response.Header.Get(seenHeader)
			switch {
			case response.StatusCode != http.StatusOK:
				said = response.Status
			case seen != r.seen:
				return fmt.Errorf("%w: %s: %q, not %q", errHeader, r.name, seen, r.seen)
			default:
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %s", r.name, said)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// stop ends what was started, Envoy first.
func (b *bench) stop() {
	end(b.envoy)
	for _, r := range b.rows {
		if b.profiles != "" && r.server != nil && r.server.Process != nil {
			_ = r.server.Process.Signal(os.Interrupt) // it writes its profile and ends
			_ = r.server.Wait()
			continue
		}
		end(r.server)
	}
}

func end(c *exec.Cmd) {
	if c != nil && c.Process != nil {
		_ = c.Process.Kill()
		_ = c.Wait() // killed, as was meant
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil //nolint:forcetypeassert // a TCP listener
}

// cpu returns the CPU time of a process, user and system.
func cpu(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field, in parentheses, may hold spaces.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int64
	for _, i := range []int{11, 12} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	const tick = 10 * time.Millisecond // of all Linux systems that Go runs on
	return time.Duration(ticks) * tick, nil
}

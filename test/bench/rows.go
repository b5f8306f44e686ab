package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// row is one server with its listener and what was measured of it.
type row struct {
	name, role string
	server     *exec.Cmd
	socket     string
	port       int
	reference  string // of the policy
	rounds     []sample
}

// rows are measured against the first.
func rows() []*row {
	return []*row{
		{name: "no-op, stock grpc-go", role: roleStock},
		{name: "the same again (A/A)", role: roleStock},
		{name: "no-op, our GC and workers", role: roleTuned},
		{name: "RS256 + claim + CORS + Rego, remembered", role: rolePolicy},
		{name: "the same, Rego each time", role: rolePolicyEachTime},
	}
}

// bench is one comparison.
type bench struct {
	settings

	dir   string
	rows  []*row
	envoy *exec.Cmd
	token string
}

// start starts a process for each row and then Envoy.
func (b *bench) start(ctx context.Context, binary string) error {
	b.rows = rows()
	issuer, token, err := newIssuer()
	if err != nil {
		return err
	}
	b.token = token
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i, r := range b.rows {
		r.socket = filepath.Join(b.dir, strconv.Itoa(i)+".sock")
		spec := b.dir + "/" + strconv.Itoa(i) + ".json"
		snap := snapshotOf(r.role, issuer)
		r.reference = snap.Policies[0].Ref
		text, err := snapshot.Encode(snap)
		if err != nil {
			return err
		}
		if err := os.WriteFile(spec, text, 0o600); err != nil {
			return err
		}
		r.server = exec.CommandContext(ctx, self, r.socket, spec) //nolint:gosec // this program itself
		r.server.Env = append(os.Environ(), roleVariable+"="+r.role)
		r.server.Stderr = os.Stderr
		if err := r.server.Start(); err != nil {
			return err
		}
		if r.port, err = freePort(); err != nil {
			return err
		}
	}
	config := filepath.Join(b.dir, "envoy.json")
	text, err := json.Marshal(b.bootstrap())
	if err != nil {
		return err
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return err
	}
	b.envoy = exec.CommandContext(ctx, binary, "-c", config, "--concurrency", "1", "--log-level", "error", "--base-id", strconv.Itoa(os.Getpid())) //nolint:gosec // the Envoy that was asked for
	var words bytes.Buffer
	b.envoy.Stderr = &words
	if err := b.envoy.Start(); err != nil {
		return err
	}
	for _, r := range b.rows {
		if err := r.await(b.token); err != nil {
			return fmt.Errorf("%w\n%s", err, words.String())
		}
	}
	return nil
}

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
			if response.StatusCode == http.StatusOK {
				return nil
			}
			said = response.Status
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

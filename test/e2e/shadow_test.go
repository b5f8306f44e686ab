package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// recordedCheck is a CheckRequest of ext_authz as JSON.
func recordedCheck(method, path, from string, header ...string) string {
	var lines strings.Builder
	for i := 0; i+1 < len(header); i += 2 {
		fmt.Fprintf(&lines, `{"key": %q, "value": %q},`, header[i], header[i+1])
	}
	return fmt.Sprintf(`{"attributes": {"source": {"address": {"socketAddress": {"address": %q, "portValue": 1}}},
		"destination": {"address": {"socketAddress": {"address": "127.0.0.1", "portValue": 8080}}},
		"request": {"http": {"method": %q, "path": %q, "host": "shop.example", "scheme": "http",
			"headerMap": {"headers": [%s {"key": ":path", "value": %q}, {"key": "x-request-id", "value": "1"}]}}},
		"contextExtensions": {"gatehouse.policy": "whatever it was then"}}}`, from, method, path, &lines, path)
}

// TestShadowTellsWhatAnotherVersionWouldChange over recorded requests, and which rules they reach.
func TestShadowTellsWhatAnotherVersionWouldChange(t *testing.T) {
	t.Parallel()
	site := func(rules string) string {
		return writeFile(t, strings.Join([]string{gatewayManifest(8080), backendManifest("b", 9), usersManifest, routeManifest("r", prefix("/"), "b"),
			policyManifest("r", "  basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}\n  authorization: {defaultAction: Deny, rules: ["+rules+"]}")}, "\n---\n"))
	}
	read := "{name: readers, action: Allow, operation: {methods: [GET]}}"
	old, next := site(read+", {name: home, action: Allow, principal: {clientCIDRs: [10.0.0.0/8]}}"), site(read)
	recording := filepath.Join(t.TempDir(), "recorded.json")
	basic := []string{"authorization", strings.TrimPrefix(basicAlice, "Authorization: ")}
	records := "[" + recordedCheck("GET", "/a?token=secret", "192.0.2.1", basic...) + "," + recordedCheck("POST", "/b", "10.1.2.3", basic...) + "]\n" +
		recordedCheck("POST", "/c", "192.0.2.1") // several values one after another
	if err := os.WriteFile(recording, []byte(records), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := command(t, "test", "-f", old, recording)
	if code != 0 || !strings.Contains(stdout, "3 passed, 0 failed") || !strings.Contains(stdout, "no case reaches SecurityPolicy default/r authorization defaultAction") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if strings.Contains(stdout, "authorization readers") || strings.Contains(stdout, "authorization home") || strings.Contains(stdout, "secret") {
		t.Errorf("rules that were reached, or a query, in\n%s", stdout)
	}
	stdout, stderr, code = command(t, "test", "-f", old, "--shadow", next, recording)
	if code != 1 || !strings.Contains(stdout, "other 2: POST shop.example/b\n      verdict deny, was allow\n      status 403, was the backend's\n      reason rule_default_denied, was allowed\n") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if strings.Count(stdout, "other ") != 1 {
		t.Errorf("one request is decided otherwise:\n%s", stdout)
	}
	if stdout, _, code = command(t, "test", "-f", old, "--shadow", old, recording); code != 0 {
		t.Errorf("the same version: exit %d\n%s", code, stdout)
	}
}

// lockedOutput is a child's output that a test reads meanwhile.
type lockedOutput struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (o *lockedOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.Write(p)
}

func (o *lockedOutput) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}

func (o *lockedOutput) await(t *testing.T, text string) {
	t.Helper()
	gatewaytest.Eventually(t, text, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if !strings.Contains(o.all.String(), text) {
			return fmt.Errorf("not in %s", o.all.String())
		}
		return nil
	})
}

// TestWatchTriesAgain when a case or a manifest changes.
func TestWatchTriesAgain(t *testing.T) {
	t.Parallel()
	write := func(file, text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	manifests := func(policy string) string {
		return strings.Join([]string{gatewayManifest(8080), backendManifest("b", 9), usersManifest, routeManifest("r", prefix("/"), "b"), policy}, "\n---\n")
	}
	file, cases := writeFile(t, manifests("")), writeFile(t, "cases: [{name: first, request: {url: 'http://h:8080/'}, expect: {verdict: deny}}]")
	cmd := exec.Command(gatewaytest.Binary(t), "test", "-f", file, "--watch", cases)
	out := &lockedOutput{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "FAIL  first")
	write(file, manifests(policyManifest("r", basicSpec)))
	out.await(t, "ok    first")
	write(cases, "cases: [{name: second, request: {url: 'http://h:8080/'}, expect: {status: 401}}]")
	out.await(t, "ok    second")
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("stopped: %v", err)
	}
}

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestSourceGoneAtStart: the last accepted configuration serves, with its policies, until the source can
// be read again; and it never serves beside a source that can.
func TestSourceGoneAtStart(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := all(gatewayManifest(port), usersManifest, backendManifest("b", backend.Port),
		routeManifest("r", prefix("/"), "b"), policyManifest("r", basicSpec))
	g := gatewaytest.Start(t, manifests)
	kept := filepath.Join(g.State, "accepted.json")
	gatewaytest.AwaitFile(t, kept)
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s: %v %v, want mode 0600", kept, info, err)
	}
	g.Stop(t)

	missing := filepath.Join(t.TempDir(), "config")
	second := gatewaytest.Start(t, nil, gatewaytest.Paths(missing), gatewaytest.Args("--state", g.State))
	check := func(when string, header ...string) {
		t.Helper()
		if a := gatewaytest.Get(t, at(port, "/")); a.Status != http.StatusUnauthorized {
			t.Errorf("%s, without credentials: %d, want 401", when, a.Status)
		}
		if a := gatewaytest.Get(t, at(port, "/"), header...); a.Status != http.StatusOK {
			t.Errorf("%s, with %q: %d, want 200", when, header, a.Status)
		}
	}
	check("source gone", basicAlice)
	if !strings.Contains(second.Output(), "last accepted configuration serves") {
		t.Error("the log doesn't say what serves")
	}
	if err := os.Mkdir(missing, 0o700); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(manifests["all.yaml"], "alice:", "dave:", 1)
	if err := os.WriteFile(filepath.Join(missing, "all.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Await(t, at(port, "/"), http.StatusUnauthorized, basicAlice)
	check("source back", "Authorization: Basic ZGF2ZTpwYXNzd29yZA==")
	second.Stop(t)

	third := gatewaytest.Start(t, map[string]string{"all.yaml": text, "more.yaml": routeManifest("more", prefix("/more"), "b")},
		gatewaytest.Args("--state", g.State))
	if a := gatewaytest.Get(t, at(port, "/"), basicAlice); a.Status != http.StatusUnauthorized {
		t.Errorf("with a readable source the revoked user gets %d", a.Status)
	}
	if a := gatewaytest.Get(t, at(port, "/more")); a.Status != http.StatusOK {
		t.Errorf("a route that was added while nothing ran: %d, want 200", a.Status)
	}
	if updates := third.AdminPage(t, routeUpdates); !strings.Contains(updates, "update_success: 1\n") {
		t.Errorf("Envoy was shown other routes before those of the source: %s", updates)
	}
	third.Stop(t)
}

// TestEnvoyKilled: it is started again and serves as before.
func TestEnvoyKilled(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	g := gatewaytest.Start(t, all(gatewayManifest(port), usersManifest, backendManifest("b", backend.Port),
		routeManifest("r", prefix("/"), "b"), policyManifest("r", basicSpec)))
	pid, err := envoyPid(g.State)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Eventually(t, "a new Envoy", func() error {
		if now, err := envoyPid(g.State); err != nil || now == pid {
			return errors.Join(err, fmt.Errorf("pid %d", now))
		}
		return nil
	})
	gatewaytest.Await(t, at(port, "/"), http.StatusOK, basicAlice)
	if a := gatewaytest.Get(t, at(port, "/")); a.Status != http.StatusUnauthorized {
		t.Errorf("without credentials: %d, want 401", a.Status)
	}
}

// envoyPid finds the Envoy of a state directory.
func envoyPid(state string) (pid int, err error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		if args := string(text); strings.Contains(args, state) && strings.Contains(args, "--config-path") && !strings.Contains(args, "--mode") {
			_, err := fmt.Sscanf(path, "/proc/%d/cmdline", &pid)
			return pid, err
		}
	}
	return 0, errors.New("no Envoy for " + state)
}

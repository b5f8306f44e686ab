package handbook_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/internal/netnstest"
)

func TestMain(m *testing.M) { gatewaytest.Main(m) }

// The addresses that the handbook's Services have.
const (
	backendAddress = "7.7.7.7"
	authAddress    = "7.7.7.8"
	extProcAddress = "7.7.7.9"
)

// isolated runs body where those addresses exist and port 80 is free.
func isolated(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	netnstest.Run(t, []string{backendAddress, authAddress, extProcAddress}, body)
}

const (
	gatewayURL = "http://127.0.0.1"
	host       = "Host: www.example.com"
)

// example is the path of a manifest as the handbook prints it.
func example(name string) string { return filepath.Join("testdata", name+".yaml") }

// files makes a gateway read these files, each by its own -f, instead of a directory.
func files(paths ...string) gatewaytest.Option {
	return func(c *exec.Cmd) {
		var flags []string
		for _, path := range paths {
			flags = append(flags, "-f", path)
		}
		at := slices.Index(c.Args, "-f")
		c.Args = slices.Replace(c.Args, at, at+2, flags...)
	}
}

// rewrite writes an example, changed, to a file of its own and returns the path.
func rewrite(t *testing.T, name string, oldnew ...string) string {
	t.Helper()
	text, err := os.ReadFile(example(name))
	if err != nil {
		t.Fatal(err)
	}
	changed := string(text)
	for pair := range slices.Chunk(oldnew, 2) {
		if strings.Count(changed, pair[0]) != 1 {
			t.Fatalf("%s.yaml doesn't hold %q once", name, pair[0])
		}
		changed = strings.Replace(changed, pair[0], pair[1], 1)
	}
	path := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// backend is the handbook's backend-service.
func backend(t *testing.T) *gatewaytest.Backend {
	t.Helper()
	return gatewaytest.NewBackendAt(t, "backend-service", backendAddress+":8080")
}

func get(t *testing.T, header ...string) gatewaytest.Answer {
	t.Helper()
	return gatewaytest.Get(t, gatewayURL+"/", append([]string{host}, header...)...)
}

func wantStatus(t *testing.T, a gatewaytest.Answer, status int) {
	t.Helper()
	if a.Status != status {
		t.Errorf("status %d, want %d: %s", a.Status, status, a.Body)
	}
}

// wantHeader requires the field to have exactly these lines, none if none are given.
func wantHeader(t *testing.T, header http.Header, name string, lines ...string) {
	t.Helper()
	if got := header.Values(name); !slices.Equal(got, lines) {
		t.Errorf("%s: %q, want %q", name, got, lines)
	}
}

// wantLogged requires a line of gatehouse's output to hold all of the words.
func wantLogged(t *testing.T, g *gatewaytest.Gateway, words ...string) {
	t.Helper()
	if err := logged(g, words...); err != nil {
		t.Error(err)
	}
}

func logged(g *gatewaytest.Gateway, words ...string) error {
	for line := range strings.Lines(g.Output()) {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			return nil
		}
	}
	return fmt.Errorf("no line of the output has all of %q:\n%s", words, g.Output())
}

package e2e

import (
	"encoding/base64"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

const quickstart = "../../examples/quickstart"

// TestQuickstartTranslates: Envoy loads the result as it is.
func TestQuickstartTranslates(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := command(t, "translate", "-f", quickstart, "-o", "envoy", "--state", t.TempDir())
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	envoytest.Validate(t, stdout)
}

// TestTranslatePrintsByType: one object with a key for each type, the secrets redacted.
func TestTranslatePrintsByType(t *testing.T) {
	t.Parallel()
	certificate, state := gatewaytest.NewCertificate(t, "a.example"), t.TempDir()
	file := writeFile(t, strings.Join([]string{
		strings.Replace(gatewayManifest(8080), "protocol: HTTP}", "protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}", 1), certificate.Secret("cert"), usersManifest, oidcSecret,
		backendManifest("b", 9), routeManifest("r", prefix("/"), "b"), policyManifest("r", basicSpec), hostRoute("login"),
		policyManifest("login", "  oidc: {provider: {issuer: https://idp.example, authorizationEndpoint: 'https://idp.example/a', tokenEndpoint: 'https://idp.example/t'}, clientID: c, clientSecret: {name: oidc}}"),
	}, "\n---\n"))
	all := []string{"clusters", "endpoints", "extensions", "listeners", "routes", "secrets"}
	for kind, want := range map[string][]string{
		"all": all, "cluster": {"clusters"}, "endpoint": {"endpoints"}, "extension": {"extensions"}, "listener": {"listeners"}, "route": {"routes"}, "secret": {"secrets"},
	} {
		for _, format := range []string{"yaml", "json"} {
			stdout, stderr, code := command(t, "translate", "-f", file, "--state", state, "--type", kind, "-o", format)
			var got map[string][]any
			if err := yaml.UnmarshalStrict([]byte(stdout), &got); err != nil || code != 0 || !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
				t.Errorf("--type %s -o %s: exit %d, %v, keys %q: %s", kind, format, code, err, slices.Sorted(maps.Keys(got)), stderr)
			}
			for _, secret := range []string{"hush", base64.StdEncoding.EncodeToString([]byte("hush")), "PRIVATE KEY", base64.StdEncoding.EncodeToString(certificate.Key)[:40]} {
				if strings.Contains(stdout, secret) {
					t.Errorf("--type %s -o %s shows a secret", kind, format)
				}
			}
			if (kind == "secret" || kind == "all") && (len(got["secrets"]) != 3 || !strings.Contains(stdout, "[redacted]")) {
				t.Errorf("--type %s -o %s: %d secrets, want 3, redacted", kind, format, len(got["secrets"]))
			}
		}
	}
}

// TestTheStaticBootstrapRuns as it is: what is open is served, and what is protected answers 503 as long as no
// authorizer listens on its socket.
func TestTheStaticBootstrapRuns(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	file := writeFile(t, strings.Join([]string{
		gatewayManifest(port), usersManifest, backendManifest("b", backend.Port), routeManifest("open", prefix("/open"), "b"),
		routeManifest("r", prefix("/closed"), "b"), policyManifest("r", basicSpec),
	}, "\n---\n"))
	stdout, stderr, code := command(t, "translate", "-f", file, "--state", envoytest.SocketDir(t), "-o", "envoy")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var bootstrap map[string]any
	if err := yaml.Unmarshal([]byte(stdout), &bootstrap); err != nil {
		t.Fatal(err)
	}
	delete(bootstrap, "admin") // the test's Envoy has its own
	text, err := yaml.Marshal(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	envoytest.Start(t, string(text))
	gatewaytest.Await(t, at(port, "/open"), http.StatusOK)
	if a := gatewaytest.Get(t, at(port, "/closed"), basicAlice); a.Status != http.StatusServiceUnavailable {
		t.Errorf("without an authorizer: %d, want 503", a.Status)
	}
}

// TestOrderAndFilesDontMatter: any order of documents and any split into files gives the same bytes.
func TestOrderAndFilesDontMatter(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	translate := func(format, dir string) string {
		stdout, stderr, code := command(t, "translate", "-f", dir, "-o", format, "--state", state)
		if code != 0 {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		return stdout
	}
	documents := quickstartDocuments(t)
	for _, format := range []string{"envoy", "yaml", "json"} {
		want := translate(format, quickstart)
		for range 5 {
			rand.Shuffle(len(documents), func(i, j int) { documents[i], documents[j] = documents[j], documents[i] })
			if got := translate(format, split(t, documents)); got != want {
				t.Fatalf("-o %s: another order gave other bytes:\n%s", format, strings.Join(documents, "\n---\n"))
			}
		}
	}
}

func quickstartDocuments(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(quickstart, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	var documents []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq("\n"+string(text), "\n---") {
			documents = append(documents, document)
		}
	}
	return documents
}

// split writes the documents into files of one to three each.
func split(t *testing.T, documents []string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; len(documents) > 0; i++ {
		n := min(len(documents), 1+rand.IntN(3))
		path := filepath.Join(dir, string(rune('a'+i%26))+itoa(i)+".yaml")
		if err := os.WriteFile(path, []byte(strings.Join(documents[:n], "\n---")), 0o600); err != nil {
			t.Fatal(err)
		}
		documents = documents[n:]
	}
	return dir
}

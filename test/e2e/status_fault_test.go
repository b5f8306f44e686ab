package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
)

// fault is something wrong with what serves /bad.
type fault struct {
	manifests string
	// words are those of a line of the status, or of a note beside it: what is wrong and what to do.
	words []string
	// files is set if it shows in the files alone.
	files bool
	// status is the answer to a request of alice's; 0: no connection.
	status int
	// port is where /bad is served; 0: where everything is.
	port int
	// repair ends the fault: another text, or something beside the files.
	repaired string
	repair   func()
}

// TestStatusOfEachFault: each one is reported with reason and remedy, by the running gateway and from the
// files as far as they show it; closes what it must and disturbs nothing else; and repaired, it works
// without a restart.
func TestStatusOfEachFault(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]func(t *testing.T) fault{
		"broken Rego module":        brokenRego,
		"missing Secret":            missingSecret,
		"unreachable JWKS":          unreachableJWKS,
		"syntax error in a policy":  syntaxError,
		"unknown field of a policy": unknownField,
		"unknown field of a route":  unknownRouteField,
		"listener port in use":      portInUse,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); runFault(t, cause(t)) })
	}
}

func runFault(t *testing.T, f fault) {
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	g := gatewaytest.Start(t, map[string]string{"base.yaml": strings.Join([]string{
		gatewayManifest(port), backendManifest("b", backend.Port), usersManifest,
		routeManifest("open", prefix("/"), "b"), routeManifest("good", prefix("/good"), "b"), policyManifest("good", basicSpec),
	}, "\n---\n")})
	others := func(when string) {
		t.Helper()
		for path, want := range map[string]int{"/": http.StatusOK, "/good": http.StatusUnauthorized} {
			if a := gatewaytest.Get(t, at(port, path)); a.Status != want {
				t.Errorf("%s: %s: %d, want %d", when, path, a.Status, want)
			}
		}
		if a := gatewaytest.Get(t, at(port, "/good"), basicAlice); a.Status != http.StatusOK {
			t.Errorf("%s: /good with a password: %d, want 200", when, a.Status)
		}
	}
	if f.port == 0 {
		f.port = port
	}
	g.Write(t, "bad.yaml", f.manifests)
	awaitStatus(t, g, f.words...)
	others("fault")
	if a, err := gatewaytest.Try(http.MethodGet, at(f.port, "/bad"), basicAlice); err == nil && a.Status != f.status || err != nil && f.status != 0 {
		t.Errorf("/bad: %d %v, want %d", a.Status, err, f.status)
	}
	wantStatusOfFiles(t, g.Dir, f)
	if _, _, code := command(t, "status", "--server", strings.TrimPrefix(g.Admin, "http://")); code != 1 {
		t.Errorf("exit %d of the running gateway's status, want 1", code)
	}
	if f.repair != nil {
		f.repair()
	} else {
		g.Write(t, "bad.yaml", f.repaired)
	}
	gatewaytest.Await(t, at(f.port, "/bad"), http.StatusOK, basicAlice)
	others("repaired")
	gatewaytest.Eventually(t, "a status without fault", func() error {
		stdout, stderr, code := command(t, "status", "--server", strings.TrimPrefix(g.Admin, "http://"))
		if code != 0 {
			return fmt.Errorf("exit %d\n%s%s", code, stdout, stderr)
		}
		return nil
	})
}

func wantStatusOfFiles(t *testing.T, dir string, f fault) {
	t.Helper()
	stdout, stderr, code := command(t, "status", "-f", dir)
	found := false
	for line := range strings.Lines(stdout + stderr) {
		found = found || hasAll(line, f.words)
	}
	if found != f.files || (code == 1) != f.files {
		t.Errorf("status of the files: exit %d; words %q found: %v, want %v\n%s%s", code, f.words, found, f.files, stdout, stderr)
	}
}

// badRoute serves /bad with a policy.
func badRoute(policy string) string {
	return routeManifest("bad", prefix("/bad"), "b") + "\n---\n" + policyManifest("bad", policy)
}

func brokenRego(*testing.T) fault {
	rego := func(text string) string {
		return badRoute(`  opa: {modules: [{type: Inline, inline: "package envoy.authz\n` + text + `"}]}`)
	}
	return fault{
		manifests: rego("allow if {"), repaired: rego("allow := true"), status: http.StatusServiceUnavailable, files: true,
		words: []string{"SecurityPolicy default/bad Accepted False Invalid", "spec.opa.modules", "rego_parse_error", "unexpected eof token"},
	}
}

func missingSecret(*testing.T) fault {
	text := badRoute("  basicAuth: {users: {name: nobody}}")
	return fault{
		manifests: text, repaired: text + "\n---\n" + strings.Replace(usersManifest, "name: users", "name: nobody", 1),
		status: http.StatusServiceUnavailable, files: true,
		words: []string{"SecurityPolicy default/bad Accepted False Invalid", "spec.basicAuth.users", "Secret default/nobody doesn't exist; create it"},
	}
}

// unreachableJWKS: tokens can't be judged, other passwords can.
func unreachableJWKS(t *testing.T) fault {
	port, issuer := freePort(t), gatewaytest.NewIssuer(t, "https://idp.example")
	uri := fmt.Sprintf("http://127.0.0.1:%d/jwks", port)
	return fault{
		manifests: badRoute("  authMode: Any\n" + basicSpec + "\n  jwt: {providers: [{name: idp, issuer: 'https://idp.example', remoteJWKS: {uri: '" + uri + "', allowPrivateAddresses: true}}]}"),
		status:    http.StatusOK,
		words:     []string{"SecurityPolicy default/bad ResolvedRefs False JWKSUnavailable", "idp", uri, "connection refused", "make it reachable"},
		repair: func() {
			listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Error(err)
				return
			}
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(issuer.JWKS())) }))
			_ = server.Listener.Close()
			server.Listener = listener
			server.Start()
			t.Cleanup(server.Close)
		},
	}
}

func syntaxError(*testing.T) fault {
	text := badRoute(basicSpec)
	return fault{
		manifests: strings.Replace(text, "{users: {name: users}}", "{users: {name: users}", 1), repaired: text,
		status: http.StatusServiceUnavailable, files: true,
		words: []string{"SecurityPolicy default/bad Accepted False Invalid", "isn't valid YAML", "correct the syntax"},
	}
}

func unknownField(*testing.T) fault {
	return fault{
		manifests: badRoute(basicSpec + "\n  corss: {}"), repaired: badRoute(basicSpec),
		status: http.StatusServiceUnavailable, files: true,
		words: []string{"SecurityPolicy default/bad Accepted False Invalid", "spec.corss", "did you mean cors?"},
	}
}

func unknownRouteField(*testing.T) fault {
	text := badRoute(basicSpec)
	return fault{
		manifests: strings.Replace(text, "backendRefs:", "backendRef:", 1), repaired: text,
		status: http.StatusInternalServerError, files: true,
		words: []string{"HTTPRoute default/bad Accepted False Invalid", "backendRef", "backendRefs?"},
	}
}

func portInUse(t *testing.T) fault {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	port := taken.Addr().(*net.TCPAddr).Port
	go func() { // a program that isn't Envoy
		for {
			conn, err := taken.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	gateway := strings.Replace(gatewayManifest(port), "name: gw", "name: other", 1)
	route := strings.Replace(routeManifest("bad", prefix("/bad"), "b"), "name: gw", "name: other", 1)
	return fault{
		manifests: gateway + "\n---\n" + route, port: port,
		words:  []string{"Gateway default/other Accepted[http] False PortUnavailable", "choose another port"},
		repair: func() { _ = taken.Close() },
	}
}

// TestUnreadableDocumentAtStart: what a document holds that can't even be told may protect the rest. Without
// a last good state that ends the start, with one it serves until everything can be read.
func TestUnreadableDocumentAtStart(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := map[string]string{
		"base.yaml":   gatewayManifest(port) + "\n---\n" + backendManifest("b", backend.Port) + "\n---\n" + usersManifest,
		"route.yaml":  routeManifest("r", prefix("/"), "b"),
		"policy.yaml": policyManifest("r", basicSpec),
	}
	g := gatewaytest.Start(t, manifests)
	gatewaytest.AwaitFile(t, g.State+"/accepted.json")
	g.Stop(t)
	const unreadable = "kind: ["
	g.Write(t, "policy.yaml", unreadable)

	stderr, code := runBriefly(t, g.Dir)
	if code != 1 || !strings.Contains(stderr, "policy.yaml:1: isn't valid YAML") || !strings.Contains(stderr, "correct or remove it") {
		t.Errorf("without a last good state: exit %d, want 1 and the line:\n%s", code, stderr)
	}

	again := gatewaytest.Start(t, nil, gatewaytest.Args("--state", g.State), gatewaytest.Paths(g.Dir))
	note := func() error {
		_, stderr, _ := command(t, "status", "--server", strings.TrimPrefix(again.Admin, "http://"))
		if !strings.Contains(stderr, "last configuration that Envoy accepted serves") || !strings.Contains(stderr, "policy.yaml:1") {
			return errors.New("the status doesn't say what serves and why: " + stderr)
		}
		return nil
	}
	check := func(when string) {
		t.Helper()
		if a := gatewaytest.Get(t, at(port, "/")); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d, want 401", when, a.Status)
		}
		if a := gatewaytest.Get(t, at(port, "/"), basicAlice); a.Status != http.StatusOK {
			t.Errorf("%s, with a password: %d, want 200", when, a.Status)
		}
	}
	check("at the start")
	if err := note(); err != nil {
		t.Error(err)
	}
	g.Write(t, "policy.yaml", unreadable+" # edited")
	g.Write(t, "more.yaml", routeManifest("more", prefix("/more"), "b"))
	check("after an edit beside it")
	gatewaytest.Eventually(t, "a note", note)
	g.Write(t, "policy.yaml", manifests["policy.yaml"])
	gatewaytest.Await(t, at(port, "/more"), http.StatusOK)
	check("readable")
	awaitStatus(t, again, "SecurityPolicy default/r Accepted True")
}

// runBriefly runs a gateway that can't start.
func runBriefly(t *testing.T, dir string) (stderr string, code int) {
	t.Helper()
	g := gatewaytest.Launch(t, nil, gatewaytest.Paths(dir))
	code = g.Wait(t)
	return g.Output(), code
}

// TestBrokenDocumentKeepsItsObjects: while a file can't be read its objects stay as they were, and the
// others of it can be changed.
func TestBrokenDocumentKeepsItsObjects(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	file := func(policy, other string) string {
		return strings.Join([]string{
			routeManifest("r", prefix("/r"), "b"), policy, routeManifest("other", prefix(other), "b"),
		}, "\n---\n")
	}
	good := policyManifest("r", basicSpec)
	g := gatewaytest.Start(t, map[string]string{
		"base.yaml": gatewayManifest(port) + "\n---\n" + backendManifest("b", backend.Port) + "\n---\n" + usersManifest,
		"r.yaml":    file(good, "/one"),
	})
	for when, broken := range map[string]string{
		"a document that says nothing of itself": "kind: [",
		"a tab":                                  "kind:\tSecurityPolicy\n\tmetadata: {}",
		"a binary":                               "\x00\x01\x02",
		"a policy without its last brace":        strings.Replace(good, "{users: {name: users}}", "{users: {name: users}", 1),
	} {
		g.Write(t, "r.yaml", file(broken, "/two"))
		gatewaytest.Await(t, at(port, "/two"), http.StatusOK)
		if a := gatewaytest.Get(t, at(port, "/r")); a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d without a password, want 401 of the last good policy", when, a.Status)
		}
		if a := gatewaytest.Get(t, at(port, "/r"), basicAlice); a.Status != http.StatusOK {
			t.Errorf("%s: %d with a password, want 200 of the last good policy", when, a.Status)
		}
		gatewaytest.Eventually(t, "a note", func() error {
			_, stderr, code := command(t, "status", "--server", strings.TrimPrefix(g.Admin, "http://"))
			if code != 1 || !strings.Contains(stderr, filepath.Join(g.Dir, "r.yaml")) {
				return fmt.Errorf("exit %d, and the status doesn't name the file: %s", code, stderr)
			}
			return nil
		})
		g.Write(t, "r.yaml", file(good, "/one"))
		gatewaytest.Await(t, at(port, "/one"), http.StatusOK)
	}
	// The file that is gone takes its objects along: that is what removing it means.
	if err := os.Remove(filepath.Join(g.Dir, "r.yaml")); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Await(t, at(port, "/r"), http.StatusNotFound)
	var table strings.Builder
	if err := kubestatus.Table(&table, statuses(t, g)); err != nil || strings.Contains(table.String(), "default/r ") {
		t.Errorf("the status still has them: %v\n%s", err, table.String())
	}
}

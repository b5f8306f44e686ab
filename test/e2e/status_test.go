package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
)

// statuses asks the running gateway as a user does.
func statuses(t *testing.T, g *gatewaytest.Gateway) []kubestatus.Object {
	t.Helper()
	stdout, stderr, code := command(t, "status", "--server", strings.TrimPrefix(g.Admin, "http://"), "-o", "json")
	if code > 1 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var objects []kubestatus.Object
	if err := json.Unmarshal([]byte(stdout), &objects); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	return objects
}

// awaitStatus waits until the table of the running gateway has a line with all the words, in any place.
func awaitStatus(t *testing.T, g *gatewaytest.Gateway, words ...string) {
	t.Helper()
	gatewaytest.Eventually(t, "status with "+strings.Join(words, " "), func() error {
		var table strings.Builder
		if err := kubestatus.Table(&table, statuses(t, g)); err != nil {
			return err
		}
		for line := range strings.Lines(table.String()) {
			if hasAll(line, words) {
				return nil
			}
		}
		return errors.New(table.String())
	})
}

func hasAll(line string, words []string) bool {
	line = strings.Join(strings.Fields(line), " ")
	for _, word := range words {
		if !strings.Contains(line, word) {
			return false
		}
	}
	return true
}

func TestStatusOfARunningGateway(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	g := gatewaytest.Start(t, map[string]string{
		"base.yaml": gatewayManifest(port) + "\n---\n" + backendManifest("b", backend.Port),
		"r.yaml":    routeManifest("r", prefix("/"), "b"),
	})
	awaitStatus(t, g, "Gateway default/gw Programmed True Programmed")
	awaitStatus(t, g, "Gateway default/gw Programmed[http] True Programmed")
	awaitStatus(t, g, "HTTPRoute default/r Accepted True Accepted")
	if _, stderr, code := command(t, "status", "--server", strings.TrimPrefix(g.Admin, "http://")); code != 0 || stderr != "" {
		t.Errorf("exit %d %s, want 0: nothing is wrong", code, stderr)
	}
	first := generationOf(statuses(t, g), "r")
	g.Write(t, "r.yaml", routeManifest("r", prefix("/moved"), "b"))
	gatewaytest.Await(t, at(port, "/"), http.StatusNotFound)
	if second := generationOf(statuses(t, g), "r"); second != first+1 {
		t.Errorf("a changed route has generation %d after %d", second, first)
	}
	g.Write(t, "r.yaml", "kind: [")
	gatewaytest.Eventually(t, "a note of the broken file", func() error {
		stdout, stderr, _ := command(t, "status", "--server", strings.TrimPrefix(g.Admin, "http://"))
		if !strings.Contains(stderr, "r.yaml") || !strings.Contains(stdout, "default/r ") {
			return errors.New(stdout + stderr)
		}
		return nil
	})
}

// TestStatusOfWhatOnlyRunningShows: what the policy engine, Envoy and the network refuse.
func TestStatusOfWhatOnlyRunningShows(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	uri := fmt.Sprintf("http://127.0.0.1:%d/jwks", freePort(t))
	g := gatewaytest.Start(t, all(
		gatewayManifest(port), backendManifest("b", backend.Port),
		routeManifest("hash", prefix("/hash"), "b"), policyManifest("hash", basicSpec), strings.Replace(usersManifest, "{SHA}", "{MD5}", 1),
		routeManifest("keys", prefix("/keys"), "b"),
		policyManifest("keys", "  jwt: {providers: [{name: idp, remoteJWKS: {uri: '"+uri+"', allowPrivateAddresses: true}}]}"),
	))
	awaitStatus(t, g, "SecurityPolicy default/hash Accepted False Invalid", "line 1")
	awaitStatus(t, g, "SecurityPolicy default/keys ResolvedRefs False JWKSUnavailable", "provider idp has no keys", uri)
	awaitStatus(t, g, "SecurityPolicy default/keys Accepted True")
	bad := fmt.Sprintf("matches: [{path: {type: RegularExpression, value: '%s'}}]\n%s", refusedByEnvoy, to("b"))
	g.Write(t, "bad.yaml", route("bad", "", bad))
	awaitStatus(t, g, "HTTPRoute default/bad Accepted False UnsupportedValue", "Envoy refuses rules[0]")
	g.Write(t, "bad.yaml", route("bad", "", bad)+"  - {matches: [{path: {value: /good}}], "+to("b")+"}\n")
	awaitStatus(t, g, "HTTPRoute default/bad PartiallyInvalid True UnsupportedValue", "Dropped Rule 0")
	awaitStatus(t, g, "HTTPRoute default/bad Accepted True")
	g.Remove(t, "bad.yaml")
	awaitStatus(t, g, "Gateway default/gw Programmed True")
}

func generationOf(objects []kubestatus.Object, route string) int64 {
	for i := range objects {
		if objects[i].Kind == "HTTPRoute" && objects[i].Metadata.Name == route {
			return objects[i].Metadata.Generation
		}
	}
	return -1
}

// TestStatusOfATakenPort: the listener says so and what to do, and the others serve.
func TestStatusOfATakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	gateway := strings.Replace(gatewayManifest(port), "protocol: HTTP}]",
		fmt.Sprintf("protocol: HTTP}, {name: taken, port: %d, protocol: HTTP}]", taken.Addr().(*net.TCPAddr).Port), 1)
	g := gatewaytest.Start(t, all(gateway, backendManifest("b", backend.Port), routeManifest("r", prefix("/"), "b")))
	awaitStatus(t, g, "Gateway default/gw Accepted[taken] False PortUnavailable", "choose another port")
	awaitStatus(t, g, "Gateway default/gw Programmed[taken] False")
	awaitStatus(t, g, "Gateway default/gw Programmed[http] True")
	if _, _, code := command(t, "status", "--server", strings.TrimPrefix(g.Admin, "http://")); code != 1 {
		t.Errorf("exit %d, want 1: a listener doesn't serve", code)
	}
}

// TestStatusWithoutTheSource: what Envoy last accepted serves, and the status says so.
func TestStatusWithoutTheSource(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), routeManifest("r", prefix("/"), "b")))
	gatewaytest.AwaitFile(t, g.State+"/accepted.json")
	g.Stop(t)
	if err := os.RemoveAll(g.Dir); err != nil {
		t.Fatal(err)
	}
	again := gatewaytest.Start(t, nil, gatewaytest.Args("--state", g.State), gatewaytest.Paths(g.Dir))
	_, stderr, _ := command(t, "status", "--server", strings.TrimPrefix(again.Admin, "http://"))
	if !strings.Contains(stderr, "last configuration that Envoy accepted serves") {
		t.Errorf("the status doesn't say so: %s", stderr)
	}
}

func TestStatusOfFiles(t *testing.T) {
	t.Parallel()
	good := writeFile(t, gatewayManifest(freePort(t)))
	bad := writeFile(t, gatewayManifest(freePort(t))+"\n---\n"+routeManifest("r", prefix("/"), "missing"))
	twice := writeFile(t, gatewayManifest(freePort(t))+"\n---\n"+gatewayManifest(freePort(t)))
	secret := writeFile(t, gatewayManifest(freePort(t))+"\n---\n"+strings.Replace(usersManifest, ".htpasswd: |", "x: 7\n  .htpasswd: |", 1))
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"table":            {[]string{"-f", good}, 0, "Programmed"},
		"yaml":             {[]string{"-f", good, "-o", "yaml"}, 0, "reason: Pending"},
		"json":             {[]string{"-f", good, "-o", "json"}, 0, `"supportedKinds"`},
		"fault":            {[]string{"-f", bad}, 1, "BackendNotFound"},
		"name taken":       {[]string{"-f", twice}, 1, "is already defined at"},
		"broken Secret":    {[]string{"-f", secret}, 1, "Secret default/users: stringData"},
		"unknown format":   {[]string{"-f", good, "-o", "xml"}, 2, "xml"},
		"files and server": {[]string{"-f", good, "--server", "127.0.0.1:1"}, 2, "choose one"},
		"bad address":      {[]string{"--server", "x"}, 2, "host:port"},
		"no gateway":       {[]string{"--server", fmt.Sprintf("127.0.0.1:%d", freePort(t))}, 3, "gatehouse run"},
		"no file":          {[]string{"-f", "/nonexistent"}, 1, "/nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := command(t, append([]string{"status"}, test.args...)...)
			if code != test.code || !strings.Contains(stdout+stderr, test.says) {
				t.Errorf("exit %d, want %d and %q in:\n%s%s", code, test.code, test.says, stdout, stderr)
			}
		})
	}
}

// TestTheConsoleOfARunningGateway shows its objects and explains requests, to its operator alone.
func TestTheConsoleOfARunningGateway(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", 9), usersManifest, routeManifest("r", prefix("/x"), "b"), policyManifest("r", basicSpec)))
	if page := g.AdminPage(t, "/console"); !strings.Contains(page, "<td>default/gw</td>") || !strings.Contains(page, "0 of ") {
		t.Errorf("the page:\n%s", page)
	}
	for origin, want := range map[string]int{"": http.StatusOK, "https://evil.example": http.StatusForbidden} {
		r, err := http.NewRequest(http.MethodPost, g.Admin+"/console/", strings.NewReader(url.Values{"method": {"GET"}, "url": {at(port, "/x")}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		told := strings.Contains(string(text), "denied with 401 by SecurityPolicy default/r: credentials_missing")
		if err != nil || answer.StatusCode != want || told != (want == http.StatusOK) {
			t.Errorf("from %q: %d %v\n%s", origin, answer.StatusCode, err, text)
		}
	}
}

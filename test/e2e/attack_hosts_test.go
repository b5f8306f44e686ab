package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestAttackBetweenHostnames: of routes with one path, the one of the narrowest hostname decides, however the host is
// written, and the users of no other pass.
func TestAttackBetweenHostnames(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := []string{gatewayManifest(port), backendManifest("b", backend.Port)}
	routes := map[string]string{
		"narrow": "A.Example.com", "below": `"*.a.example.com"`, "wide": `"*.Example.COM", "*.b.example"`, "all": "",
		"second": "c.example.com, C.EXAMPLE.COM., B.b.example",
	}
	for name, hostnames := range routes {
		users := strings.NewReplacer("{name: users}", "{name: "+name+"}", "alice:", name+":").Replace(usersManifest)
		manifests = append(manifests, users, route(name, hostnames, to("b")), policyManifest(name, "  basicAuth: {users: {name: "+name+"}}"))
	}
	gatewaytest.Start(t, all(manifests...))
	for host, want := range map[string]string{
		"a.example.com": "narrow", "A.EXAMPLE.COM": "narrow", "a.example.com.": "narrow", "a.example.com:8443": "narrow", "A.example.com.:1": "narrow",
		"x.a.example.com": "below", "X.A.EXAMPLE.COM": "below", "x.y.a.example.com.": "below", "d.example.com": "wide", "D.EXAMPLE.com:80": "wide",
		"x.d.example.com": "wide", "aa.example.com": "wide", "c.example.com": "second", "C.example.com.": "second", "x.c.example.com": "wide",
		"b.b.example": "second", "a.b.example": "wide", "example.com": "all", "EXAMPLE.com": "all", "a.example.com.evil": "all", "aexample.com": "all",
		"b.example": "all", "[::1]": "all", "127.0.0.1:80": "all", "*.example.com": "wide", "*.a.example.com": "below",
		// What no host is written like may be refused. It isn't another's.
		"a..example.com": "wide", ".example.com": "all", "a.example.com..": "all", "a.example.com:80:80": "all", "a.example.com:x": "narrow", "x@a.example.com": "",
		"a.example.com/": "", "a.example.com#": "", "a.example.com?": "", "a.example.com\\": "", "a%2eexample.com": "all", "%61.example.com": "wide",
		"\u24d0.example.com": "wide", "a\u3002example.com": "all", "a.example.com, d.example.com": "", "a.example.com\t": "narrow", "a.example.com\u00a0": "all",
	} {
		var passed []string
		for name := range routes {
			status, _ := exchangeRaw(t, port, fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: Basic %s\r\n\r\n", host, base64.StdEncoding.EncodeToString([]byte(name+":password"))))
			if status == http.StatusOK {
				passed = append(passed, name)
			}
		}
		slices.Sort(passed)
		if len(passed) > 1 || len(passed) == 1 && passed[0] != want {
			t.Errorf("%q: the users of %q pass, want %q", host, passed, want)
		}
		if plain := strings.Trim(strings.ToLower(host), "abcdexy.:0123456789mpl"); plain == "" && want != "" && len(passed) == 0 && !strings.Contains(host, "..") {
			t.Errorf("%q: nobody passes, want the users of %q", host, want)
		}
	}
	for _, seen := range backend.Requests() {
		if seen.Header.Get("Authorization") == "" {
			t.Errorf("a request without a password reached the backend: %+v", seen)
		}
	}
}

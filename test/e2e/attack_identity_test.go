package e2e

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// serveHTTP2 runs a handler that speaks HTTP/2 without TLS on a loopback port.
func serveHTTP2(t *testing.T, handler http.HandlerFunc) (port int) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = &http.Protocols{}
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().(*net.TCPAddr).Port
}

// TestS14TrailersTellNoIdentity: some servers merge what comes behind a body with the headers before it. So
// what the client must not say there it can't say here.
func TestS14TrailersTellNoIdentity(t *testing.T) {
	t.Parallel()
	trailers, port := make(chan http.Header, 1), freePort(t)
	backend := serveHTTP2(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		trailers <- r.Trailer
	})
	door, issuer := newDoorman(t), gatewaytest.NewIssuer(t, "https://idp.example")
	const user = "  basicAuth: {users: {name: users}, forwardUsernameHeader: X-User}"
	manifests := []string{gatewayManifest(port), usersManifest, keysManifest, grpcBackendManifest("b", backend), backendManifest("door", door.Port)}
	policies := map[string]string{
		"password": user, "streamed": user + byExtProc, "dry": user + "\n  dryRun: true", "key": strings.Replace(keySpec, "x-api-key, authorization", "x-api-key", 1),
		"token":  jwtSpec(issuer, "      claimToHeaders: [{claim: sub, header: x-user}, {claim: role, header: x-client}]\n    optional: true"),
		"server": "  extAuth: {failOpen: true, headersToExtAuth: [x-pass], http: {" + toDoorman + ", headersToBackend: [x-user, x-client]}}",
	}
	for name, spec := range policies {
		manifests = append(manifests, routeManifest(name, prefix("/"+name), "b"), policyManifest(name, spec))
	}
	gatewaytest.Start(t, all(manifests...))
	client := &http.Client{Transport: gatewaytest.HTTP2()}
	for name := range policies {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at(port, "/"+name), struct{ io.Reader }{strings.NewReader("x")})
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{basicAlice, "x-api-key: key-of-ci", "x-pass: yes"} {
			key, value, _ := strings.Cut(line, ": ")
			r.Header.Set(key, value)
		}
		r.Trailer = http.Header{"X-User": {"root"}, "X-Client": {"root"}, "X-Checksum": {"1"}}
		answer, err := client.Do(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", name, answer.StatusCode)
			continue
		}
		forbidden := "X-User"
		if name == "key" {
			forbidden = "X-Client"
		}
		if seen := <-trailers; len(seen[forbidden]) > 0 || seen.Get("X-Checksum") != "1" {
			t.Errorf("%s: the backend got the trailers %v", name, seen)
		}
	}
}

// TestS14S48AServersHeadersAreItsOwn: what a server of the user's writes for the backend the client can't,
// also where the server gives its OK without it, and where failOpen lets the request pass without its word.
func TestS14S48AServersHeadersAreItsOwn(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	silent := serve(t, func(http.ResponseWriter, *http.Request) {})
	nobody := "{group: gateway.envoyproxy.io, kind: Backend, name: nobody}"
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), backendManifest("silent", silent), grpcBackendManifest("nobody", freePort(t)),
		guardedBy("silent", "headersToExtAuth: [x-team], http: {backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: silent}], headersToBackend: [X-User, x-team, authorization]}"),
		guardedBy("gone", "failOpen: true, headersToExtAuth: [x-team], http: {backendRefs: ["+nobody+"], headersToBackend: [X-User, x-team]}"),
		guardedBy("grpc", "failOpen: true, headersToExtAuth: [x-team], grpc: {backendRefs: ["+nobody+"], headersToBackend: [x-user]}")))
	for _, path := range []string{"/silent", "/gone", "/grpc"} {
		for name, forged := range map[string][]string{"once": {"x-user: root"}, "twice": {"x-user: root", "X-USER: admin"}, "in no case": {"X-uSeR: root"}} {
			a := gatewaytest.Get(t, at(port, path), append(forged, "x-team: a", "x-other: b", "Authorization: Door x")...)
			if a.Status != http.StatusOK {
				t.Fatalf("%s: %d", path, a.Status)
			}
			if users := a.Seen.Header.Values("X-User"); len(users) != 0 {
				t.Errorf("%s, %s: the backend was told %q", path, name, users)
			}
			// What the server is to judge reaches it, and so the backend.
			if h := a.Seen.Header; h.Get("X-Team") != "a" || h.Get("X-Other") != "b" || h.Get("Authorization") == "" {
				t.Errorf("%s, %s: the backend saw %v", path, name, h)
			}
		}
	}
}

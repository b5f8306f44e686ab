package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// serve runs a backend of one's own and returns its port.
func serve(t *testing.T, handler http.HandlerFunc) int {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().(*net.TCPAddr).Port
}

func TestRetries(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	// Each path fails as often as its last part says; /slow takes its time instead, /reset hangs up.
	tries := map[string]*atomic.Int32{}
	for _, path := range []string{"/pair/0", "/code/1", "/code/3", "/other/1", "/none/1", "/slow/1", "/slow/9", "/reset/1", "/total/9"} {
		tries[path] = &atomic.Int32{}
	}
	backend := serve(t, func(w http.ResponseWriter, r *http.Request) {
		count := tries[r.URL.Path].Add(1)
		if count > int32(r.URL.Path[len(r.URL.Path)-1]-'0') {
			return
		}
		switch {
		case strings.HasPrefix(r.URL.Path, "/slow"), strings.HasPrefix(r.URL.Path, "/total"):
			<-r.Context().Done()
		case strings.HasPrefix(r.URL.Path, "/reset"):
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	rule := func(path, spec string) string {
		return "matches: [{path: {value: " + path + "}}]\n" + spec + "\n" + to("b")
	}
	pair := strings.Replace(backendManifest("pair", backend), "}}]}", fmt.Sprintf("}}, {ip: {address: 127.0.0.1, port: %d}}]}", freePort(t)), 1)
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend), pair,
		route("pair", "", "matches: [{path: {value: /pair}}]\nretry: {attempts: 1, backoff: 1ms}\n"+to("pair")),
		route("code", "", rule("/code", "retry: {codes: [503], attempts: 2, backoff: 10ms}")),
		route("other", "", rule("/other", "retry: {codes: [500], attempts: 2, backoff: 10ms}")),
		route("none", "", rule("/none", "")),
		route("reset", "", rule("/reset", "retry: {attempts: 1, backoff: 10ms}")),
		route("slow", "", rule("/slow", "retry: {attempts: 2, backoff: 10ms}\ntimeouts: {backendRequest: 300ms}")),
		route("total", "", rule("/total", "retry: {attempts: 9, backoff: 10ms}\ntimeouts: {request: 1s, backendRequest: 400ms}")),
	))
	for _, test := range []struct {
		path          string
		status, tries int
	}{
		{"/code/1", 200, 2},
		{"/code/3", 503, 3},
		{"/other/1", 503, 1},
		{"/none/1", 503, 1},
		{"/reset/1", 200, 2},
		{"/slow/1", 200, 2},
		{"/slow/9", 504, 3},
		{"/total/9", 504, 3},
	} {
		a := gatewaytest.Get(t, at(port, test.path))
		if got := int(tries[test.path].Load()); a.Status != test.status || got != test.tries {
			t.Errorf("%s: %d after %d tries, want %d after %d", test.path, a.Status, got, test.status, test.tries)
		}
	}
	for range 30 {
		if a := gatewaytest.Get(t, at(port, "/pair/0")); a.Status != http.StatusOK {
			t.Fatalf("one of two endpoints is gone, one retry: %d", a.Status)
		}
	}
}

// The other endpoints of a session's rule are for other clients.
func TestSessions(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	manifests := []string{gatewayManifest(port)}
	var endpoints []string
	for _, name := range []string{"a", "b", "c", "d"} {
		backend := gatewaytest.NewBackend(t, name)
		endpoints = append(endpoints, fmt.Sprintf("{ip: {address: 127.0.0.1, port: %d}}", backend.Port))
		manifests = append(manifests, backendManifest(name, backend.Port))
	}
	manifests = append(manifests, "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata: {name: many}\nspec: {endpoints: ["+strings.Join(endpoints, ", ")+"]}\n")
	rule := func(path, session, backends string) string {
		return "matches: [{path: {value: " + path + "}}]\nsessionPersistence: " + session + "\n" + backends
	}
	several := "backendRefs:\n"
	for _, name := range []string{"a", "b", "many"} {
		several += "- {group: gateway.envoyproxy.io, kind: Backend, name: " + name + "}\n"
	}
	gatewaytest.Start(t, all(append(manifests,
		route("cookie", "", rule("/cookie", "{}", to("many"))),
		route("permanent", "", rule("/permanent", "{sessionName: keep, absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}", to("many"))),
		route("header", "", rule("/header", "{type: Header, sessionName: x-session}", to("many"))),
		route("several", "", rule("/several", "{sessionName: split}", several)),
	)...))
	for _, path := range []string{"/cookie", "/permanent", "/several"} {
		first := gatewaytest.Get(t, at(port, path))
		var pairs []string
		for _, line := range first.Header.Values("Set-Cookie") {
			pair, attributes, _ := strings.Cut(line, ";")
			pairs = append(pairs, pair)
			if permanent := strings.Contains(attributes, "Max-Age=3600"); permanent != (path == "/permanent") || !strings.Contains(attributes, "HttpOnly") {
				t.Errorf("%s: cookie %q", path, line)
			}
		}
		for range 30 {
			next := gatewaytest.Get(t, at(port, path), "Cookie: "+strings.Join(pairs, "; "))
			if next.Seen.Backend != first.Seen.Backend {
				t.Fatalf("%s: %s answers a session of %s", path, next.Seen.Backend, first.Seen.Backend)
			}
		}
		if path == "/permanent" && (len(pairs) != 1 || !strings.HasPrefix(pairs[0], "keep=")) {
			t.Errorf("cookies %q, want keep", pairs)
		}
		seen := map[string]bool{}
		for range 60 {
			seen[gatewaytest.Get(t, at(port, path)).Seen.Backend] = true
		}
		if len(seen) < 2 {
			t.Errorf("%s: new clients meet only %v", path, seen)
		}
	}
	first := gatewaytest.Get(t, at(port, "/header"))
	for range 30 {
		if next := gatewaytest.Get(t, at(port, "/header"), "x-session: "+first.Header.Get("x-session")); next.Seen.Backend != first.Seen.Backend {
			t.Fatalf("%s answers a header's session of %s", next.Seen.Backend, first.Seen.Backend)
		}
	}
}

func TestBackendProtocols(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	h2c := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("x-protocol", r.Proto) }))
	h2c.Config.Protocols = &http.Protocols{}
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(h2c.Close)
	echo := serve(t, upgrade)
	service := func(name, protocol string, port int) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {clusterIP: 127.0.0.1, ports: [{port: %d, appProtocol: %s}]}\n", name, port, protocol)
	}
	rule := func(name string, port int) string {
		return route(name, "", fmt.Sprintf("matches: [{path: {value: /%s}}]\nbackendRefs: [{name: %s, port: %d}]", name, name, port))
	}
	h2cPort := h2c.Listener.Addr().(*net.TCPAddr).Port
	gatewaytest.Start(t, all(gatewayManifest(port),
		service("h2c", "kubernetes.io/h2c", h2cPort), rule("h2c", h2cPort),
		service("ws", "kubernetes.io/ws", echo), rule("ws", echo),
		service("wss", "kubernetes.io/wss", echo), rule("wss", echo),
		service("plain", "http", echo), rule("plain", echo),
	))
	if a := gatewaytest.Get(t, at(port, "/h2c")); a.Header.Get("x-protocol") != "HTTP/2.0" {
		t.Errorf("kubernetes.io/h2c: %d by %q", a.Status, a.Header.Get("x-protocol"))
	}
	if a := gatewaytest.Get(t, at(port, "/wss")); a.Status != http.StatusInternalServerError {
		t.Errorf("kubernetes.io/wss, which needs TLS: %d, want 500", a.Status)
	}
	for _, path := range []string{"/ws", "/plain"} {
		if got, err := websocketEcho(port, path); err != nil || got != "hello" {
			t.Errorf("upgrade at %s: %q %v", path, got, err)
		}
	}
}

// upgrade switches to a protocol that sends back what comes.
func upgrade(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return
	}
	connection, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = connection.Close() }()
	_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(connection, buffered)
}

func websocketEcho(port int, path string) (string, error) {
	connection, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 10*time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = connection.Close() }()
	if err := connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	_, _ = fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", path)
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusSwitchingProtocols {
		return response.Status, nil
	}
	_, _ = io.WriteString(connection, "hello")
	echo := make([]byte, 5)
	_, err = io.ReadFull(reader, echo)
	return string(echo), err
}

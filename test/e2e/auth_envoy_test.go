package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"sigs.k8s.io/yaml"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// pasted puts what `gatehouse auth --print-envoy-config` prints into a bootstrap, as its reader would:
// each route has a path and one of the printed parts.
func pasted(t *testing.T, printed string, port, backend int, routes ...[2]string) string {
	t.Helper()
	var parts struct {
		Manager  map[string]any            `json:"http_connection_manager"`
		Config   map[string]any            `json:"route_config"`
		Named    map[string]map[string]any `json:"routes"`
		Streamed map[string]map[string]any `json:"ext_proc_routes"`
		Open     map[string]any            `json:"open_route"`
		Clusters []any                     `json:"clusters"`
	}
	if err := yaml.UnmarshalStrict([]byte(printed), &parts); err != nil {
		t.Fatalf("%v in\n%s", err, printed)
	}
	filterConfig := func(part string) any {
		kind, policy, _ := strings.Cut(part, " ")
		return map[string]map[string]any{"named": parts.Named[policy], "streamed": parts.Streamed[policy], "open": parts.Open}[kind]["typed_per_filter_config"]
	}
	all := []any{}
	for _, r := range routes {
		one := map[string]any{"match": map[string]any{"prefix": r[0]}, "route": map[string]any{"cluster": "backend"}}
		if config := filterConfig(r[1]); config != nil {
			one["typed_per_filter_config"] = config
		}
		if r[1] == "unchecked" { // as a filter that moves a request to a route of no policy would leave it
			one["typed_per_filter_config"] = map[string]any{"gatehouse.ext_authz": filterConfig("open").(map[string]any)["gatehouse.ext_authz"]}
		}
		all = append(all, one)
	}
	parts.Config["virtual_hosts"] = []any{map[string]any{"name": "all", "domains": []string{"*"}, "routes": all}}
	parts.Manager["stat_prefix"], parts.Manager["route_config"] = "own", parts.Config
	parts.Manager["xff_num_trusted_hops"] = 1 // behind one other proxy
	parts.Manager["@type"] = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
	var own map[string]any
	if err := yaml.Unmarshal([]byte(ownEnvoy(port, backend, "/nowhere")), &own); err != nil {
		t.Fatal(err)
	}
	static := own["static_resources"].(map[string]any)
	chain := static["listeners"].([]any)[0].(map[string]any)["filter_chains"].([]any)[0].(map[string]any)
	chain["filters"].([]any)[0].(map[string]any)["typed_config"] = parts.Manager
	static["clusters"] = append(static["clusters"].([]any)[:1], parts.Clusters...)
	text, err := json.Marshal(own)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestAuthsPrintedConfigurationWorks in a real Envoy, by both protocols, and seals what it protects.
func TestAuthsPrintedConfigurationWorks(t *testing.T) {
	t.Parallel()
	backend, port, state := gatewaytest.NewBackend(t, "b"), freePort(t), envoytest.SocketDir(t)
	file := writeFile(t, strings.Join([]string{usersManifest, policyManifest("named", basicSpec+corsSpec), policyManifest("fallback", officeOrLoopback)}, "\n---\n"))
	socket := filepath.Join(state, "auth.sock")
	args := []string{"-f", file, "--listen", "unix:" + socket, "--state", state, "--default-policy", "default/fallback"}
	printed, stderr, code := command(t, append([]string{"auth", "--print-envoy-config"}, args...)...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	log := startAuth(t, args...)
	gatewaytest.Eventually(t, "socket", func() error { _, err := os.Stat(socket); return err })
	envoytest.Start(t, pasted(t, printed, port, backend.Port, [2]string{"/named", "named default/named"}, [2]string{"/stream", "streamed default/named"},
		[2]string{"/open", "open"}, [2]string{"/unchecked", "unchecked"}, [2]string{"/", ""}))
	for name, test := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"named":                       {"/named", nil, 401},
		"named, password":             {"/named", []string{basicAlice}, 200},
		"by ext_proc":                 {"/stream", nil, 401},
		"by ext_proc, passes":         {"/stream", []string{basicAlice}, 200},
		"nobody checks":               {"/open", nil, 200},
		"the default policy":          {"/x", nil, 200},
		"by default, from elsewhere":  {"/x", []string{"X-Forwarded-For: 203.0.113.9"}, 403},
		"by default, from the office": {"/x", []string{"X-Forwarded-For: 127.0.0.9"}, 200},
		"no proof":                    {"/unchecked", []string{basicAlice}, 403},
	} {
		a := gatewaytest.Get(t, at(port, test.path), test.header...)
		if a.Status != test.want {
			t.Errorf("%s: %d, want %d: %s", name, a.Status, test.want, a.Body)
		}
		for _, internal := range []string{"x-gatehouse-client-ip", "x-gatehouse-recompute"} {
			if a.Seen.Header.Get(internal) != "" {
				t.Errorf("%s: the backend gets %s", name, internal)
			}
		}
	}
	if !strings.Contains(log.text(), "policy=default/fallback status=403 reason=rule_default_denied") {
		t.Error("the log doesn't name the default policy as the one that denied")
	}
	for _, path := range []string{"/named", "/stream"} {
		checkCORS(t, path+" 200", gatewaytest.Get(t, at(port, path), basicAlice, origin).Header)
		checkCORS(t, path+" 401", gatewaytest.Get(t, at(port, path), origin).Header)
	}
}

// TestAuthChoosesByHostAndPath of the files' own routes, and denies what they leave open.
func TestAuthChoosesByHostAndPath(t *testing.T) {
	t.Parallel()
	backend, port, state := gatewaytest.NewBackend(t, "b"), freePort(t), envoytest.SocketDir(t)
	file := writeFile(t, strings.Join([]string{
		usersManifest, gatewayManifest(8080), backendManifest("b", 9),
		route("shop", "shop.example", "matches: ["+prefix("/basic")+"]\n"+to("b")), policyManifest("shop", basicSpec),
		route("office", "office.example", "matches: ["+prefix("/")+"]\n"+to("b")), policyManifest("office", officeOrLoopback),
		route("partly", "partly.example", "matches: ["+prefix("/")+"]\n"+to("b")), policyManifest("partly", basicSpec+"\n  csrf: {}"),
		route("body", "body.example", "matches: ["+prefix("/")+"]\n"+to("b")),
		policyManifest("body", "  opa: {body: {maxBytes: 100}, modules: [{type: Inline, inline: \"package envoy.authz\\nallow if input.attributes.request.http.body != `x`\"}]}"),
		route("open", "open.example", "matches: ["+prefix("/")+"]\n"+to("b")),
	}, "\n---\n"))
	socket := filepath.Join(state, "auth.sock")
	startAuth(t, "-f", file, "--listen", "unix:"+socket, "--state", state)
	gatewaytest.Eventually(t, "socket", func() error { _, err := os.Stat(socket); return err })
	own := strings.Replace(ownEnvoy(port, backend.Port, socket), "normalize_path: true", "normalize_path: false", 1)
	envoytest.Start(t, own)
	for name, test := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"a stranger":                       {"/basic", []string{"Host: shop.example"}, 401},
		"with a port, in capitals":         {"/basic/x?y=1", []string{"Host: SHOP.example:8080"}, 401},
		"a password":                       {"/basic", []string{"Host: shop.example", basicAlice}, 200},
		"another host's policy":            {"/basic", []string{"Host: office.example"}, 200},
		"a path without a route":           {"/other", []string{"Host: shop.example", basicAlice}, 503},
		"a host without a route":           {"/basic", []string{"Host: nowhere.example", basicAlice}, 503},
		"a route without a policy":         {"/basic", []string{"Host: open.example", basicAlice}, 503},
		"a policy that is Envoy's in part": {"/basic", []string{"Host: partly.example", basicAlice}, 503},
		"dot segments":                     {"/x/../basic", []string{"Host: office.example"}, 503},
		"escaped":                          {"/%62asic", []string{"Host: office.example"}, 503},
		"two slashes":                      {"//basic", []string{"Host: office.example"}, 503},
		"the same, with a password":        {"/x/../basic", []string{"Host: shop.example", basicAlice}, 503},
		"a named policy is still chosen":   {"/named", []string{"Host: office.example"}, 503}, // default/named isn't among the files
	} {
		request := "GET " + test.path + " HTTP/1.1\r\nConnection: close\r\n" + strings.Join(test.header, "\r\n") + "\r\n\r\n"
		if status, _ := exchangeRaw(t, port, request); status != test.want {
			t.Errorf("%s: %d, want %d", name, status, test.want)
		}
	}
	const post = "POST /x HTTP/1.1\r\nHost: body.example\r\nConnection: close\r\nContent-Length: "
	for text, want := range map[string]int{"0\r\n\r\n": 200, "1\r\n\r\ny": 503} {
		if status, _ := exchangeRaw(t, port, post+text); status != want {
			t.Errorf("a body that isn't shown to the policy that reads it, %q: %d, want %d", text, status, want)
		}
	}
}

// TestAuthKeepsWhatABrokenFileHeld, and says in the words of validate what is wrong, in its log and to whoever asks
// for its health.
func TestAuthKeepsWhatABrokenFileHeld(t *testing.T) {
	t.Parallel()
	backend, port, state := gatewaytest.NewBackend(t, "b"), freePort(t), envoytest.SocketDir(t)
	good := usersManifest + "\n---\n" + policyManifest("named", basicSpec)
	file := writeFile(t, good)
	socket := filepath.Join(state, "auth.sock")
	log := startAuth(t, "-f", file, "--listen", "unix:"+socket, "--state", state)
	gatewaytest.Eventually(t, "socket", func() error { _, err := os.Stat(socket); return err })
	envoytest.Start(t, ownEnvoy(port, backend.Port, socket))
	if a := gatewaytest.Get(t, at(port, "/no-policy"), basicAlice); a.Status != http.StatusServiceUnavailable {
		t.Errorf("neither a name nor a default policy nor routes: %d, want 503", a.Status)
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	problems := func() []string {
		var header metadata.MD
		for _, service := range []string{"", "ext_authz", "ext_proc"} {
			answer, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service}, grpc.Header(&header))
			if err != nil || answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
				t.Fatalf("health of %q: %v %v", service, answer, err)
			}
		}
		return header.Get("gatehouse-problem")
	}
	for _, broken := range []struct {
		name, text string
		want       map[string]int // by header
	}{
		{"YAML", usersManifest + "\n---\nkind: [\n", map[string]int{"x-none: 1": http.StatusUnauthorized, basicAlice: http.StatusOK}},
		{"a bracket that isn't closed", usersManifest + "\n---\n" + policyManifest("named", basicSpec[:len(basicSpec)-1]), map[string]int{"x-none: 1": http.StatusUnauthorized, basicAlice: http.StatusOK}},
		{"nothing wrong", good, map[string]int{"x-none: 1": http.StatusUnauthorized, basicAlice: http.StatusOK}},
		{"a Secret that is gone", policyManifest("named", basicSpec), map[string]int{basicAlice: http.StatusServiceUnavailable}},
		{"Rego", good + "\n---\n" + policyManifest("other", "  opa: {modules: [{type: Inline, inline: \"package x\\nallow if {\"}]}"), map[string]int{basicAlice: http.StatusOK}},
		{"an unknown field", usersManifest + "\n---\n" + policyManifest("named", basicSpec+"\n  nonsense: 1"), map[string]int{basicAlice: http.StatusServiceUnavailable}},
	} {
		if err := os.WriteFile(file, []byte(broken.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, stderr, _ := command(t, "validate", "-f", file)
		var want []string
		for line := range strings.Lines(stderr) {
			if !strings.Contains(line, "doesn't exist; a policy's target") { // which is nothing to an authorizer
				want = append(want, strings.TrimSpace(line))
			}
		}
		gatewaytest.Eventually(t, broken.name, func() error {
			got := problems()
			for i, line := range want {
				if len(got) != len(want) || got[i] != strings.ReplaceAll(line, `"`, `\"`) {
					return fmt.Errorf("health says %q, validate %q", got, want)
				}
			}
			return nil
		})
		for _, line := range want {
			if !strings.Contains(log.text(), strings.ReplaceAll(line, `"`, `\"`)) {
				t.Errorf("%s: no %s in the log", broken.name, line)
			}
		}
		for header, status := range broken.want {
			gatewaytest.Await(t, at(port, "/named"), status, header)
		}
	}
}

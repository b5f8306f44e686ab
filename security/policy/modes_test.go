package policy_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

func TestS14DryRunDecidesButNeverDenies(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	b := withBasic()
	b.ForwardUsernameHeader = "x-user"
	p := compile(t, &config.Policy{DryRun: true, BasicAuth: b}, func(d *policy.Deps) { d.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	v := check(t, p, request("GET /", "authorization", basicAuth("alice:hunter2"), "x-user", "root"))
	if !v.Allow || v.Reason != policy.DryRunPrefix+policy.ReasonBasicInvalid || len(v.Set) != 0 || !strings.Contains(strings.Join(v.Remove, " "), "x-user") {
		t.Errorf("%+v", v)
	}
	if !strings.Contains(log.String(), policy.ReasonBasicInvalid) || strings.Contains(log.String(), "hunter2") {
		t.Errorf("log: %s", log.String())
	}
	if v := check(t, p, request("GET /", "authorization", basicAuth("alice:secret"))); !v.Allow || v.Reason != policy.ReasonAllowed || len(v.Set) != 1 {
		t.Errorf("%+v", v)
	}
}

func TestS48FailOpenIsForMissingKeysOnly(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(server.Close)
	fetched := make(chan jwt.State, 100)
	fetcher := jwt.NewFetcher(jwt.FetcherOptions{AllowPrivateAddresses: true, OnFetch: func(s jwt.State) { fetched <- s }, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(fetcher.Close)
	at := func(edit func(*config.JWT), mode config.Mode) *policy.Policy {
		spec := &config.Policy{Mode: mode, JWT: withJWT(t, func(j *config.JWT) {
			j.Providers[0].LocalJWKS, j.Providers[0].RemoteJWKS = nil, &config.RemoteJWKS{URI: server.URL}
			edit(j)
		})}
		if mode == config.Any {
			spec.BasicAuth = withBasic()
		}
		return compile(t, spec, func(d *policy.Deps) { d.JWKS = fetcher })
	}
	closed := at(func(*config.JWT) {}, config.All)
	open := at(func(j *config.JWT) { j.FailOpen = true }, config.All)
	openAny := at(func(j *config.JWT) { j.FailOpen = true }, config.Any)
	<-fetched
	for name, c := range map[string]struct {
		lines             []string
		closed, open, any int
	}{
		"unverifiable": {bearer(token(t, nil)), 503, 200, 200},
		"garbage":      {bearer("garbage"), 401, 401, 401},
		"wrong issuer": {bearer(token(t, map[string]any{"iss": "evil"})), 401, 401, 401},
		"expired":      {bearer(token(t, map[string]any{"exp": 1})), 401, 401, 401},
		"nothing":      {nil, 401, 401, 401},
		"basic":        {[]string{"authorization", basicAuth("alice:secret")}, 401, 401, 200},
		"wrong basic":  {[]string{"authorization", basicAuth("alice:x")}, 401, 401, 401},
	} {
		lines := append(slices.Clip(c.lines), "x-user", "root")
		for p, want := range map[*policy.Policy]int{closed: c.closed, open: c.open, openAny: c.any} {
			v := check(t, p, request("GET /", lines...))
			if status(v) != want {
				t.Errorf("%s: %d (%s), want %d", name, status(v), v.Reason, want)
			}
			if v.Allow && !strings.Contains(strings.Join(v.Remove, " "), "x-user") {
				t.Errorf("%s: the client's identity header passes", name)
			}
		}
	}
}

func TestClientAddressRulesComeAfterAuthentication(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{BasicAuth: withBasic(), Authorization: &config.Authorization{Rules: []config.Rule{
		{Name: "inside", Allow: true, ClientCIDRs: []string{"192.0.2.0/24"}},
	}}})
	good := []string{"authorization", basicAuth("alice:secret"), "x-forwarded-for", "192.0.2.7", "x-gatehouse-client-ip", "192.0.2.7"}
	for client, want := range map[string]int{"192.0.2.7": 200, "198.51.100.1": 403, "": 403} {
		plain := request("GET /", good...)
		conn := exchange.Conn{Peer: netip.MustParseAddrPort("192.0.2.7:1")}
		if client != "" {
			conn.Client = netip.MustParseAddr(client)
		}
		if v := check(t, p, exchange.NewRequest(plain.Head(), conn, plain.Header, exchange.Body{}, nil)); status(v) != want {
			t.Errorf("%q: %d (%s)", client, status(v), v.Reason)
		}
	}
	if v := check(t, p, request("GET /")); status(v) != 401 {
		t.Errorf("no credentials: %d", status(v))
	}
}

func TestS16HeaderSpellings(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{Strip: []string{"X-User-Id", "x_role", "Tenant"}})
	v := check(t, p, request("GET /", "X_USER-ID", "1", "x-User_id", "1", "X-ROLE", "1", "tenant", "1", "x-user-idx", "1", "x_other", "1"))
	removed := " " + strings.Join(v.Remove, " ") + " "
	for _, name := range []string{"x-user-id", "x_user_id", "x_user-id", "x-user_id", "x-role", "x_role", "tenant"} {
		if !strings.Contains(removed, " "+name+" ") {
			t.Errorf("%s passes: %s", name, removed)
		}
	}
	if strings.Contains(removed, "idx") || strings.Contains(removed, "other") {
		t.Errorf("too much is removed: %s", removed)
	}
	written := compile(t, &config.Policy{OPA: rego(`allow := {"allowed": true, "headers": {"X-Role": "user", "x_team": "a"}}`)})
	v = check(t, written, request("GET /", "x_role", "root", "X_ROLE", "root", "x-team", "root", "x-role", "root", "x-roles", "b"))
	if got := strings.Join(v.Remove, " "); got != "x_role x-team" {
		t.Errorf("beside the headers that Rego writes these are removed: %s", got)
	}
}

// hostile panics when a header is read.
type hostile struct{}

func (hostile) Fields([]exchange.Field) []exchange.Field { panic("secret token abc") }

func TestS39PanicsDenyOneRequest(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := compile(t, &config.Policy{BasicAuth: withBasic()}, func(d *policy.Deps) { d.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	var header exchange.Header
	header.Load(hostile{})
	v, err := p.Check(t.Context(), exchange.NewRequest(exchange.Head{Method: "GET"}, exchange.Conn{}, header, exchange.Body{}, nil))
	if err != nil || v.Allow || v.Reply.Status() != 503 || strings.Contains(log.String(), "secret") {
		t.Errorf("%+v %v %s", v, err, log.String())
	}
}

// The engine must fit any host, so it links neither gRPC nor Kubernetes, and leaves protobuf to the
// language of expressions and OPA's bundles, which are built on it.
func TestTheEngineStaysSmall(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{.ImportPath}} {{join .Imports \",\"}}", "github.com/gatehouse-proxy/gatehouse/security/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		path, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, forbidden := range []string{"google.golang.org/grpc", "k8s.io/", "sigs.k8s.io/controller-runtime", "sigs.k8s.io/gateway-api", "github.com/envoyproxy/"} {
			if strings.HasPrefix(path, forbidden) {
				t.Errorf("links %s", path)
			}
		}
		own, found := strings.CutPrefix(path, "github.com/gatehouse-proxy/gatehouse/")
		if found && !strings.HasPrefix(own, "security/") && own != "exchange" {
			t.Errorf("imports %s", path)
		}
		if found && strings.Contains(imports, "google.golang.org/protobuf") {
			t.Errorf("%s imports protobuf", path)
		}
	}
}

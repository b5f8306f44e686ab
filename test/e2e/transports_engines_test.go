package e2e

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
	"github.com/gatehouse-proxy/gatehouse/translator"
)

// engines decide without Envoy: the policies themselves, and behind the two protocols.
type engines struct {
	policies map[string]*policy.Policy
	authz    *extauthz.Server
}

func newEngines(t *testing.T, manifests string) *engines {
	t.Helper()
	path := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(path, []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := files.New([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	set, _, err := source.Load()
	if err != nil {
		t.Fatal(err)
	}
	keys := jwt.NewFetcher(jwt.FetcherOptions{Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(keys.Close)
	e := &engines{policies: map[string]*policy.Policy{}}
	for _, s := range translator.New(translator.Options{}).Policies(set) {
		deps := policy.Deps{Data: s.Data, CORSHeaders: true, JWKS: keys}
		compiled, err := policy.Compile(s.Spec, deps)
		if err != nil {
			compiled = policy.Broken(s.Spec, deps, err)
		}
		t.Cleanup(compiled.Close)
		e.policies[strings.TrimPrefix(s.Spec.Name, "default/")] = compiled
	}
	e.authz = extauthz.NewServer(e.choose)
	return e
}

func (e *engines) choose(r *exchange.Request) exchange.Authorizer {
	name, _ := r.Extension("gatehouse.policy")
	if p := e.policies[name]; p != nil {
		return p
	}
	return nil
}

func (one *trial) lines() []exchange.Field {
	var fields []exchange.Field
	for _, line := range one.header {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, exchange.Field{Name: strings.ToLower(name), Value: value})
	}
	return fields
}

// direct asks the policy itself.
func (e *engines) direct(t *testing.T, one trial) outcome {
	t.Helper()
	r := exchange.NewRequest(exchange.Head{Method: one.method, Path: "/" + one.policy, Authority: "shop.example", Scheme: "http", Size: -1},
		exchange.Conn{Peer: netip.MustParseAddrPort("127.0.0.1:1234"), Client: netip.MustParseAddr("127.0.0.1")},
		exchange.NewHeader(one.lines()...), exchange.Body{}, nil)
	v, err := e.policies[one.policy].Check(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if !v.Allow {
		return outcome{Status: v.Reply.Status(), Reply: pick(answered, v.Reply.Header.Values)}
	}
	seen, reply := requestOf(one), http.Header{}
	for _, f := range v.Set {
		seen.Set(f.Name, f.Value)
	}
	for _, f := range v.ResponseSet {
		reply.Add(f.Name, f.Value)
	}
	for _, name := range v.Remove {
		seen.Del(name)
	}
	return outcome{Status: 200, Seen: "- " + pick(told, seen.Values), Reply: pick(answered, reply.Values), Metadata: asJSON(t, v.Metadata)}
}

func asJSON(t *testing.T, metadata map[string]any) string {
	t.Helper()
	if len(metadata) == 0 {
		return ""
	}
	text, err := json.Marshal(metadata)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func requestOf(one trial) http.Header {
	out := http.Header{}
	for _, f := range one.lines() {
		out.Add(f.Name, f.Value)
	}
	return out
}

// extAuthz asks by the bytes of a CheckRequest, and does with the answer what Envoy does.
func (e *engines) extAuthz(t *testing.T, one trial) outcome {
	t.Helper()
	lines := []*core.HeaderValue{{Key: ":method", RawValue: []byte(one.method)}, {Key: ":path", RawValue: []byte("/" + one.policy)}}
	for _, f := range one.lines() {
		lines = append(lines, &core.HeaderValue{Key: f.Name, RawValue: []byte(f.Value)})
	}
	request, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 1234},
		}}}},
		ContextExtensions: map[string]string{"gatehouse.policy": one.policy},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: one.method, Path: "/" + one.policy, Host: "shop.example", HeaderMap: &core.HeaderMap{Headers: lines},
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	answer := &authv3.CheckResponse{}
	if err := proto.Unmarshal(e.authz.Decide(t.Context(), string(request), nil), answer); err != nil {
		t.Fatal(err)
	}
	reply := http.Header{}
	if denied := answer.GetDeniedResponse(); denied != nil {
		for _, h := range denied.GetHeaders() {
			reply.Add(h.GetHeader().GetKey(), h.GetHeader().GetValue())
		}
		return outcome{Status: int(denied.GetStatus().GetCode()), Reply: pick(answered, reply.Values), Metadata: asJSON(t, answer.GetDynamicMetadata().AsMap())}
	}
	seen := requestOf(one)
	for _, h := range answer.GetOkResponse().GetHeaders() {
		seen.Set(h.GetHeader().GetKey(), h.GetHeader().GetValue())
	}
	for _, name := range answer.GetOkResponse().GetHeadersToRemove() {
		seen.Del(name)
	}
	for _, h := range answer.GetOkResponse().GetResponseHeadersToAdd() {
		reply.Add(h.GetHeader().GetKey(), h.GetHeader().GetValue())
	}
	return outcome{Status: 200, Seen: "- " + pick(told, seen.Values), Reply: pick(answered, reply.Values), Metadata: asJSON(t, answer.GetDynamicMetadata().AsMap())}
}

// extProc asks behind the emulation of Envoy's filter.
func (e *engines) extProc(t *testing.T, one trial) outcome {
	t.Helper()
	filter := sdktest.Recommended()
	filter.Mutations = sdktest.Rules{AllowAllRouting: true, AllowEnvoy: true}
	filter.Receive = []string{"gatehouse"}
	filter.InitialMetadata = map[string]string{"gatehouse.policy": one.policy, "gatehouse.client-address": "header"}
	header := requestOf(one)
	header.Set("x-gatehouse-client-ip", "127.0.0.1")
	lower := http.Header{}
	for name, values := range header {
		lower[strings.ToLower(name)] = values
	}
	result := sdktest.Run(t, extproc.Authorize(e.choose), filter, sdktest.Request{Method: one.method, Path: "/" + one.policy, Authority: "shop.example", Header: lower})
	out := outcome{Status: result.Client.Status, Reply: pick(answered, canonical(result.Client.Header).Values), Metadata: asJSON(t, result.Metadata["gatehouse"].AsMap())}
	if result.Upstream != nil {
		out.Seen = "- " + pick(told, canonical(result.Upstream.Header).Values)
	}
	return out
}

func canonical(h http.Header) http.Header {
	out := http.Header{}
	for name, values := range maps.All(h) {
		for _, value := range values {
			out.Add(name, value)
		}
	}
	return out
}

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// doorman is a user's authorization server by HTTP: who says x-pass: yes, or has a password, may pass.
type doorman struct {
	Port int
	mu   sync.Mutex
	last gatewaytest.Seen
}

func newDoorman(t *testing.T) *doorman {
	t.Helper()
	d := &doorman{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		d.mu.Lock()
		d.last = gatewaytest.Seen{Method: r.Method, Host: r.Host, Path: r.RequestURI, Header: r.Header, Body: string(body)}
		d.mu.Unlock()
		for name, value := range map[string]string{
			"X-User": "alice", "X-Extra": "of the server", "Connection": "x-user", "Date": "today", "Seal": "forged", "X-Envoy-Original-Path": "/forged",
		} {
			w.Header().Set(name, value)
		}
		if strings.Contains(r.RequestURI, "slow") {
			<-r.Context().Done()
		}
		if r.Header.Get("X-Pass") != "yes" && r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", "Door")
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = io.WriteString(w, "the doorman's words")
	}))
	t.Cleanup(server.Close)
	d.Port = server.Listener.Addr().(*net.TCPAddr).Port
	return d
}

// asked returns what the server was asked last.
func (d *doorman) asked() gatewaytest.Seen {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

// guardedBy is a route and a policy with extAuth; fields is a flow mapping without its braces.
func guardedBy(name, fields string) string {
	return routeManifest(name, prefix("/"+name), "b") + "\n---\n" + policyManifest(name, "  extAuth: {"+fields+"}")
}

const toDoorman = "backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: door}]"

// TestExtAuthByHTTP: every field of the HTTP form does on the wire what it says.
func TestExtAuthByHTTP(t *testing.T) {
	t.Parallel()
	door, backend, port := newDoorman(t), gatewaytest.NewBackend(t, "b"), freePort(t)
	toNobody := "backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: nobody}]"
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), backendManifest("door", door.Port), backendManifest("nobody", freePort(t)),
		guardedBy("plain", "http: {"+toDoorman+"}"),
		guardedBy("pass", "headersToExtAuth: [X-Pass, x-team], http: {"+toDoorman+", headersToBackend: [X-User]}"),
		guardedBy("path", "headersToExtAuth: [x-pass], http: {path: /auth, "+toDoorman+"}"),
		guardedBy("override", "headersToExtAuth: [x-pass], http: {pathOverride: /auth, "+toDoorman+"}"),
		guardedBy("body", "headersToExtAuth: [x-pass], bodyToExtAuth: {maxRequestBytes: 16}, http: {"+toDoorman+"}"),
		guardedBy("closed", "http: {"+toNobody+"}"),
		guardedBy("status", "statusOnError: 502, http: {"+toNobody+"}"),
		guardedBy("open", "failOpen: true, http: {"+toNobody+"}"),
		guardedBy("slow", "timeout: 100ms, statusOnError: 504, http: {"+toDoorman+"}")))
	const yes = "x-pass: yes"
	for name, test := range map[string]struct {
		path   string
		header []string
		want   int
		asked  string // the path that the server saw
	}{
		"refused":                             {path: "/plain/a?b=c", want: 401, asked: "/plain/a?b=c"},
		"only few headers are told by itself": {path: "/plain/a", header: []string{yes}, want: 401, asked: "/plain/a"},
		"Authorization is":                    {path: "/plain/a", header: []string{"Authorization: Door x"}, want: 200, asked: "/plain/a"},
		"named headers":                       {path: "/pass/a", header: []string{yes, "x-team: a", "x-other: b", "x-user: forged"}, want: 200, asked: "/pass/a"},
		"path before the path":                {path: "/path/a?b=c", header: []string{yes}, want: 200, asked: "/auth/path/a?b=c"},
		"path in place of the path":           {path: "/override/a", header: []string{yes}, want: 200, asked: "/auth"},
		"server gone":                         {path: "/closed", header: []string{yes}, want: 403},
		"server gone, own status":             {path: "/status", header: []string{yes}, want: 502},
		"server gone, failOpen":               {path: "/open", want: 200},
		"slow server":                         {path: "/slow", header: []string{yes}, want: 504},
	} {
		before := len(backend.Requests())
		a := gatewaytest.Get(t, at(port, test.path), test.header...)
		if a.Status != test.want {
			t.Errorf("%s: %d, want %d: %s", name, a.Status, test.want, a.Body)
		}
		if reached := len(backend.Requests()) != before; reached != (test.want == 200) {
			t.Errorf("%s: reached the backend: %v", name, reached)
		}
		asked := door.asked()
		if test.asked != "" && (asked.Path != test.asked || asked.Host != fmt.Sprintf("127.0.0.1:%d", port) || asked.Method != http.MethodGet) {
			t.Errorf("%s: the server was asked about %s %s%s, want %s", name, asked.Method, asked.Host, asked.Path, test.asked)
		}
		switch name {
		case "refused":
			if a.Header.Get("WWW-Authenticate") != "Door" || a.Body != "the doorman's words" {
				t.Errorf("%s: the client got %v %q", name, a.Header, a.Body)
			}
		case "named headers":
			if asked.Header.Get("X-Team") != "a" || asked.Header.Get("X-Other") != "" {
				t.Errorf("%s: the server saw %v", name, asked.Header)
			}
			if users := a.Seen.Header.Values("X-User"); len(users) != 1 || users[0] != "alice" || a.Seen.Header.Get("X-Extra") != "" {
				t.Errorf("%s: the backend saw %v", name, a.Seen.Header)
			}
		}
	}
	if a := gatewaytest.Post(t, at(port, "/body"), "seventeen bytes..", yes); a.Status != 413 {
		t.Errorf("longer body: %d, want 413", a.Status)
	}
	if a := gatewaytest.Post(t, at(port, "/body"), "short", yes); a.Status != 200 || a.Seen.Body != "short" || door.asked().Body != "short" {
		t.Errorf("body: %d, the backend saw %q, the server %q", a.Status, a.Seen.Body, door.asked().Body)
	}
	if a := gatewaytest.Post(t, at(port, "/path"), "secret", yes); a.Status != 200 || door.asked().Body != "" {
		t.Errorf("body that isn't asked for: %d, the server saw %q", a.Status, door.asked().Body)
	}
}

// witness is a user's ext_authz server by gRPC that lets everybody pass but x-pass: no, and keeps what it was asked.
type witness struct {
	authv3.UnimplementedAuthorizationServer
	mu   sync.Mutex
	last *authv3.CheckRequest
}

func (w *witness) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = r
	if r.GetAttributes().GetRequest().GetHttp().GetHeaders()["x-pass"] == "no" {
		return &authv3.CheckResponse{Status: &status.Status{Code: int32(code.Code_PERMISSION_DENIED)}, HttpResponse: &authv3.CheckResponse_DeniedResponse{
			DeniedResponse: &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: typev3.StatusCode_Conflict}, Body: "no"},
		}}, nil
	}
	return &authv3.CheckResponse{Status: &status.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
		Headers: []*core.HeaderValueOption{{Header: &core.HeaderValue{Key: "x-user", Value: "alice"}}, {Header: &core.HeaderValue{Key: "x-extra", Value: "e"}}},
	}}}, nil
}

func (w *witness) asked() *authv3.AttributeContext {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last.GetAttributes()
}

// newWitness starts the server and returns it with its Backend "witness".
func newWitness(t *testing.T) (*witness, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w, server := &witness{}, grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, w)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return w, grpcBackendManifest("witness", listener.Addr().(*net.TCPAddr).Port)
}

const toWitness = "grpc: {backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: witness}]}"

// TestExtAuthByGRPCIsTold: context extensions, from wherever they come, and the route.
func TestExtAuthByGRPCIsTold(t *testing.T) {
	t.Parallel()
	w, witnessManifest := newWitness(t)
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), witnessManifest, `
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {token: hush-hush}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {zone: green}`,
		strings.Replace(guardedBy("told", "includeRouteMetadata: true, contextExtensions: [{name: plain, type: Value, value: v}, {name: secret, type: ValueRef, valueRef: {kind: Secret, name: s, key: token}}, "+
			"{name: zone, type: ValueRef, valueRef: {kind: ConfigMap, name: c, key: zone}}], headersToExtAuth: [x-pass], "+toWitness),
			"metadata: {name: told}", "metadata: {name: told, annotations: {gateway.envoyproxy.io/tier: gold, other.example/tier: lead}}", 1),
		guardedBy("untold", "contextExtensions: [{name: plain, type: Value, value: v}], "+toWitness),
		guardedBy("nokey", "contextExtensions: [{name: secret, type: ValueRef, valueRef: {kind: Secret, name: s, key: other}}], "+toWitness)))
	if a := gatewaytest.Get(t, at(port, "/told"), "x-other: o"); a.Status != 200 || a.Seen.Header.Get("X-User") != "alice" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	told := w.asked()
	if e := told.GetContextExtensions(); len(e) != 3 || e["plain"] != "v" || e["secret"] != "hush-hush" || e["zone"] != "green" {
		t.Errorf("context extensions %v", e)
	}
	metadata, err := json.Marshal(told.GetRouteMetadataContext().GetFilterMetadata()["envoy-gateway"].AsMap())
	if want := `{"resources":[{"annotations":{"tier":"gold"},"kind":"HTTPRoute","name":"told","namespace":"default"}]}`; err != nil || string(metadata) != want {
		t.Errorf("route metadata %s %v, want %s", metadata, err, want)
	}
	if _, all := told.GetRequest().GetHttp().GetHeaders()["x-other"]; all {
		t.Error("a header that isn't named was sent")
	}
	if a := gatewaytest.Get(t, at(port, "/told"), "x-pass: no"); a.Status != 409 || a.Body != "no" {
		t.Errorf("%d %s, want the server's own answer", a.Status, a.Body)
	}
	if a := gatewaytest.Get(t, at(port, "/untold")); a.Status != 200 || len(w.asked().GetRouteMetadataContext().GetFilterMetadata()) != 0 {
		t.Errorf("%d, told %v", a.Status, w.asked().GetRouteMetadataContext())
	}
	if a := gatewaytest.Get(t, at(port, "/nokey")); a.Status != 503 {
		t.Errorf("a Secret without the key: %d, want 503", a.Status)
	}
	for _, page := range []string{"/config_dump", "/config_dump?resource=routes", "/config_dump?include_eds"} {
		if dump := g.AdminPage(t, page); strings.Contains(dump, "hush-hush") || !strings.Contains(dump, "gatehouse.client-address") && page != "/config_dump?include_eds" {
			t.Errorf("%s shows a Secret's text, or nothing", page)
		}
	}
}

// TestExternalAuthFilterOfARoute: the Gateway API's own filter, by both protocols, beside a policy.
func TestExternalAuthFilterOfARoute(t *testing.T) {
	t.Parallel()
	w, witnessManifest := newWitness(t)
	door, backend, port := newDoorman(t), gatewaytest.NewBackend(t, "b"), freePort(t)
	filtered := func(name, fields string) string {
		return route(name, "", "matches: ["+prefix("/"+name)+"]\nfilters: [{type: ExternalAuth, externalAuth: {"+fields+"}}]\n"+to("b"))
	}
	const doorRef = "backendRef: {group: gateway.envoyproxy.io, kind: Backend, name: door}"
	const witnessRef = "backendRef: {group: gateway.envoyproxy.io, kind: Backend, name: witness}"
	g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), backendManifest("door", door.Port), witnessManifest, usersManifest,
		filtered("grpc", "protocol: GRPC, "+witnessRef),
		filtered("few", "protocol: GRPC, grpc: {allowedHeaders: [x-pass]}, "+witnessRef),
		filtered("http", "protocol: HTTP, http: {path: /auth, allowedHeaders: [x-pass]}, "+doorRef),
		filtered("user", "protocol: HTTP, http: {allowedHeaders: [x-pass], allowedResponseHeaders: [x-user]}, "+doorRef),
		filtered("body", "protocol: HTTP, http: {allowedHeaders: [x-pass]}, forwardBody: {maxSize: 16}, "+doorRef),
		filtered("gone", "protocol: HTTP, backendRef: {group: gateway.envoyproxy.io, kind: Backend, name: gone}"),
		filtered("mixed", "protocol: HTTP, grpc: {}, "+doorRef),
		filtered("both", "protocol: HTTP, http: {allowedHeaders: [x-pass]}, "+doorRef), policyManifest("both", basicSpec+"\n  extAuth: {"+toWitness+"}")))
	const yes = "x-pass: yes"
	for name, test := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"gRPC lets pass":                {"/grpc", []string{yes}, 200},
		"gRPC refuses":                  {"/grpc", []string{"x-pass: no"}, 409},
		"gRPC with few headers":         {"/few", []string{"x-pass: no"}, 409},
		"HTTP lets pass":                {"/http/a", []string{yes}, 200},
		"HTTP refuses":                  {"/http/a", nil, 401},
		"no such server":                {"/gone", []string{yes}, 500},
		"filter that contradicts":       {"/mixed", []string{yes}, 500},
		"policy first":                  {"/both", []string{yes}, 401},
		"policy's server then":          {"/both", []string{basicAlice, "x-pass: no"}, 409},
		"filter's server with the rest": {"/both", []string{basicAlice, yes}, 200},
	} {
		before := len(backend.Requests())
		if a := gatewaytest.Get(t, at(port, test.path), test.header...); a.Status != test.want {
			t.Errorf("%s: %d, want %d: %s", name, a.Status, test.want, a.Body)
		}
		if reached := len(backend.Requests()) != before; reached != (test.want == 200) {
			t.Errorf("%s: reached the backend: %v", name, reached)
		}
	}
	gatewaytest.Get(t, at(port, "/few"), yes, "x-other: o")
	if _, told := w.asked().GetRequest().GetHttp().GetHeaders()["x-other"]; told {
		t.Error("a header that isn't allowed was sent to the gRPC server")
	}
	a := gatewaytest.Post(t, at(port, "/http/a"), "hello", yes, "x-extra: forged")
	if asked := door.asked(); asked.Path != "/auth/http/a" || asked.Body != "" {
		t.Errorf("the server was asked about %q with %q", asked.Path, asked.Body)
	}
	if h := a.Seen.Header; a.Seen.Body != "hello" || len(h.Values("X-Extra")) != 1 || h.Get("X-Extra") != "of the server" || h.Get("X-User") != "alice" ||
		h.Get("Content-Length") != "5" || h.Get("Date") != "" || h.Get("Connection") != "" || h.Get("X-Envoy-Original-Path") != "" || a.Seen.Path != "/http/a" {
		t.Errorf("the backend saw %q %v %q", a.Seen.Path, h, a.Seen.Body)
	}
	if a := gatewaytest.Get(t, at(port, "/user"), yes); a.Seen.Header.Get("X-User") != "alice" || a.Seen.Header.Get("X-Extra") != "" {
		t.Errorf("with a list: the backend saw %v", a.Seen.Header)
	}
	if a := gatewaytest.Post(t, at(port, "/body"), strings.Repeat("x", 17), yes); a.Status != 413 {
		t.Errorf("a longer body: %d, want 413", a.Status)
	}
	if a := gatewaytest.Post(t, at(port, "/body"), "short", yes); a.Status != 200 || door.asked().Body != "short" {
		t.Errorf("a body: %d, the server saw %q", a.Status, door.asked().Body)
	}
	door2 := g.AdminPage(t, "/config_dump?resource=routes")
	if !strings.Contains(door2, "externalauth/0/seal") {
		t.Error("the routes carry no seal of the filter")
	}
}

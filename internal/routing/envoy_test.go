package routing_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/internal/render"
	"github.com/gatehouse-proxy/gatehouse/internal/routing"
	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator"
)

type ports struct{ HTTP, HTTPS, Other, Backend int }

// translated is testdata/routes.yaml with every route under a name of its own, which Envoy tells in a
// response header.
func translated(t *testing.T, p ports) *snapshot.Snapshot {
	t.Helper()
	text, err := template.ParseFiles("testdata/routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var manifests bytes.Buffer
	if err := text.Execute(&manifests, p); err != nil {
		t.Fatal(err)
	}
	manifests.WriteString("---\n" + strings.Replace(gatewaytest.NewCertificate(t, "www.example.com", "*.example.com").Secret("cert"), "name: cert", "name: cert, namespace: a", 1))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in.yaml"), manifests.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := files.New([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	set, problems, err := source.Load()
	if err != nil || len(problems) > 0 {
		t.Fatalf("load: %v %v", err, problems)
	}
	snap := translator.New(translator.Options{ControllerNames: []string{translator.ControllerName}, SealKey: []byte("key")}).Translate(set, nil).Snapshot
	for i, r := range snap.Resources[snapshot.Route] {
		snap.Resources[snapshot.Route][i].Body = named(t, r)
	}
	return snap
}

func named(t *testing.T, r snapshot.Resource) []byte {
	t.Helper()
	config := &route.RouteConfiguration{}
	if err := proto.Unmarshal(r.Body, config); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, host := range config.GetVirtualHosts() {
		for _, r := range host.GetRoutes() {
			n++
			r.Name = fmt.Sprintf("%s#%d", r.GetName(), n)
			r.ResponseHeadersToAdd = append(r.ResponseHeadersToAdd, &core.HeaderValueOption{
				Header: &core.HeaderValue{Key: "x-route", Value: strings.ReplaceAll(r.GetName(), "%", "%%")},
			})
		}
	}
	body, err := proto.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

type answer struct {
	status int
	route  string
}

// ask sends a request byte for byte.
func ask(r *routing.Request) (answer, error) {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(r.Port))))
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if r.TLS {
		secure := tls.Client(conn, &tls.Config{ServerName: r.ServerName, InsecureSkipVerify: true})
		if err := secure.Handshake(); err != nil {
			return answer{}, errors.Join(errRefused, err)
		}
		conn = secure
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", r.Method, r.Path, r.Authority)
	for _, f := range r.Header {
		fmt.Fprintf(&out, "%s: %s\r\n", f.Name, f.Value)
	}
	if _, err := io.WriteString(conn, out.String()+"\r\n"); err != nil {
		return answer{}, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.Method})
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	return answer{response.StatusCode, response.Header.Get("x-route")}, nil
}

var errRefused = errors.New("no TLS connection")

// requests multiplies hosts, paths, methods and headers.
func requests(p ports) []routing.Request {
	hosts := []string{
		"www.example.com", "api.example.com", "WWW.Example.com:80", "x.dev.example.com", "a.b.dev.example.com", "dev.example.com",
		"other.example.com", "localhost", "set.example.org", "x.set.example.org", "127.0.0.1", "www.example.com.", "example.com",
	}
	paths := []string{
		"/", "/exact", "/exact/", "/exact?x=1", "/api", "/api/", "/apix", "/api/v1", "/api/v1/x", "/api/v2/users", "/api/v2/users/bob",
		"/api/v2/users/bob1", "/api?q=a%20b", "/api?q=a+b", "/api?q=7&q=x", "/api/../exact", "/shop/x", "/old/1", "/broken", "/bad/x", "/session",
	}
	kinds := []struct {
		method string
		header []exchange.Field
	}{
		{"GET", nil},
		{"POST", []exchange.Field{{Name: "x-version", Value: "two"}}},
		{"GET", []exchange.Field{{Name: "X-Version", Value: "ten"}, {Name: "x-kind", Value: "a"}}},
		{"OPTIONS", []exchange.Field{{Name: "Origin", Value: "https://app.example"}, {Name: "Access-Control-Request-Method", Value: "PUT"}}},
	}
	var all []routing.Request
	for _, host := range hosts {
		for i, path := range paths {
			for k, kind := range kinds {
				if k > 0 && (i+k+len(host))%3 != 0 { // a third of the variants is enough
					continue
				}
				all = append(all, routing.Request{Port: uint16(p.HTTP), Method: kind.method, Authority: host, Path: path, Header: kind.header})
			}
		}
	}
	for _, sni := range []string{"www.example.com", "api.example.com", "other.example.com", "a.b.example.com", "elsewhere.org", ""} {
		for _, host := range []string{"www.example.com", "api.example.com", "x.dev.example.com", "elsewhere.org"} {
			for _, path := range []string{"/", "/old/x", "/api/v1/x"} {
				all = append(all, routing.Request{Port: uint16(p.HTTPS), TLS: true, ServerName: sni, Method: "GET", Authority: host, Path: path})
			}
		}
	}
	return append(all, oddities(p)...)
}

// oddities are paths and headers that two readers may read in two ways.
func oddities(p ports) []routing.Request {
	get := func(path string, header ...exchange.Field) routing.Request {
		return routing.Request{Port: uint16(p.HTTP), Method: "GET", Authority: "api.example.com", Path: path, Header: header}
	}
	all := []routing.Request{
		get("//api"), get("/a//b/../../exact"), get("/%61pi"), get("/api%2Fv1"), get("/api%2fv1?x=%2f"), get(`/api\v1`), get("/api/%2e%2e/exact"),
		get("/api;x=1"), get("/api/..;/exact"), get("/exact%3Fx"), get("/exact%00"), get("/exact%zz"), get("/exact#frag"), get("/api/v1/{x}"),
		get("/api/v1/|^"), get("/api/v1/%7Bx"), get("/exact?"), get("/exact?a?b"), get("/./exact"), get("/exact/."), get("/exact/.."), get("/../../exact"),
		get("/api/v1/ü"), get("/api/%C3%BC"), get("/EXACT"), get("/api/v2/users/"),
		get("/api", exchange.Field{Name: "x-version", Value: "two"}, exchange.Field{Name: "x-version", Value: "three"}),
		get("/api", exchange.Field{Name: "x_version", Value: "two"}),
		get("/api", exchange.Field{Name: "x-version", Value: "two,three"}), get("/api/%2e%2e;/exact"), get("/api/x;y/../exact"), get("/api/..;"),
		get("/api/.;x/y"), get("/api/...;/e"), get("/api/[x]"), get("/api/%7e%41%2a%2E"), get("/api/;.."), get("/api/x;/../e"), get("/api/%20x"),
		get("/api/%%370"), get("/api%%2fv1"), get("/%%361pi"),
		get("/api/v1/`\"<>"), get(`/api\..\exact`), get("/api?a=/../b"), get("/api?q=7%"), get("/api?q=%37"), get("/api?&q=7"),
		get("/api?Q=7"), get("/api?q"), get("/api?q=7;x"), get("/api?%71=7"), get("/api?x=1&q=7"),
		get("/api", exchange.Field{Name: "content-type", Value: "application/grpc"}),
		{Port: uint16(p.Other), Method: "GET", Authority: "x", Path: "/cors"},
		{Port: uint16(p.Other), Method: "PUT", Authority: "x", Path: "/cors"},
		{Port: uint16(p.Other), Method: "GET", Authority: "x", Path: "/redirect"},
		{Port: uint16(p.Other), Method: "GET", Authority: "x:8080", Path: "/redirect"},
		{Port: uint16(p.Other), Method: "OPTIONS", Authority: "x", Path: "/cors", Header: []exchange.Field{
			{Name: "origin", Value: "https://app.example"}, {Name: "access-control-request-method", Value: "PUT"},
		}},
		{Port: uint16(p.Other), Method: "OPTIONS", Authority: "x", Path: "/cors", Header: []exchange.Field{
			{Name: "origin", Value: "https://app.example"}, {Name: "access-control-request-method", Value: "GET"},
		}},
		{Port: uint16(p.Other), Method: "OPTIONS", Authority: "x", Path: "*"},
		{Port: uint16(p.HTTP), Method: "GET", Authority: "set.example.org", Path: "/session", Header: []exchange.Field{{Name: "cookie", Value: "a=b; s-1=x"}}},
		{Port: uint16(p.HTTP), Method: "BREW", Authority: "[::1]:80", Path: "/"},
	}
	return all
}

// TestTheTableTakesEnvoysRoute asks a real Envoy and the table about the same requests.
func TestTheTableTakesEnvoysRoute(t *testing.T) {
	t.Parallel()
	backend := gatewaytest.NewBackend(t, "echo")
	p := ports{envoytest.FreePort(t), envoytest.FreePort(t), envoytest.FreePort(t), backend.Port}
	snap := translated(t, p)
	var bootstrap bytes.Buffer
	if err := render.Snapshot(&bootstrap, snap, render.Options{Format: render.Envoy, Type: render.All, StateDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	envoytest.Start(t, bootstrap.String())
	table, err := routing.New(snap)
	if err != nil {
		t.Fatal(err)
	}
	asked, reached := 0, map[string]bool{}
	for _, r := range requests(p) {
		want, askErr := ask(&r)
		got, err := table.Match(&r)
		asked++
		switch {
		case errors.Is(askErr, errRefused) || errors.Is(err, routing.ErrNoListener):
			if !errors.Is(askErr, errRefused) || !errors.Is(err, routing.ErrNoListener) {
				t.Errorf("%+v: Envoy %v %v, the table %v", r, want, askErr, err)
			}
			continue
		case askErr != nil || err != nil:
			t.Errorf("%+v: %v, %v", r, askErr, err)
			continue
		}
		name := ""
		if got.Route != nil {
			name = got.Route.GetName()
		}
		reached[name] = true
		if strings.Contains(name, "/preflight#") && want.status == 200 { // answered by Envoy's cors filter, which tells no route
			continue
		}
		if name != want.route || got.Status != 0 && got.Status != want.status || name == "" && got.Status == 0 && want.status != 404 {
			t.Errorf("%s %s %s %v (TLS %q): Envoy %d %q, the table %d %q, path %s", r.Method, r.Authority, r.Path, r.Header, r.ServerName,
				want.status, want.route, got.Status, name, got.Path)
		}
	}
	if asked < 200 || len(reached) < 25 {
		t.Errorf("only %d requests reached %d routes: %v", asked, len(reached), reached)
	}
	t.Logf("%d requests, %d routes", asked, len(reached))
}

package rego

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
)

func compiled(tb testing.TB, module string) *Policy {
	tb.Helper()
	p, err := Compile(&config.OPA{Modules: []config.Module{{Name: "m", Source: config.Source{Inline: "package envoy.authz\n" + module}}}}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// readable are the parts that a key can hold.
var readable = []string{
	`attributes.request.http.method`, `attributes.request.http.path`, `attributes.request.http.host`, `attributes.request.http.scheme`, `attributes.request.http.protocol`,
	`attributes.request.http.headers["x-a"]`, `attributes.request.http.headers.cookie`, `attributes.request.http.headers[":path"]`, `attributes.request.http.headers[":authority"]`,
	`attributes.request.http.headers[":method"]`, `attributes.request.http.headers[":scheme"]`,
	`attributes.source`, `attributes.source.address.socketAddress.portValue`, `attributes.source.principal`, `attributes.destination`, `attributes.tlsSession.sni`,
	`attributes.contextExtensions.a`, `parsed_path`, `parsed_path[0]`, `parsed_query`, `parsed_query.a`, `identity`, `identity.username`, `identity.claims.role`, `identity.client_id`, `peer`, `peer.port`,
}

type extensions map[string]string

func (e extensions) Extension(key string) (string, bool) { v, ok := e[key]; return v, ok }

func (e extensions) Extensions(yield func(key, value string) bool) {
	for k, v := range e {
		if !yield(k, v) {
			return
		}
	}
}

// callers differ in each member, and some in the claims alone.
func callers() []*identity.Identity {
	claims := func(role string) map[string]any { return map[string]any{"role": role} }
	return []*identity.Identity{
		nil, {}, {Method: "jwt"}, {Method: "jwt", Username: "a"}, {Username: "a"}, {ClientID: "a"}, {Provider: "a"}, {Method: "a", Username: "b", ClientID: "c"}, {Method: "ab", ClientID: "c"},
		{Method: "jwt", Username: "a", Provider: "p", Claims: claims("x")}, {Method: "jwt", Username: "a", Provider: "p", Claims: claims("y")}, {Method: "jwt", Username: "a", Provider: "q", Claims: claims("y")},
	}
}

// any one request, out of few values, so that many are alike in some parts: those that a careless key would
// take for each other are among them.
func anyRequest(r *rand.Rand) *exchange.Request {
	pick := func(values ...string) string { return values[r.IntN(len(values))] }
	addresses := []netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%a")}
	address := func() netip.Addr { return addresses[r.IntN(len(addresses))] }
	port := func() netip.AddrPort { return netip.AddrPortFrom(address(), uint16(r.IntN(2))) }
	var fields []exchange.Field
	for range r.IntN(4) {
		fields = append(fields, exchange.Field{Name: pick("x-a", "X-A", "cookie", "x-b"), Value: pick("", "a", "a,b", "b", "a; b", "\x01a", "\xff")})
	}
	ext := extensions{}
	if r.IntN(2) == 0 {
		ext[pick("a", "b")] = pick("", "x")
	}
	return exchange.NewRequest(
		exchange.Head{
			Method: pick("GET", "PUT", ""), Path: pick("/", "/a", "/a?a=b", "/a?a=b&a=c", "/?a", "/a;b", "/%61", "/a/../b", "/\xff"), Authority: pick("h", "h:80", ""),
			Scheme: pick("http", "https"), Protocol: pick("HTTP/1.1", "HTTP/2", ""), ID: pick("1", "2"),
		},
		exchange.Conn{Client: address(), Peer: port(), Destination: port(), Principal: pick("", "p"), ServerName: pick("", "h")},
		exchange.NewHeader(fields...), exchange.Body{}, ext)
}

// Two requests with one key are one and the same to the policy: the inputs built for them are equal, or
// both are refused. It is checked against the builder of the input itself, over every pair of reads.
func TestS30RequestsThatDifferInAReadPartNeverShareAKey(t *testing.T) {
	t.Parallel()
	type seen struct {
		input  *ast.Term
		caller *identity.Identity
	}
	everybody := callers()
	for i, first := range readable {
		for _, second := range readable[i:] {
			p := compiled(t, fmt.Sprintf("allow if { input.%s == 1; input.%s == 1 }", first, second))
			if p.cache == nil {
				t.Fatalf("%s and %s: not remembered", first, second)
			}
			random := rand.New(rand.NewPCG(uint64(i), 7))
			byKey := map[string]seen{}
			for range 300 {
				r, caller := anyRequest(random), everybody[random.IntN(len(everybody))]
				if caller != nil { // identities keep what was built of them for one policy
					caller = &identity.Identity{Method: caller.Method, Username: caller.Username, Provider: caller.Provider, ClientID: caller.ClientID, Claims: caller.Claims}
				}
				key, usable := p.key(nil, r, caller)
				if !usable {
					continue
				}
				name := string(key)
				if p.readsClaims {
					name += fmt.Sprintf("%p", caller)
				}
				input, err := p.input(r, caller)
				if err != nil {
					input = nil
				}
				before, found := byKey[name]
				if !found {
					byKey[name] = seen{input, caller}
					continue
				}
				if (before.input == nil) != (input == nil) || input != nil && before.input.Value.Compare(input.Value) != 0 {
					t.Fatalf("%s and %s: one key for %v and %v", first, second, before.input, input)
				}
			}
		}
	}
}

func TestS30WhatAKeyCannotHoldIsEvaluatedEachTime(t *testing.T) {
	t.Parallel()
	for _, expression := range []string{
		`input`, `input.attributes`, `input.attributes.request`, `input.attributes.request.http`, `input.attributes.request.http.headers`, `input.attributes.request.http.id`,
		`input.attributes.request.time`, `input.attributes.request.http.size`, `input.attributes.contextExtensions`, `input[x]`, `input.attributes[x]`, `walk(input)`,
		`object.get(input, "a", 1)`, `input.attributes.request.http.headers[x]`, `input.unknown`, `time.now_ns() > 1`, `rand.intn("a", 2) == 1`, `uuid.rfc4122("a")`,
		`io.jwt.decode_verify("a", {})`, `crypto.x509.parse_and_verify_certificates("a")`, `time.now_ns() > 1 with time.now_ns as 2`,
	} {
		if compiled(t, "x := \"a\"\nallow if { "+expression+" }").cache != nil {
			t.Errorf("%s is remembered", expression)
		}
	}
	body, err := Compile(&config.OPA{BodyMaxBytes: 10, Modules: []config.Module{{Source: config.Source{Inline: "package envoy.authz\nallow if input.parsed_body.a"}}}}, nil)
	if err != nil || body.cache != nil {
		t.Errorf("bodies are remembered: %v", err)
	}
}

package extauthz_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
)

var quiet = extauthz.WithLogger(slog.New(slog.DiscardHandler))

// request is a CheckRequest with raw header lines, as from a filter with encode_raw_headers.
func request(lines ...string) *authv3.CheckRequest {
	r := &authv3.AttributeContext_HttpRequest{Method: "GET", Path: "/", Host: "h", Scheme: "http", Protocol: "HTTP/2"}
	r.HeaderMap = &corev3.HeaderMap{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.HeaderMap.Headers = append(r.HeaderMap.Headers, &corev3.HeaderValue{Key: name, RawValue: []byte(value)})
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: r},
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "192.0.2.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 9}},
		}}},
	}}
}

func decide(t *testing.T, s *extauthz.Server, in *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	msg, err := proto.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, s.Decide(t.Context(), string(msg), nil))
}

func parse(t *testing.T, msg []byte) *authv3.CheckResponse {
	t.Helper()
	out := new(authv3.CheckResponse)
	if err := proto.Unmarshal(msg, out); err != nil {
		t.Fatalf("answer is malformed: %v", err)
	}
	if out.GetStatus() == nil || out.GetHttpResponse() == nil {
		t.Fatalf("answer says nothing, which allows: %v", out)
	}
	if (out.GetStatus().GetCode() == int32(codes.OK)) != (out.GetOkResponse() != nil) {
		t.Fatalf("status and answer contradict each other: %v", out)
	}
	return out
}

func answering(v exchange.Verdict, err error) *extauthz.Server {
	return extauthz.NewServer(extauthz.Always(exchange.AuthorizerFunc(
		func(context.Context, *exchange.Request) (exchange.Verdict, error) { return v, err })), quiet)
}

func TestEveryDoubtDenies(t *testing.T) {
	t.Parallel()
	type fields = []exchange.Field
	teapot := exchange.Deny(http.StatusTeapot, "short and stout")
	var none *exchange.Reply
	for name, c := range map[string]struct {
		verdict exchange.Verdict
		err     error
		code    int
	}{
		"zero verdict":              {code: 403},
		"error":                     {verdict: exchange.Verdict{Allow: true}, err: errors.New("boom"), code: 503},
		"reply as an error":         {verdict: exchange.Verdict{Allow: true}, err: teapot, code: 418},
		"nil reply as an error":     {verdict: exchange.Verdict{Allow: true}, err: none, code: 503},
		"body too large":            {err: exchange.ErrTooLarge, code: 413},
		"reply without a status":    {verdict: exchange.Verdict{Reply: &exchange.Reply{}}, code: 500},
		"allow with a reply":        {verdict: exchange.Verdict{Allow: true, Reply: teapot}, code: 503},
		"line break in a value":     {verdict: exchange.Verdict{Allow: true, Set: fields{{Name: "x", Value: "a\r\nb: c"}}}, code: 503},
		"NUL in a response value":   {verdict: exchange.Verdict{Allow: true, ResponseSet: fields{{Name: "x", Value: "\x00"}}}, code: 503},
		"value that isn't UTF-8":    {verdict: exchange.Verdict{Allow: true, Add: fields{{Name: "x", Value: "\xff"}}}, code: 503},
		"huge value":                {verdict: exchange.Verdict{Allow: true, Add: fields{{Name: "x", Value: strings.Repeat("a", 61<<10)}}}, code: 503},
		"bad name":                  {verdict: exchange.Verdict{Allow: true, Set: fields{{Name: "a b", Value: "c"}}}, code: 503},
		"empty name to remove":      {verdict: exchange.Verdict{Allow: true, Remove: []string{""}}, code: 503},
		"set and removed":           {verdict: exchange.Verdict{Allow: true, Set: fields{{Name: "X", Value: "c"}}, Remove: []string{"x"}}, code: 503},
		"metadata of unknown type":  {verdict: exchange.Verdict{Allow: true, Metadata: map[string]any{"a": struct{}{}}}, code: 503},
		"metadata that isn't UTF-8": {verdict: exchange.Verdict{Allow: true, Metadata: map[string]any{"a": "\xff"}}, code: 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := decide(t, answering(c.verdict, c.err), request())
			if got := int(out.GetDeniedResponse().GetStatus().GetCode()); got != c.code {
				t.Errorf("status %d, want %d: %v", got, c.code, out)
			}
		})
	}
}

// TestAnAllowanceAfterTheDeadlineDenies: who has interrupted an authorizer can't know why it then allows.
func TestAnAllowanceAfterTheDeadlineDenies(t *testing.T) {
	t.Parallel()
	msg, err := proto.Marshal(request())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	interrupted := extauthz.Always(exchange.AuthorizerFunc(func(context.Context, *exchange.Request) (exchange.Verdict, error) {
		cancel()
		return exchange.Verdict{Allow: true}, nil
	}))
	var reason string
	s := extauthz.NewServer(interrupted, quiet, extauthz.OnVerdict(
		func(_ context.Context, _ *exchange.Request, v exchange.Verdict, _ time.Duration) { reason = v.Reason }))
	out := parse(t, s.Decide(ctx, string(msg), nil))
	if got := out.GetDeniedResponse().GetStatus().GetCode(); got != 503 || reason != exchange.ReasonLate {
		t.Errorf("status %d, reason %q", got, reason)
	}
}

func TestFailuresOfTheHostedCodeDeny(t *testing.T) {
	t.Parallel()
	for name, choose := range map[string]func(*exchange.Request) exchange.Authorizer{
		"no authorizer":   func(*exchange.Request) exchange.Authorizer { return nil },
		"choosing panics": func(*exchange.Request) exchange.Authorizer { panic("chosen") },
		"check panics": extauthz.Always(exchange.AuthorizerFunc(
			func(context.Context, *exchange.Request) (exchange.Verdict, error) { panic("checked") })),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := decide(t, extauthz.NewServer(choose, quiet), request())
			if got := out.GetDeniedResponse().GetStatus().GetCode(); got != 503 {
				t.Errorf("status %d", got)
			}
		})
	}
}

func TestMalformedRequestsAreDenied(t *testing.T) {
	t.Parallel()
	s := answering(exchange.Verdict{Allow: true}, nil)
	for name, msg := range map[string]string{
		"nothing":          "",
		"cut short":        "\x0a\x7f",
		"field number 0":   "\x00\x00",
		"no HTTP request":  "\x0a\x02\x22\x00",
		"text isn't UTF-8": "\x0a\x07\x22\x05\x12\x03\x12\x01\xff",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := parse(t, s.Decide(t.Context(), msg, nil))
			if got := out.GetDeniedResponse().GetStatus().GetCode(); got != 503 {
				t.Errorf("status %d", got)
			}
		})
	}
	in := request(":path: /\xff")
	in.Attributes.Request.Http.Path = "/!"
	if out := decide(t, s, in); out.GetDeniedResponse() == nil {
		t.Error("a path that Envoy made printable was judged")
	}
}

// TestS19JoinedHeaders: without encode_raw_headers two lines look like one with a comma.
func TestS19JoinedHeadersThatHideRepeatedOnesAreDenied(t *testing.T) {
	t.Parallel()
	s := answering(exchange.Verdict{Allow: true}, nil)
	for _, name := range []string{"authorization", "cookie", "origin"} {
		in := request()
		in.Attributes.Request.Http.HeaderMap = nil
		in.Attributes.Request.Http.Headers = map[string]string{name: "a"}
		if out := decide(t, s, in); out.GetOkResponse() == nil {
			t.Errorf("%s: one line was denied", name)
		}
		in.Attributes.Request.Http.Headers[name] = "a,b"
		if out := decide(t, s, in); out.GetDeniedResponse() == nil {
			t.Errorf("%s: a joined line was judged", name)
		}
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	peer, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for name, c := range map[string]struct {
		extension string
		lines     []string
		want      netip.Addr
	}{
		"the peer":                      {"", nil, peer},
		"header of a client is ignored": {"", []string{"x-gatehouse-client-ip: 2001:db8::1"}, peer},
		"unknown source is the peer":    {"Header", []string{"x-gatehouse-client-ip: 2001:db8::1"}, peer},
		"header believed if configured": {"header", []string{"x-gatehouse-client-ip: 2001:db8::1"}, other},
		"IPv4 in IPv6":                  {"header", []string{"x-gatehouse-client-ip: ::ffff:192.0.2.1"}, peer},
		"header missing":                {"header", nil, netip.Addr{}},
		"header unreadable":             {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:80"}, netip.Addr{}},
		"header twice":                  {"header", []string{"x-gatehouse-client-ip: 192.0.2.1", "x-gatehouse-client-ip: 192.0.2.1"}, netip.Addr{}},
		"hops, found":                   {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:0 hops appended", "x-forwarded-for: 192.0.2.1,10.0.0.1"}, peer},
		"hops, found, IPv6":             {"header", []string{"x-gatehouse-client-ip: [2001:db8::1]:0 hops appended", "x-forwarded-for: 2001:db8::1,10.0.0.1"}, other},
		"hops, nothing told":            {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:4711 hops appended", "x-forwarded-for: 192.0.2.1"}, peer},
		"hops, nothing told, silent":    {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:4711 hops"}, peer},
		"hops, unreadable":              {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:4711 hops appended", "x-forwarded-for: junk,192.0.2.1"}, netip.Addr{}},
		"hops, too few":                 {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:4711 hops appended", "x-forwarded-for: 10.0.0.1,192.0.2.1"}, netip.Addr{}},
		"hops, unreadable, silent":      {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:4711 hops", "x-forwarded-for: junk"}, netip.Addr{}},
		"networks, a stranger":          {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:4711 networks appended", "x-forwarded-for: 10.0.0.1,192.0.2.1"}, peer},
		"networks, unreadable":          {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:4711 networks appended", "x-forwarded-for: 10.0.0.1:1,192.0.2.1"}, netip.Addr{}},
		"networks, a zone":              {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:4711 networks appended", "x-forwarded-for: fe80::1%x,192.0.2.1"}, netip.Addr{}},
		"networks, too long":            {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:4711 networks appended", "x-forwarded-for: " + strings.Repeat("10.0.0.1, ", 21) + "192.0.2.1"}, netip.Addr{}},
		"a header, found":               {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:0 header x-real", "x-real: 192.0.2.1"}, peer},
		"a header, missing":             {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:4711 header x-real"}, peer},
		"a header, twice":               {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:0 header x-real", "x-real: 192.0.2.1", "x-real: 10.0.0.1"}, netip.Addr{}},
		"a header, unreadable":          {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:4711 header x-real", "x-real: 192.0.2.1:1"}, netip.Addr{}},
		"an unknown way":                {"header", []string{"x-gatehouse-client-ip: 192.0.2.1:0 magic"}, netip.Addr{}},
		"a way without a port":          {"header", []string{"x-gatehouse-client-ip: 192.0.2.1 hops"}, netip.Addr{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got netip.Addr
			var seen bool
			s := extauthz.NewServer(extauthz.Always(exchange.AuthorizerFunc(
				func(_ context.Context, r *exchange.Request) (exchange.Verdict, error) {
					got, seen = r.Conn().Client, r.Header.Has("x-gatehouse-client-ip")
					return exchange.Verdict{Allow: true}, nil
				})))
			in := request(c.lines...)
			in.Attributes.ContextExtensions = map[string]string{"gatehouse.client-address": c.extension}
			decide(t, s, in)
			if got != c.want || seen {
				t.Errorf("client %v, want %v; header visible: %v", got, c.want, seen)
			}
		})
	}
}

func TestS46BodyIsWholeOrTooLarge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines    []string
		protocol string
		body     string
		want     error
	}{
		"whole":                   {[]string{"content-length: 4", "x-envoy-auth-partial-body: false"}, "HTTP/2", "body", nil},
		"cut":                     {[]string{"x-envoy-auth-partial-body: true"}, "HTTP/2", "body", exchange.ErrTooLarge},
		"client says whole":       {[]string{"x-envoy-auth-partial-body: false", "x-envoy-auth-partial-body: true"}, "HTTP/2", "body", exchange.ErrTooLarge},
		"content-length is more":  {[]string{"content-length: 5"}, "HTTP/2", "body", exchange.ErrTooLarge},
		"longer than asked for":   {nil, "HTTP/2", "long body", exchange.ErrTooLarge},
		"proven empty":            {[]string{"content-length: 0"}, "HTTP/2", "", nil},
		"proven empty by HTTP/1":  {nil, "HTTP/1.1", "", nil},
		"not sent":                {nil, "HTTP/2", "", exchange.ErrNeeds},
		"not sent though chunked": {[]string{"transfer-encoding: chunked"}, "HTTP/1.1", "", exchange.ErrNeeds},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got error
			s := extauthz.NewServer(extauthz.Always(exchange.AuthorizerFunc(
				func(_ context.Context, r *exchange.Request) (exchange.Verdict, error) {
					_, got = r.Body.Bytes(8)
					return exchange.Verdict{Allow: true}, nil
				})))
			in := request(c.lines...)
			in.Attributes.Request.Http.Protocol = c.protocol
			in.Attributes.Request.Http.RawBody = []byte(c.body)
			decide(t, s, in)
			if !errors.Is(got, c.want) {
				t.Errorf("error %v, want %v", got, c.want)
			}
		})
	}
}

// TestS21 holds the answer against generated code.
func TestS21AnswerSaysWhatBecomesOfExistingLines(t *testing.T) {
	t.Parallel()
	out := decide(t, answering(exchange.Verdict{
		Allow:  true,
		Set:    []exchange.Field{{Name: "X-User", Value: "ada"}},
		Add:    []exchange.Field{{Name: "x-role", Value: ""}, {Name: "Accept", Value: "x"}},
		Remove: []string{"x-secret"},
		Metadata: map[string]any{
			"seal": "s", "n": 1.5, "inf": math.Inf(1), "ok": true, "none": nil,
			"list": []any{"a", map[string]any{"b": strings.Repeat("c", 200)}},
		},
		RecomputeRoute: true,
	}, nil), request("accept: */*"))
	ok := out.GetOkResponse()
	var got []string
	for _, h := range ok.GetHeaders() {
		got = append(got, h.GetHeader().GetKey()+"="+h.GetHeader().GetValue()+" "+h.GetAppendAction().String())
		if h.GetAppend() == nil {
			t.Errorf("%v leaves append unset", h)
		}
	}
	want := "x-user=ada OVERWRITE_IF_EXISTS_OR_ADD|x-role= OVERWRITE_IF_EXISTS_OR_ADD|accept=x APPEND_IF_EXISTS_OR_ADD|x-gatehouse-recompute=1 OVERWRITE_IF_EXISTS_OR_ADD"
	if strings.Join(got, "|") != want {
		t.Errorf("headers %q", got)
	}
	if strings.Join(ok.GetHeadersToRemove(), ",") != "x-secret" {
		t.Errorf("removed %q", ok.GetHeadersToRemove())
	}
	m := out.GetDynamicMetadata().AsMap()
	inner := m["list"].([]any)[1].(map[string]any)["b"].(string)
	if m["seal"] != "s" || m["n"] != 1.5 || m["ok"] != true || len(m) != 6 || len(inner) != 200 {
		t.Errorf("metadata %v", m)
	}
}

func TestObserverSeesEveryVerdict(t *testing.T) {
	t.Parallel()
	var reasons []string
	observe := func(_ context.Context, r *exchange.Request, v exchange.Verdict, took time.Duration) {
		if r == nil || took < 0 {
			t.Errorf("request %v, took %v", r, took)
		}
		reasons = append(reasons, v.Reason)
		panic("observers may fail")
	}
	s := extauthz.NewServer(func(r *exchange.Request) exchange.Authorizer {
		if r.Method() != "GET" {
			return nil
		}
		return exchange.AuthorizerFunc(func(context.Context, *exchange.Request) (exchange.Verdict, error) {
			return exchange.Verdict{Allow: true, Reason: "public"}, nil
		})
	}, extauthz.OnVerdict(observe), quiet)
	decide(t, s, request())
	post := request()
	post.Attributes.Request.Http.Method = "POST"
	decide(t, s, post)
	parse(t, s.Decide(t.Context(), "\xff", nil))
	want := "public " + exchange.ReasonNoAuthorizer + " " + exchange.ReasonMalformed
	if got := strings.Join(reasons, " "); got != want {
		t.Errorf("reasons %q, want %q", got, want)
	}
}

// TestACheckRunsInAContextOfItsOwn: what OnCheck returns reaches the choice's check and the observers, whatever
// becomes of the request, and a panic in it is nobody's verdict.
func TestACheckRunsInAContextOfItsOwn(t *testing.T) {
	t.Parallel()
	type key struct{}
	var seen []string
	note := func(ctx context.Context, where string) { seen = append(seen, fmt.Sprint(where, " ", ctx.Value(key{}))) }
	s := extauthz.NewServer(extauthz.Always(exchange.AuthorizerFunc(func(ctx context.Context, _ *exchange.Request) (exchange.Verdict, error) {
		note(ctx, "check")
		return exchange.Verdict{Allow: true}, nil
	})), quiet,
		extauthz.OnCheck(func(ctx context.Context, r *exchange.Request) context.Context {
			return context.WithValue(ctx, key{}, "of "+r.Method())
		}),
		extauthz.OnCheck(func(context.Context, *exchange.Request) context.Context { panic("no span") }),
		extauthz.OnCheck(func(ctx context.Context, _ *exchange.Request) context.Context {
			return context.WithValue(ctx, key{}, fmt.Sprint(ctx.Value(key{}), ", again"))
		}),
		extauthz.OnVerdict(func(ctx context.Context, _ *exchange.Request, _ exchange.Verdict, _ time.Duration) {
			note(ctx, "verdict")
		}))
	if out := decide(t, s, request()); out.GetOkResponse() == nil {
		t.Errorf("answer %v", out)
	}
	parse(t, s.Decide(t.Context(), "\xff", nil))
	want := "check of GET, again|verdict of GET, again|verdict of , again"
	if got := strings.Join(seen, "|"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

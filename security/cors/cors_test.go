package cors_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/cors"
)

func compile(tb testing.TB, spec *config.CORS) *cors.Policy {
	tb.Helper()
	p, err := cors.Compile(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func request(method string, lines ...string) *exchange.Request {
	var fields []exchange.Field
	for i := 0; i+1 < len(lines); i += 2 {
		fields = append(fields, exchange.Field{Name: lines[i], Value: lines[i+1]})
	}
	return exchange.NewRequest(exchange.Head{Method: method, Path: "/"}, exchange.Conn{}, exchange.NewHeader(fields...), exchange.Body{}, nil)
}

func TestS36OriginsMatchStructurally(t *testing.T) {
	t.Parallel()
	for entry, c := range map[string]struct{ yes, no []string }{
		"https://a.com": {
			[]string{"https://a.com"},
			[]string{"http://a.com", "https://a.com:8443", "https://a.com.evil", "https://xa.com", "https://a.com/", "https://aXcom", "HTTPS://A.COM", "https://a.com https://b.com", "null", ""},
		},
		"HTTPS://A.com:443": {[]string{"https://a.com"}, []string{"https://a.com:443", "https://a.com:4443"}},
		"http://[::1]:8080": {[]string{"http://[::1]:8080"}, []string{"http://[::1]", "http://[::2]:8080"}},
		"https://*.a.com": {
			[]string{"https://x.a.com", "https://y.x.a.com", "https://x-1.a.com"},
			[]string{"https://a.com", "https://xa.com", "https://x.a.com.evil", "https://evil/.a.com", "https://evil?.a.com", "https://evil#.a.com", "https://evil:1.a.com", "https://u@x.a.com", "http://x.a.com", "https://x.a.com:8443", "https://.a.com", "https://x..a.com", "https://x.aXcom", "https://x.a.com\n", "https://\u212a.a.com"},
		},
		"https://*.a.com:8443":            {[]string{"https://x.a.com:8443"}, []string{"https://x.a.com", "https://x.a.com:84430"}},
		"https://*":                       {[]string{"https://x.example", "https://x.example:8443", "https://[::1]:1"}, []string{"http://x.example", "https://x/y", "https://", "null"}},
		"~^https://[a-z]+\\.c\\.example$": {[]string{"https://abc.c.example"}, []string{"https://abc.c.example.evil", "xhttps://abc.c.example", "https://abcXc.example"}},
		"~https://(a|b)\\.example":        {[]string{"https://a.example", "https://b.example"}, []string{"https://a.example.evil", "https://c.example"}},
		"null":                            {[]string{"null"}, []string{"https://a.com"}},
		"*":                               {[]string{"https://a.com", "null"}, []string{"https://a.com\r\n", "a b", strings.Repeat("a", 600)}},
		"moz-extension://abc-1":           {[]string{"moz-extension://abc-1"}, []string{"moz-extension://abc-2"}},
	} {
		p := compile(t, &config.CORS{AllowOrigins: []string{entry}})
		exact, pattern, err := cors.OriginPattern(entry)
		if err != nil || (exact == "") == (pattern == "") {
			t.Fatalf("%s: %q %q %v", entry, exact, pattern, err)
		}
		// What Envoy's filter would do with the pattern: the whole value must match.
		envoy := func(origin string) bool {
			return origin == exact && exact != "" || pattern != "" && regexp.MustCompile(`\A(?:`+pattern+`)\z`).MatchString(origin)
		}
		for _, origin := range c.yes {
			if !p.Match(origin) || !envoy(origin) {
				t.Errorf("%s doesn't match %q (authorizer %v, Envoy %v)", entry, origin, p.Match(origin), envoy(origin))
			}
		}
		for _, origin := range c.no {
			if p.Match(origin) {
				t.Errorf("%s matches %q", entry, origin)
			}
			if entry != "*" && envoy(origin) {
				t.Errorf("%s: Envoy would match %q", entry, origin)
			}
		}
	}
}

func TestInvalidOriginsAreErrors(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{
		"", "a.com", "https://", "https://a.com/", "https://a.com/path", "https://u@a.com", "https://a.*.com", "https://*a.com", "https://**.a.com",
		"https://a.com:0", "https://a.com:99999", "https://a.com:x", "https://[::1", "https://[1.2.3.4]", "1http://a", "~", "~(", "~a)|(b", "~" + strings.Repeat("a", 2000), "https://a com",
	} {
		if _, err := cors.Compile(&config.CORS{AllowOrigins: []string{entry}}); err == nil {
			t.Errorf("%q compiles", entry)
		}
	}
}

func TestS35WildcardNeverGivesCredentials(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{"*": "", "https://*": "", "https://*:8443": "", "https://a.com": "true", "https://*.a.com": "true"} {
		p := compile(t, &config.CORS{AllowOrigins: []string{entry, "https://b.a.com"}, AllowCredentials: true})
		got := ""
		for _, f := range p.Headers("https://b.a.com") {
			if f.Name == "access-control-allow-credentials" {
				got = f.Value
			}
		}
		if got != want {
			t.Errorf("%s: credentials %q, want %q", entry, got, want)
		}
		reply, ok := p.Preflight(request("OPTIONS", "origin", "https://b.a.com", "access-control-request-method", "GET"))
		if !ok || reply.Header.Get("Access-Control-Allow-Credentials") != want {
			t.Errorf("%s: preflight %v", entry, reply.Header)
		}
	}
}

func TestS37Preflights(t *testing.T) {
	t.Parallel()
	age := 86400 * time.Second
	p := compile(t, &config.CORS{
		AllowOrigins: []string{"https://a.com"}, AllowMethods: []string{"GET", "PUT"}, AllowHeaders: []string{"X-A", "Content-Type"}, MaxAge: &age, ExposeHeaders: []string{"x-e"},
	})
	for name, c := range map[string]struct {
		lines []string
		want  bool
	}{
		"listed":             {[]string{"origin", "https://a.com", "access-control-request-method", "PUT", "access-control-request-headers", "x-a,content-type"}, true},
		"simple method":      {[]string{"origin", "https://a.com", "access-control-request-method", "POST"}, true},
		"other method":       {[]string{"origin", "https://a.com", "access-control-request-method", "DELETE"}, false},
		"method's case":      {[]string{"origin", "https://a.com", "access-control-request-method", "put"}, false},
		"other header":       {[]string{"origin", "https://a.com", "access-control-request-method", "GET", "access-control-request-headers", "x-b"}, false},
		"other origin":       {[]string{"origin", "https://b.com", "access-control-request-method", "GET"}, false},
		"S13 two origins":    {[]string{"origin", "https://a.com", "origin", "https://a.com", "access-control-request-method", "GET"}, false},
		"two methods":        {[]string{"origin", "https://a.com", "access-control-request-method", "GET", "access-control-request-method", "PUT"}, false},
		"S38 many headers":   {[]string{"origin", "https://a.com", "access-control-request-method", "GET", "access-control-request-headers", strings.Repeat("x-a,", 100)}, false},
		"S38 long list":      {[]string{"origin", "https://a.com", "access-control-request-method", "GET", "access-control-request-headers", strings.Repeat(",", 9000)}, false},
		"S38 no header name": {[]string{"origin", "https://a.com", "access-control-request-method", "GET", "access-control-request-headers", "x-a\x00"}, false},
	} {
		r := request("OPTIONS", c.lines...)
		if !cors.IsPreflight(r) {
			t.Fatalf("%s: no preflight", name)
		}
		reply, ok := p.Preflight(r)
		if ok != c.want {
			t.Errorf("%s: %v", name, ok)
		}
		if status := map[bool]int{true: 204, false: 403}[ok]; reply.Status() != status || !strings.Contains(reply.Header.Get("Vary"), "Origin") {
			t.Errorf("%s: %d %v", name, reply.Status(), reply.Header)
		}
		for header := range reply.Header {
			if !ok && strings.HasPrefix(header, "Access-Control-") {
				t.Errorf("%s: failed, but has %s", name, header)
			}
		}
	}
	reply, _ := p.Preflight(request("OPTIONS", "origin", "https://a.com", "access-control-request-method", "PUT"))
	want := http.Header{
		"Access-Control-Allow-Origin": {"https://a.com"}, "Access-Control-Allow-Methods": {"GET, PUT"}, "Access-Control-Allow-Headers": {"X-A, Content-Type"},
		"Access-Control-Max-Age": {"86400"}, "Vary": {"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"},
	}
	for name, values := range want {
		if reply.Header.Get(name) != values[0] {
			t.Errorf("%s: %q", name, reply.Header[name])
		}
	}
	for _, lines := range [][]string{{"origin", "https://a.com"}, {"access-control-request-method", "GET"}, nil} {
		if cors.IsPreflight(request("OPTIONS", lines...)) || cors.IsPreflight(request("GET", "origin", "a", "access-control-request-method", "GET")) {
			t.Errorf("%v is taken for a preflight", lines)
		}
	}
}

func TestWildcardListsNameWhatWasAsked(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.CORS{AllowOrigins: []string{"https://a.com"}, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}, AllowCredentials: true})
	reply, ok := p.Preflight(request("OPTIONS", "origin", "https://a.com", "access-control-request-method", "PATCH", "access-control-request-headers", "authorization"))
	if !ok || reply.Header.Get("Access-Control-Allow-Methods") != "PATCH" || reply.Header.Get("Access-Control-Allow-Headers") != "authorization" {
		t.Error(ok, reply.Header)
	}
}

func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{"https://x.a.com", "https://evil/.a.com", "https://a.com", "https://a.com@evil", "null", "https://x.a.com:443", "https://x.a.com\x00", "https://*.a.com"} {
		f.Add(seed)
	}
	p := compile(f, &config.CORS{AllowOrigins: []string{"https://*.a.com"}})
	f.Fuzz(func(t *testing.T, origin string) {
		if p.Match(origin) && (!strings.HasPrefix(origin, "https://") || !strings.HasSuffix(origin, ".a.com") || strings.ContainsAny(origin[8:], "/:?#@ \\")) {
			t.Errorf("%q matches", origin)
		}
		if exact, pattern, err := cors.OriginPattern(origin); err == nil && (exact == "") == (pattern == "") {
			t.Errorf("%q: %q %q", origin, exact, pattern)
		}
	})
}

// FuzzRequestedHeaders: what a preflight names is compared whole, whatever it looks like.
func FuzzRequestedHeaders(f *testing.F) {
	for _, seed := range []string{"x-a", "X-A, x-b", "x-a,,x-b", " ,", "x-a;x-b", "x-a\tx-b", "x-\xff", strings.Repeat("x-a,", 100), "*"} {
		f.Add("PUT", seed)
	}
	p := compile(f, &config.CORS{AllowOrigins: []string{"https://a.example"}, AllowMethods: []string{"PUT"}, AllowHeaders: []string{"x-a", "X-B"}})
	f.Fuzz(func(t *testing.T, method, list string) {
		r := exchange.NewRequest(exchange.Head{Method: "OPTIONS"}, exchange.Conn{}, exchange.NewHeader(
			exchange.Field{Name: "origin", Value: "https://a.example"}, exchange.Field{Name: "access-control-request-method", Value: method},
			exchange.Field{Name: "access-control-request-headers", Value: list}), exchange.Body{}, nil)
		_, allowed := p.Preflight(r)
		if !allowed {
			return
		}
		if method != "PUT" && method != "GET" && method != "HEAD" && method != "POST" {
			t.Errorf("method %q is allowed", method)
		}
		for name := range strings.SplitSeq(strings.ToLower(list), ",") {
			if name = strings.Trim(name, " \t"); name != "" && name != "x-a" && name != "x-b" {
				t.Errorf("header %q is allowed", name)
			}
		}
	})
}

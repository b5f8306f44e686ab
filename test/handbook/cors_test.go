package handbook_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

func TestExample13CORS(t *testing.T) {
	isolated(t, func(t *testing.T) {
		b := backend(t)
		g := gatewaytest.Start(t, nil, files(example("base"), example("13-sp-cors")))
		wantLogged(t, g, "level=WARN", "13-sp-cors.yaml:", "maxAge", "86400s")
		t.Run("preflights of allowed origins are answered", func(t *testing.T) { testPreflights(t, b) })
		t.Run("other preflights are refused", func(t *testing.T) { testForeignPreflights(t, b) })
		t.Run("an OPTIONS that is no preflight reaches the backend", func(t *testing.T) {
			a := preflight(t, "Origin: https://example.com")
			wantStatus(t, a, http.StatusOK)
			if a.Seen.Method != http.MethodOptions {
				t.Errorf("the backend saw method %q", a.Seen.Method)
			}
			wantReadable(t, a, "https://example.com")
		})
		t.Run("answers to allowed origins can be read", testAllowedOrigins)
		t.Run("answers to other origins can't be read", testForeignOrigins)
		t.Run("an outage of the backend can be read", func(t *testing.T) {
			b.Close()
			a := get(t, "Origin: https://example.com")
			wantStatus(t, a, http.StatusServiceUnavailable)
			wantReadable(t, a, "https://example.com")
		})
	})
}

func preflight(t *testing.T, header ...string) gatewaytest.Answer {
	t.Helper()
	return gatewaytest.Send(t, http.MethodOptions, gatewayURL+"/", append([]string{host}, header...)...)
}

func testPreflights(t *testing.T, b *gatewaytest.Backend) {
	for _, test := range []struct{ origin, method, headers string }{
		{"https://example.com", "GET", ""},
		{"https://example.com", "DELETE", "authorization"},
		{"https://a.example.com", "PUT", "content-type,x-custom-header"},
		{"https://a.b.example.com", "POST", "content-type"},
	} {
		header := []string{"Origin: " + test.origin, "Access-Control-Request-Method: " + test.method}
		if test.headers != "" {
			header = append(header, "Access-Control-Request-Headers: "+test.headers)
		}
		a := preflight(t, header...)
		wantStatus(t, a, http.StatusNoContent)
		wantHeader(t, a.Header, "Access-Control-Allow-Origin", test.origin)
		wantHeader(t, a.Header, "Access-Control-Allow-Credentials", "true")
		wantHeader(t, a.Header, "Access-Control-Max-Age", "86400")
		wantList(t, a.Header, "Access-Control-Allow-Methods", "GET", "POST", "PUT", "DELETE")
		wantList(t, a.Header, "Access-Control-Allow-Headers", "content-type", "authorization", "x-custom-header")
		wantVaryOrigin(t, a)
	}
	if n := len(b.Requests()); n != 0 {
		t.Errorf("%d preflights reached the backend", n)
	}
}

func testForeignPreflights(t *testing.T, b *gatewaytest.Backend) {
	const wantGET = "Access-Control-Request-Method: GET"
	for _, header := range [][]string{
		{"Origin: https://evil.example", wantGET},
		{"Origin: http://example.com", wantGET},
		{"Origin: https://example.com:8443", wantGET},
		{"Origin: https://example.com.evil.example", wantGET},
		{"Origin: https://badexample.com", wantGET},
		{"Origin: https://.example.com", wantGET},
		{"Origin: https://evil.example/.example.com", wantGET},
		{"Origin: null", wantGET},
		{"Origin: https://example.com", "Origin: https://evil.example", wantGET},
		{"Origin: https://example.com", "Access-Control-Request-Method: PATCH"},
		{"Origin: https://example.com", wantGET, "Access-Control-Request-Headers: content-type, x-other"},
	} {
		a := preflight(t, header...)
		if a.Status != http.StatusForbidden {
			t.Errorf("%q: status %d, want 403", header, a.Status)
		}
		wantNoCORS(t, a)
		wantVaryOrigin(t, a)
	}
	if n := len(b.Requests()); n != 0 {
		t.Errorf("%d preflights reached the backend", n)
	}
}

func testAllowedOrigins(t *testing.T) {
	for _, origin := range []string{"https://example.com", "https://a.example.com", "https://a.b.example.com"} {
		a := get(t, "Origin: "+origin)
		wantStatus(t, a, http.StatusOK)
		wantReadable(t, a, origin)
	}
	t.Run("once, if the backend sends them too", func(t *testing.T) {
		a := get(t, "Origin: https://example.com", "x-want-header: Access-Control-Allow-Origin: *", "x-want-header: Vary: Accept-Encoding")
		wantStatus(t, a, http.StatusOK)
		wantReadable(t, a, "https://example.com")
	})
	t.Run("an error of the backend", func(t *testing.T) {
		a := get(t, "Origin: https://example.com", "x-want-status: 500")
		wantStatus(t, a, http.StatusInternalServerError)
		wantReadable(t, a, "https://example.com")
	})
}

func testForeignOrigins(t *testing.T) {
	for _, header := range [][]string{nil, {"Origin: https://evil.example"}, {"Origin: http://a.example.com"}, {"Origin: null"}} {
		a := get(t, header...)
		wantStatus(t, a, http.StatusOK)
		wantNoCORS(t, a)
		wantVaryOrigin(t, a)
	}
}

// wantReadable requires what lets a page of origin read the answer.
func wantReadable(t *testing.T, a gatewaytest.Answer, origin string) {
	t.Helper()
	wantHeader(t, a.Header, "Access-Control-Allow-Origin", origin)
	wantHeader(t, a.Header, "Access-Control-Allow-Credentials", "true")
	wantList(t, a.Header, "Access-Control-Expose-Headers", "x-response-id")
	wantVaryOrigin(t, a)
}

func wantNoCORS(t *testing.T, a gatewaytest.Answer) {
	t.Helper()
	for name, lines := range a.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s: %q for an origin that isn't allowed", name, lines)
		}
	}
}

// wantVaryOrigin keeps caches from giving one origin's answer to another.
func wantVaryOrigin(t *testing.T, a gatewaytest.Answer) {
	t.Helper()
	all := strings.Split(strings.ToLower(strings.Join(a.Header.Values("Vary"), ",")), ",")
	n := 0
	for _, name := range all {
		if strings.TrimSpace(name) == "origin" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("Vary: %q, want Origin once", a.Header.Values("Vary"))
	}
}

// wantList requires one line that lists these members, in any order and case.
func wantList(t *testing.T, header http.Header, name string, members ...string) {
	t.Helper()
	lines := header.Values(name)
	var got []string
	for member := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		got = append(got, strings.ToLower(strings.TrimSpace(member)))
	}
	var want []string
	for _, member := range members {
		want = append(want, strings.ToLower(member))
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(lines) != 1 || !slices.Equal(got, want) {
		t.Errorf("%s: %q, want one line with %q", name, lines, members)
	}
}

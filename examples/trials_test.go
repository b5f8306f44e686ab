package examples_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

func tenant(t *testing.T, s *stage) {
	a := gatewaytest.Get(t, s.url+"/orders", "host: ACME.shop.example:8080", "x-tenant: globex", "x-plan: platinum")
	for _, want := range []string{`"X-Tenant":["acme"]`, `"X-Plan":["gold"]`} {
		if !strings.Contains(a.Body, want) || a.Header.Get("X-Served-For") != "acme" {
			t.Errorf("%d %s %v", a.Status, a.Body, a.Header)
		}
	}
	if a := gatewaytest.Get(t, s.url+"/orders", "host: nobody.shop.example", "x-tenant: acme"); a.Status != http.StatusNotFound {
		t.Errorf("an unknown tenant: %d", a.Status)
	}
}

func redact(t *testing.T, s *stage) {
	const want = `{"customer": {"name": "Ada", "email": "[hidden]", "iban": "[hidden]", "card": "****1111"}, "total": 12.50}`
	// Parts of the document would show what the whole one doesn't.
	for _, parts := range []string{"x-no: range", "range: bytes=40-90", "range: bytes=0-20,40-90"} {
		if a := gatewaytest.Get(t, s.url+"/customers/1", parts); a.Status != http.StatusOK || a.Body != want {
			t.Errorf("%s: %d %s", parts, a.Status, a.Body)
		}
	}
}

func tokens(t *testing.T, s *stage) {
	a := gatewaytest.Get(t, s.url+"/chat", "x-api-key-id: k1", "accept-encoding: br")
	if a.Status != http.StatusOK || !strings.HasSuffix(a.Body, "data: [DONE]\n\n") || strings.Count(a.Body, "data:") != 7 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	gatewaytest.Eventually(t, "the count", func() error {
		if text := s.programs["tokens"].String(); !strings.Contains(text, `"key":"k1","chunks":7,"tokens":17,"complete":true`) {
			return fmt.Errorf("log: %s", text)
		}
		return nil
	})
}

func signed(t *testing.T, s *stage) {
	key, err := os.ReadFile("testdata/key")
	if err != nil {
		t.Fatal(err)
	}
	sign := func(at time.Time, text string) string {
		mac := hmac.New(sha256.New, []byte(strings.TrimSpace(string(key))))
		fmt.Fprintf(mac, "%d.%s", at.Unix(), text)
		return fmt.Sprintf("x-signature: t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
	}
	now, large := time.Now(), strings.Repeat("x", 2<<20)
	for name, c := range map[string]struct {
		text, signature string
		want            int
	}{
		"as the sender does it": {"hello", sign(now, "hello"), 200},
		"without a body":        {"", sign(now, ""), 200},
		"another body":          {"hullo", sign(now, "hello"), 401},
		"an old recording":      {"hello", sign(now.Add(-time.Hour), "hello"), 401},
		"another time":          {"hello", strings.Replace(sign(now.Add(-time.Minute), "hello"), fmt.Sprint(now.Add(-time.Minute).Unix()), fmt.Sprint(now.Unix()), 1), 401},
		"no signature":          {"hello", "x-other: 1", 401},
		"no hex":                {"hello", fmt.Sprintf("x-signature: t=%d,v1=zz", now.Unix()), 401},
		"an empty one":          {"hello", fmt.Sprintf("x-signature: t=%d,v1=", now.Unix()), 401},
		"too large":             {large, sign(now, large), 413},
	} {
		if a := gatewaytest.Post(t, s.url+"/hooks", c.text, c.signature); a.Status != c.want || c.want == 200 && !strings.Contains(a.Body, fmt.Sprintf(`"body":%q`, c.text)) {
			t.Errorf("%s: %d %.200s", name, a.Status, a.Body)
		}
	}
}

func compress(t *testing.T, s *stage) {
	plain := gatewaytest.Get(t, s.url+"/text")
	if plain.Header.Get("Content-Encoding") != "" || len(plain.Body) != 4400 || plain.Header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("plain: %d bytes, %v", len(plain.Body), plain.Header)
	}
	for _, coding := range []string{body.Gzip, body.Brotli, body.Zstd} {
		a := gatewaytest.Get(t, s.url+"/text", "accept-encoding: "+coding)
		fn, err := body.Decoder(a.Header.Get("Content-Encoding"), body.Limit{})
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := fn(&text, strings.NewReader(a.Body)); err != nil || text.String() != plain.Body || len(a.Body) > 400 {
			t.Errorf("%s: %d bytes, %v, %v", coding, len(a.Body), a.Header, err)
		}
	}
}

func grpcguard(t *testing.T, s *stage) {
	conn, err := grpc.NewClient(strings.TrimPrefix(s.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := healthv1.NewHealthClient(conn)
	if answer, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil || answer.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("an open method: %v, %v", answer, err)
	}
	watch, err := client.Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	if got := status.Convert(err); got.Code() != codes.PermissionDenied || got.Message() != "this method is not for you" {
		t.Errorf("another method: %v", err)
	}
	// Who speaks plain HTTP gets plain HTTP.
	if a := gatewaytest.Get(t, s.url+"/grpc.health.v1.Health/Watch"); a.Status != http.StatusForbidden {
		t.Errorf("by HTTP: %d", a.Status)
	}
}

func waf(t *testing.T, s *stage) {
	for name, c := range map[string]struct {
		path, text, kind string
		want             int
	}{
		"a search":           {"?q=red+shoes", "", "", 200},
		"a form":             {"", "q=red+shoes", "application/x-www-form-urlencoded", 200},
		"JSON":               {"", `{"q":"red shoes"}`, "application/json", 200},
		"SQL in the query":   {"?q=1%27%20OR%20%271%27=%271", "", "", 403},
		"SQL in a form":      {"", "q=1%27+UNION+SELECT+password+FROM+users--", "application/x-www-form-urlencoded", 403},
		"SQL in JSON":        {"", `{"deep":{"q":"1' OR '1'='1"}}`, "application/json", 403},
		"a script in a form": {"", "q=<script>alert(1)</script>", "application/x-www-form-urlencoded", 403},
		"JSON that is none":  {"", `{"q":`, "application/json", 400},
		"too large":          {"", strings.Repeat("x", 200<<10), "text/plain", 413},
	} {
		var a gatewaytest.Answer
		if c.kind == "" {
			a = gatewaytest.Get(t, s.url+"/search"+c.path)
		} else {
			a = gatewaytest.Post(t, s.url+"/search"+c.path, c.text, "content-type: "+c.kind)
		}
		if a.Status != c.want {
			t.Errorf("%s: %d %.200s", name, a.Status, a.Body)
		}
	}
}

func netHTTP(t *testing.T, s *stage) {
	const origin = "origin: https://app.example"
	a := gatewaytest.Get(t, s.url+"/api/things", origin)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Allow-Credentials": "true",
		"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Strict-Transport-Security": "max-age=31536000",
	} {
		if got := strings.Join(a.Header.Values(name), "|"); a.Status != 200 || got != want {
			t.Errorf("%d %s: %q", a.Status, name, got)
		}
	}
	a = gatewaytest.Send(t, http.MethodOptions, s.url+"/api/things", origin, "access-control-request-method: POST")
	if a.Status != http.StatusNoContent || a.Header.Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("preflight: %d %v", a.Status, a.Header)
	}
	a = gatewaytest.Get(t, s.url+"/api/version", origin)
	if a.Status != http.StatusOK || !strings.HasPrefix(a.Body, `"go1.`) || a.Header.Get("X-Frame-Options") != "DENY" {
		t.Errorf("version: %d %q %v", a.Status, a.Body, a.Header)
	}
	for size, want := range map[int]int{64 << 10: 200, 64<<10 + 1: 413} {
		text := strings.Repeat("x", size)
		if a := gatewaytest.Post(t, s.url+"/api/things", text); a.Status != want || want == 200 && !strings.Contains(a.Body, text) {
			t.Errorf("%d bytes: %d %.200s", size, a.Status, a.Body)
		}
	}
}

package sdk_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// bootstrap has the filters for extensions of both kinds.
var bootstrap = envoytest.HTTP(`
- name: envoy.filters.http.ext_authz
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
    transport_api_version: V3
    grpc_service: {envoy_grpc: {cluster_name: extension}, timeout: 5s}
    encode_raw_headers: true
    status_on_error: {code: 503}
- name: envoy.filters.http.ext_proc
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
    grpc_service: {envoy_grpc: {cluster_name: extension}, timeout: 5s}
    message_timeout: 5s
`)

// both is an extension of both kinds.
type both struct{}

func (both) Check(_ context.Context, r *sdk.Request) (sdk.Verdict, error) {
	if r.Header.Get("x-api-key") != "open sesame" {
		return sdk.Verdict{Reply: sdk.Deny(http.StatusUnauthorized, "who are you?")}, nil
	}
	return sdk.Verdict{Allow: true, Set: []sdk.Field{{Name: "x-user", Value: "ali"}}, Remove: []string{"x-api-key"}}, nil
}

func (both) Process(ctx context.Context, x *sdk.Exchange) error {
	x.Request.Header.Set("x-hello", "world to "+x.Request.Header.Get("x-user"))
	resp, err := x.Next(ctx)
	if err != nil {
		return err
	}
	resp.Header.Set("x-served-by", "me")
	return nil
}

// unlocked is an authorizer that stands in no processor's way.
type unlocked struct{ sdk.Processor }

func (unlocked) Check(context.Context, *sdk.Request) (sdk.Verdict, error) {
	return sdk.Verdict{Allow: true}, nil
}

func TestChainThroughEnvoy(t *testing.T) {
	t.Parallel()
	chain := sdk.Chain(
		sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
			resp, err := x.Next(ctx)
			if err != nil {
				return err
			}
			resp.Header.Set("access-control-allow-origin", "*")
			return nil
		}),
		sdk.Authorize(sdk.AuthorizerFunc(func(_ context.Context, r *sdk.Request) (sdk.Verdict, error) {
			return sdk.Verdict{Allow: r.Path() != "/secret"}, nil
		})))
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(upstream.Close)
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	serving(t, "unix:"+socket, unlocked{chain})
	port := envoytest.FreePort(t)
	envoytest.Start(t, fmt.Sprintf(bootstrap, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
	for path, want := range map[string]string{"/": "200 hello *", "/secret": "403 access denied *"} {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		got := fmt.Sprintf("%d %s %s", answer.StatusCode, body, strings.Join(answer.Header.Values("Access-Control-Allow-Origin"), ","))
		if err != nil || got != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// TestChainedBodiesThroughEnvoy: the inner processor sees what the outer one has made of the request, and
// the outer one what the inner one has made of the response.
func TestChainedBodiesThroughEnvoy(t *testing.T) {
	t.Parallel()
	wrap := func(name string) func(dst io.Writer, src io.Reader) error {
		return func(dst io.Writer, src io.Reader) error {
			_, err := io.Copy(dst, io.MultiReader(strings.NewReader(name+"("), src, strings.NewReader(")")))
			return err
		}
	}
	seen := make(chan string, 1)
	chain := sdk.Chain(
		sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
			x.Request.Body.Transform(wrap("outer"))
			resp, err := x.Next(ctx, sdk.EditBody)
			if err != nil {
				return err
			}
			body, err := resp.Body.Bytes(1 << 10)
			resp.Header.Set("x-outer", string(body))
			return err
		}),
		sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
			body, err := x.Request.Body.Bytes(1 << 10)
			if err != nil {
				return err
			}
			seen <- string(body)
			resp, err := x.Next(ctx, sdk.EditBody)
			if err != nil {
				return err
			}
			resp.Body.Transform(wrap("inner"))
			return x.Finish(ctx)
		}))
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	t.Cleanup(upstream.Close)
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	serving(t, "unix:"+socket, unlocked{chain})
	port := envoytest.FreePort(t)
	config := strings.Replace(bootstrap, "              message_timeout: 5s\n", `              message_timeout: 5s
              allow_mode_override: true
              grpc_service: {envoy_grpc: {cluster_name: extension}, initial_metadata: [{key: x-gatehouse-extproc, value: "v=1; override"}]}
`, 1)
	envoytest.Start(t, fmt.Sprintf(config, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
	answer, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/", port), "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if want := "inner(outer(body))"; err != nil || string(body) != want || answer.Header.Get("X-Outer") != want {
		t.Errorf("%d %q, header %q, %v", answer.StatusCode, body, answer.Header.Get("X-Outer"), err)
	}
	if got := <-seen; got != "outer(body)" {
		t.Errorf("inner saw %q", got)
	}
}

func TestAnExtensionOfBothKindsThroughEnvoy(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s,%s,%s", r.Header.Get("X-Hello"), r.Header.Get("X-User"), r.Header.Get("X-Api-Key"))
	}))
	t.Cleanup(upstream.Close)
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	serving(t, "unix:"+socket, both{})
	port := envoytest.FreePort(t)
	envoytest.Start(t, fmt.Sprintf(bootstrap, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
	for key, want := range map[string]string{
		"open sesame": "200 world to ali,ali, me",
		"guess":       "401 who are you?", // the processor doesn't see answers of others
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Api-Key", key)
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		got := strings.TrimSpace(fmt.Sprintf("%d %s %s", answer.StatusCode, body, answer.Header.Get("X-Served-By")))
		if err != nil || got != want {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
}

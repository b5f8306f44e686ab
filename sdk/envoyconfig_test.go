package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// demanding is an extension of both kinds that uses what it declares.
type demanding struct{}

func (demanding) Check(_ context.Context, r *sdk.Request) (sdk.Verdict, error) {
	return sdk.Verdict{Allow: r.Path() != "/secret"}, nil
}

func (demanding) Needs() sdk.Needs {
	return sdk.Needs{
		RequestBody: sdk.BodyEdited, ResponseHeaders: true, Routing: true, Metadata: []string{"mine"}, TypedMetadata: []string{"typed.mine"},
		Reads: []string{"theirs"}, RequestAttributes: []string{"source.address"}, ResponseAttributes: []string{"response.code"},
	}
}

func (demanding) Process(ctx context.Context, x *sdk.Exchange) error {
	body, err := x.Request.Body.Bytes(100)
	if err != nil {
		return err
	}
	x.Request.Body.Set(bytes.ToUpper(body))
	x.Request.Header.Set("host", "other.example")
	err = errors.Join(x.SetMetadata("mine", "n", 1.0), extproc.SetTypedMetadata(x, "typed.mine", new(durationpb.Duration)))
	resp, err1 := x.Next(ctx)
	if err := errors.Join(err, err1); err != nil {
		return err
	}
	source, _ := x.Attribute("source.address")
	code, _ := x.Attribute("response.code")
	f := x.Filter()
	resp.Header.Set("x-told", fmt.Sprint(strings.HasPrefix(source, "127.0.0.1:"), " ", code, " ", f.Override, f.MutateAll, f.Timeout, f.MaxTimeout))
	return nil
}

// TestThePrintedConfigurationThroughEnvoy: an Envoy that has it gives the extension all that it declares.
func TestThePrintedConfigurationThroughEnvoy(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s at %s", body, r.Host)
	}))
	t.Cleanup(upstream.Close)
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	serving(t, "unix:"+socket, demanding{})
	printed, err := sdk.EnvoyConfig("unix:"+socket, demanding{})
	if err != nil {
		t.Fatal(err)
	}
	filters, clusters, _ := strings.Cut(strings.TrimPrefix(printed, "http_filters:\n"), "clusters:\n")
	config, _, _ := strings.Cut(envoytest.HTTP(filters), "  - name: extension\n")
	for line := range strings.Lines(clusters) {
		config += "  " + line
	}
	port := envoytest.FreePort(t)
	envoytest.Start(t, fmt.Sprintf(config, port, upstream.Listener.Addr().(*net.TCPAddr).Port))
	for path, want := range map[string]string{"/": "200 HELLO at other.example true 200 true true 1s 10s", "/secret": "403 access denied "} {
		answer, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d%s", port, path), "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if got := fmt.Sprintf("%d %s %s", answer.StatusCode, body, answer.Header.Get("X-Told")); err != nil || got != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

func TestWhereThePrintedConfigurationFindsTheServer(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"unix:/run/s.sock": `{pipe: {path: "/run/s.sock"}}`,
		"127.0.0.1:9002":   `{socket_address: {address: "127.0.0.1", port_value: 9002}}`,
		"[::1]:9002":       `{socket_address: {address: "::1", port_value: 9002}}`,
		":9002":            `{socket_address: {address: "127.0.0.1", port_value: 9002}}`,
		"0.0.0.0:9002":     `{socket_address: {address: "127.0.0.1", port_value: 9002}}`,
		"localhost:9002":   `{socket_address: {address: "127.0.0.1", port_value: 9002}}`,
		"guard.example:1":  `{socket_address: {address: "guard.example", port_value: 1}}`,
		"127.0.0.1":        "",
		"127.0.0.1:0":      "",
		"127.0.0.1:http":   "",
	} {
		printed, err := sdk.EnvoyConfig(addr, hello)
		if (err == nil) != (want != "") || err == nil && !strings.Contains(printed, want) {
			t.Errorf("%s: %v\n%s", addr, err, printed)
		}
		if byName := strings.Contains(printed, "type: STRICT_DNS"); byName != (addr == "guard.example:1") {
			t.Errorf("%s is looked up: %v", addr, byName)
		}
		if _, clusters, ok := strings.Cut(printed, "clusters:\n"); ok {
			envoytest.Validate(t, "static_resources:\n  clusters:\n  "+strings.ReplaceAll(strings.TrimSpace(clusters), "\n", "\n  ")+"\n")
		}
	}
	if _, err := sdk.EnvoyConfig("127.0.0.1:9002", "neither"); err == nil {
		t.Error("what is no extension has a configuration")
	}
}

func TestMainPrintsTheConfiguration(t *testing.T) {
	t.Parallel()
	for listen, code := range map[string]int{"unix:/run/s.sock": 0, "nowhere": 2} {
		program := exec.CommandContext(t.Context(), os.Args[0], "--listen", listen, "--print-envoy-config")
		program.Env = append(os.Environ(), "SDK_TEST_SERVE=hello")
		out, _ := program.Output()
		if got := program.ProcessState.ExitCode(); got != code || (code == 0) != bytes.Contains(out, []byte(`path: "/run/s.sock"`)) {
			t.Errorf("%s: %d\n%s", listen, got, out)
		}
	}
}

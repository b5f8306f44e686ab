package sdk_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// TestTheDocumentedFilterThroughEnvoy: with it a processor may hold a request's body and edit the response's.
func TestTheDocumentedFilterThroughEnvoy(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/processors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, filter, found := strings.Cut(string(text), "```yaml\nname: envoy.filters.http.ext_proc\n")
	filter, _, _ = strings.Cut(filter, "```")
	before, rest, found2 := strings.Cut(bootstrap, "          - name: envoy.filters.http.ext_proc\n")
	_, after, found3 := strings.Cut(rest, "          - name: envoy.filters.http.router\n")
	if !found || !found2 || !found3 {
		t.Fatal("no filter")
	}
	filter = "          - name: documented\n            " + strings.ReplaceAll(strings.TrimSpace(filter), "\n", "\n            ") + "\n"
	filter = strings.ReplaceAll(strings.ReplaceAll(filter, "cluster_name: guard", "cluster_name: extension"), "=1s", "=10s")
	filter = strings.ReplaceAll(filter, "message_timeout: 1s", "message_timeout: 10s") // the machine may be busy
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	t.Cleanup(upstream.Close)
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	serving(t, "unix:"+socket, unlocked{sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		held, err := x.Request.Body.Bytes(1 << 10)
		if err != nil {
			return err
		}
		x.Request.Body.Set([]byte(strings.ToUpper(string(held))))
		resp, err := x.Next(ctx, sdk.EditBody)
		if err != nil {
			return err
		}
		resp.Body.Transform(func(dst io.Writer, src io.Reader) error {
			_, err := io.Copy(dst, io.MultiReader(src, strings.NewReader("!")))
			return err
		})
		return nil
	})})
	port := envoytest.FreePort(t)
	envoytest.Start(t, fmt.Sprintf(before+filter+"          - name: envoy.filters.http.router\n"+after, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
	answer, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/", port), "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if got, err := io.ReadAll(answer.Body); err != nil || string(got) != "HELLO!" {
		t.Errorf("%d %q, %v", answer.StatusCode, got, err)
	}
}

// TestEveryMetricIsDocumented: with its labels, and nothing else is.
func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/processors.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(gatehouse_\\w+)` \\|([^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, strings.TrimSpace(row[1]+" "+strings.NewReplacer("`", "", " ", "").Replace(row[2])))
	}
	registry := prometheus.NewRegistry()
	serving(t, "127.0.0.1:0", both{}, sdk.WithMetrics(registry))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var measured []string
	for _, f := range families {
		var labels []string
		for _, pair := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, pair.GetName())
		}
		measured = append(measured, strings.TrimSpace(f.GetName()+" "+strings.Join(labels, ",")))
	}
	slices.Sort(documented)
	slices.Sort(measured)
	if !slices.Equal(documented, measured) {
		t.Errorf("documented: %q\nmeasured: %q", documented, measured)
	}
}

package record_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tapv3 "github.com/envoyproxy/go-control-plane/envoy/data/tap/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/extproc/record"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// counted writes how long a held body is into a header, and denies who has none.
func counted(ctx context.Context, x *exchange.Exchange) error {
	body, err := x.Request.Body.Bytes(1 << 20)
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return exchange.Deny(http.StatusTeapot, "no body")
	}
	x.Request.Header.Set("x-length", fmt.Sprint(len(body)))
	_, err = x.Next(ctx)
	return err
}

// tap has Envoy write what goes over the connections to the processor.
const tap = `  - name: extension
    transport_socket:
      name: envoy.transport_sockets.tap
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tap.v3.Tap
        common_config:
          static_config:
            match: {any_match: true}
            output_config:
              streaming: true
              max_buffered_rx_bytes: 67108864
              max_buffered_tx_bytes: 67108864
              sinks: [{format: PROTO_BINARY_LENGTH_DELIMITED, file_per_tap: {path_prefix: %q}}]
        transport_socket:
          name: envoy.transport_sockets.raw_buffer
          typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}
`

// TestStreamsOfAnEnvoysTapReplay: what Envoy's tap has seen of a processor is recorded without a secret, and
// the processor answers the same again.
func TestStreamsOfAnEnvoysTapReplay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(envoytest.SocketDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	served := extproc.NewServer(exchange.ProcessorFunc(counted), extproc.WithLogger(slog.New(slog.DiscardHandler)))
	served.Register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	t.Cleanup(upstream.Close)
	port := envoytest.FreePort(t)
	filters := `
- name: envoy.filters.http.ext_proc
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
    grpc_service: {envoy_grpc: {cluster_name: extension}, initial_metadata: [{key: x-gatehouse-extproc, value: "v=1; override"}]}
    message_timeout: 10s
    allow_mode_override: true
`
	config := strings.Replace(envoytest.HTTP(filters), "  - name: extension\n", fmt.Sprintf(tap, filepath.Join(dir, "t")), 1)
	envoy := envoytest.Start(t, fmt.Sprintf(config, port, upstream.Listener.Addr().(*net.TCPAddr).Port, listener.Addr()))
	large := strings.Repeat("0123456789", 20_000) // of several frames
	for _, body := range []string{"small", "", large} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d/ask?token=%s", port, secret), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", secret)
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
	server.Stop() // with the connections Envoy ends their traces
	for deadline := time.Now().Add(20 * time.Second); envoy.Stat(t, "cluster.extension.upstream_cx_active") > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	recordings := readTaps(t, dir)
	if len(recordings) != 3 {
		t.Fatalf("%d streams", len(recordings))
	}
	for i, rec := range recordings {
		text, err := rec.Format()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte(secret)) || rec.Metadata["x-gatehouse-extproc"] == nil || len(rec.Frames) < 2 {
			t.Errorf("stream %d: %s", i, text)
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.txtar", i))
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		sdktest.Replay(t, served, path, record.Redactor{KeepBodies: true})
	}
}

// readTaps reads what Envoy has written.
func readTaps(t *testing.T, dir string) (all []*record.Recording) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "t_*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		streams, err := record.FromTap(file, record.Redactor{KeepBodies: true})
		_ = file.Close()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, streams...)
	}
	return all
}

// TestTracesThatCantBeRead are errors, and no panic; one whose end is missing is read as far as it goes.
func TestTracesThatCantBeRead(t *testing.T) {
	t.Parallel()
	trace := func(written string, truncated bool) string {
		var out bytes.Buffer
		data := &tapv3.Body{BodyType: &tapv3.Body_AsBytes{AsBytes: []byte(written)}, Truncated: truncated}
		event := &tapv3.SocketEvent{EventSelector: &tapv3.SocketEvent_Write_{Write: &tapv3.SocketEvent_Write{Data: data}}}
		_, err := protodelim.MarshalTo(&out, &tapv3.TraceWrapper{Trace: &tapv3.TraceWrapper_SocketBufferedTrace{
			SocketBufferedTrace: &tapv3.SocketBufferedTrace{Events: []*tapv3.SocketEvent{event}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	for name, c := range map[string]struct {
		text string
		bad  bool
	}{
		"nothing":               {"", false},
		"cut":                   {trace(preface, false)[:9], false},
		"a preface":             {trace(preface, false), false},
		"a part of a frame":     {trace(preface+"\x00\x00\x09\x01\x04\x00\x00\x00\x01abc", false), false},
		"HTTP/1":                {trace("POST / HTTP/1.1\r\nHost: a.example\r\n\r\n", false), true},
		"truncated":             {trace(preface, true), true},
		"too much padding":      {trace(preface+"\x00\x00\x01\x00\x08\x00\x00\x00\x01\x05", false), true},
		"padding of nothing":    {trace(preface+"\x00\x00\x00\x00\x08\x00\x00\x00\x01", false), true},
		"priority of nothing":   {trace(preface+"\x00\x00\x00\x01\x24\x00\x00\x00\x01", false), true},
		"headers that are none": {trace(preface+"\x00\x00\x02\x01\x04\x00\x00\x00\x01\xff\xff", false), true},
		"no trace":              {"\x03\xff\xff\xff", true},
	} {
		streams, err := record.FromTap(strings.NewReader(c.text), record.Redactor{})
		if (err != nil) != c.bad || len(streams) != 0 {
			t.Errorf("%s: %v, %v", name, streams, err)
		}
	}
	broken := errors.New("the disk broke")
	if _, err := record.FromTap(io.MultiReader(strings.NewReader(trace(preface, false)), failing{broken}), record.Redactor{}); !errors.Is(err, broken) {
		t.Errorf("a file that can't be read: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

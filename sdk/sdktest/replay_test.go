package sdktest_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/extproc/record"
	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// quoting holds the request's body and writes it into a header, and its response in upper case.
func quoting(ctx context.Context, x *sdk.Exchange) error {
	if x.Request.Header.Get("authorization") == "" {
		return sdk.Deny(http.StatusUnauthorized, "who are you?")
	}
	body, err := x.Request.Body.Bytes(100)
	if err != nil {
		return err
	}
	x.Request.Header.Set("x-quote", string(body))
	resp, err := x.Next(ctx, sdk.EditBody)
	if err != nil {
		return err
	}
	resp.Body.Transform(upper)
	return x.Finish(ctx)
}

var question = sdktest.Request{
	Path: "/ask?token=hush", Header: http.Header{"Authorization": {"Bearer hush"}, "X-A": {"1"}},
	Body: []string{"what?"}, Upstream: sdktest.Response{Header: http.Header{"Set-Cookie": {"s=hush"}}, Body: []string{"nothing"}},
}

// TestScenariosReplay: each file of testdata is a stream, written by hand or recorded.
func TestScenariosReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			sdktest.Replay(t, sdk.ProcessorFunc(quoting), path, record.Redactor{KeepBodies: true})
		})
	}
}

// TestARecordedStreamReplays: of a real Envoy, through the recorder's interceptor, and without a secret.
func TestARecordedStreamReplays(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "streams")
	recorder, err := record.New(dir, record.Options{Redactor: record.Redactor{KeepBodies: true}})
	if err != nil {
		t.Fatal(err)
	}
	server := served(sdk.ProcessorFunc(quoting))
	var service grpc.ServiceDesc
	server.Register(registrar(func(desc *grpc.ServiceDesc, impl any) { service = *desc; service.HandlerType = impl }))
	tapped := sdktest.Script(func(stream process) error {
		ss := stream.(grpc.ServerStream)
		info := &grpc.StreamServerInfo{FullMethod: "/envoy.service.ext_proc.v3.ExternalProcessor/Process"}
		return recorder.Intercept(service.HandlerType, ss, info, service.Streams[0].Handler)
	})
	for range 2 {
		if r := sdktest.Envoy(t).Run(t, tapped, sdktest.Recommended(), question); r.Client.Body != "<NOTHING>" || r.Upstream.Header.Get("X-Quote") != "what?" {
			t.Fatal(r)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hush") || !strings.Contains(string(text), "what?") {
		t.Errorf("kept:\n%s", text)
	}
	sdktest.Replay(t, server, files[0], record.Redactor{KeepBodies: true})
}

// registrar is a func that takes a service.
type registrar func(*grpc.ServiceDesc, any)

func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) { r(desc, impl) }

// failing collects what a test that must fail says.
type failing struct {
	testing.TB
	said strings.Builder
}

func (f *failing) Helper()                  {}
func (f *failing) Errorf(string, ...any)    { f.said.WriteString("error") }
func (f *failing) Context() context.Context { return f.TB.Context() }

func TestAnotherAnswerIsToldByReplay(t *testing.T) {
	t.Parallel()
	f := &failing{TB: t}
	sdktest.Replay(f, sdk.ProcessorFunc(func(_ context.Context, x *sdk.Exchange) error { x.Request.Header.Set("x-other", "1"); return nil }),
		"testdata/denied.txtar", record.Redactor{KeepBodies: true})
	if f.said.Len() == 0 {
		t.Error("nobody noticed")
	}
}

func TestAResultIsARecording(t *testing.T) {
	t.Parallel()
	r := sdktest.Run(t, sdk.ProcessorFunc(quoting), sdktest.Recommended(), question)
	recording := r.Recording()
	text, err := recording.Format()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "r.txtar")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	sdktest.Replay(t, sdk.ProcessorFunc(quoting), path, record.Redactor{KeepBodies: true, KeepQueries: true, KeepMetadata: true})
}

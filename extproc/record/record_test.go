package record_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatehouse-proxy/gatehouse/extproc/record"
)

// secret is in every place of full where a secret can be.
const secret = "hush"

func headers(pairs ...string) *corev3.HeaderMap {
	out := new(corev3.HeaderMap)
	for i := 0; i < len(pairs); i += 2 {
		out.Headers = append(out.Headers, &corev3.HeaderValue{Key: pairs[i], RawValue: []byte(pairs[i+1])})
	}
	return out
}

func setting(name, value string) *extprocv3.HeaderMutation {
	return &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: name, RawValue: []byte(value)}, Append: wrapperspb.Bool(false)}}}
}

func full(t *testing.T) *record.Recording {
	t.Helper()
	secrets, err := structpb.NewStruct(map[string]any{"ns": map[string]any{"k": secret, "deep": map[string]any{"k": secret}}, "top": secret})
	if err != nil {
		t.Fatal(err)
	}
	again, err := structpb.NewStruct(secrets.AsMap())
	if err != nil {
		t.Fatal(err)
	}
	request := func(r *extprocv3.ProcessingRequest) record.Frame { return record.Frame{Request: r} }
	response := func(r *extprocv3.ProcessingResponse) record.Frame { return record.Frame{Response: r} }
	common := &extprocv3.CommonResponse{
		HeaderMutation: setting("Authorization", secret),
		BodyMutation: &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_StreamedResponse{
			StreamedResponse: &extprocv3.StreamedBodyResponse{Body: []byte(secret), EndOfStream: true},
		}},
	}
	return &record.Recording{
		Comment: "all of it\n", Metadata: map[string][]string{"authorization": {secret}, "x-a": {"1", "2"}}, Code: codes.DeadlineExceeded,
		Frames: []record.Frame{
			request(&extprocv3.ProcessingRequest{
				MetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"ns": secrets}},
				Attributes:      map[string]*structpb.Struct{"envoy.filters.http.ext_proc": secrets},
				Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{Headers: headers(
					":path", "/p?q=hush&hush&empty=#hush", "referer", "https://u:hush@x.example/?a=hush", "Cookie", secret, "x-mine", secret, "x-a", "kept", "x-raw", "\xff")}},
			}),
			response(&extprocv3.ProcessingResponse{DynamicMetadata: again, Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{Response: common}}}),
			request(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: []byte(secret)}}}),
			response(&extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestBody{RequestBody: &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{
				BodyMutation: &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_Body{Body: []byte(secret)}},
			}}}}),
			request(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestTrailers{RequestTrailers: &extprocv3.HttpTrailers{Trailers: headers("x-api-key", secret)}}}),
			response(&extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestTrailers{RequestTrailers: &extprocv3.TrailersResponse{HeaderMutation: setting("cookie", secret)}}}),
			request(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &extprocv3.HttpHeaders{Headers: headers("set-cookie", secret, "location", "/?code=hush")}}}),
			request(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{Body: []byte(secret)}}}),
			request(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseTrailers{ResponseTrailers: &extprocv3.HttpTrailers{Trailers: headers("set-cookie", secret)}}}),
			response(&extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: &extprocv3.ImmediateResponse{Headers: setting("set-cookie", secret), Body: []byte(secret)}}}),
			response(&extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_StreamedImmediateResponse{StreamedImmediateResponse: &extprocv3.StreamedImmediateResponse{
				Response: &extprocv3.StreamedImmediateResponse_BodyResponse{BodyResponse: &extprocv3.StreamedBodyResponse{Body: []byte(secret)}}}}}),
			response(&extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_StreamedImmediateResponse{StreamedImmediateResponse: &extprocv3.StreamedImmediateResponse{
				Response: &extprocv3.StreamedImmediateResponse_HeadersResponse{HeadersResponse: &extprocv3.HttpHeaders{Headers: headers("set-cookie", secret)}}}}}),
		},
	}
}

func format(t *testing.T, r *record.Recording) string {
	t.Helper()
	text, err := r.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestNoSecretIsKept(t *testing.T) {
	t.Parallel()
	r := full(t)
	if n := strings.Count(format(t, r), secret); n < 20 {
		t.Fatalf("only %d secrets to begin with", n)
	}
	record.Redactor{Headers: []string{"X-Mine"}}.Apply(r)
	text := format(t, r)
	if i := strings.Index(text, secret); i >= 0 {
		t.Errorf("kept: %s", text[max(0, i-300):i+10])
	}
	for _, want := range []string{`"raw": "kept"`, "/p?q=REDACTED&REDACTED&REDACTED", "x-a: 1", `"text": "xxxx"`, "all of it"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is gone:\n%s", want, text)
		}
	}
}

func TestWhatOneAsksForIsKept(t *testing.T) {
	t.Parallel()
	r := full(t)
	record.Redactor{KeepBodies: true, KeepQueries: true, KeepMetadata: true}.Apply(r)
	text := format(t, r)
	for _, want := range []string{`"text": "hush"`, "/p?q=hush", `"k": "hush"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is gone", want)
		}
	}
	for _, gone := range []string{"authorization: hush", "set-cookie\",\n     \"raw\": \"hush"} {
		if strings.Contains(text, gone) {
			t.Errorf("%s is kept", gone)
		}
	}
}

func TestARecordingReadsBack(t *testing.T) {
	t.Parallel()
	text := format(t, full(t))
	back, err := record.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if again := format(t, back); again != text {
		t.Errorf("became\n%s\nfrom\n%s", again, text)
	}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		one := &record.Recording{Code: code}
		if back, err := record.Parse([]byte(format(t, one))); err != nil || back.Code != code {
			t.Errorf("%v became %v, %v", code, back, err)
		}
	}
}

func TestWhatIsNoRecordingIsTold(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                      "is missing",
		"-- nonsense --\n-- end --\nOK\n":       "section 1, nonsense",
		"-- > request_headers --\n{\n":          "section 1, > request_headers",
		"-- > request_headers --\n{}\n":         "holds > message",
		"-- end --\nFine\n":                     "section 1, end",
		"-- end --\nOK\n-- > request_body --\n": "after the end",
		"-- metadata --\nnonsense\n":            "key: value",
	} {
		if _, err := record.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-- > request_headers --\n{\"requestHeaders\": {}}\n-- end --\nOK\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := record.Parse([]byte(text))
		if err != nil {
			return
		}
		once, err := r.Format()
		if err != nil {
			return
		}
		again, err := record.Parse(once)
		if err != nil {
			t.Fatalf("%v of\n%s", err, once)
		}
		if twice, err := again.Format(); err != nil || string(twice) != string(once) {
			t.Errorf("%v\n%s\nbecame\n%s", err, once, twice)
		}
	})
}

// stream is a gRPC server's side of a stream whose peer sends what is in it.
type stream struct {
	grpc.ServerStream
	ctx      context.Context
	requests []*extprocv3.ProcessingRequest
}

func (s *stream) Context() context.Context { return s.ctx }
func (s *stream) SendMsg(any) error        { return nil }
func (s *stream) RecvMsg(m any) error {
	if len(s.requests) == 0 {
		return io.EOF
	}
	next := m.(*extprocv3.ProcessingRequest)
	next.Request = s.requests[0].GetRequest()
	s.requests = s.requests[1:]
	return nil
}

func TestTheRecorderKeepsWithinBounds(t *testing.T) {
	t.Parallel()
	const process = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
	handler := func(_ any, ss grpc.ServerStream) error {
		if err := ss.RecvMsg(new(extprocv3.ProcessingRequest)); err != nil {
			return err
		}
		return errors.Join(ss.SendMsg(new(extprocv3.ProcessingResponse)), status.Error(codes.Internal, "text that isn't kept"))
	}
	for name, c := range map[string]struct {
		options record.Options
		method  string
		body    string
		files   int
	}{
		"all":           {record.Options{}, process, "a body", 3},
		"of a number":   {record.Options{Files: 2}, process, "a body", 2},
		"of a size":     {record.Options{Bytes: 100}, process, strings.Repeat("x", 200), 0},
		"chosen":        {record.Options{Keep: func(r *record.Recording) bool { return r.Code == codes.OK }}, process, "a body", 0},
		"other service": {record.Options{}, "/grpc.health.v1.Health/Watch", "a body", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "made", "of", "need")
			c.options.Logger = slog.New(slog.DiscardHandler)
			recorder, err := record.New(dir, c.options)
			if err != nil {
				t.Fatal(err)
			}
			ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("x-gatehouse-extproc", "v=1", "user-agent", "envoy"))
			for range 3 {
				ss := &stream{ctx: ctx, requests: []*extprocv3.ProcessingRequest{{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: []byte(c.body)}}}}}
				if err := recorder.Intercept(nil, ss, &grpc.StreamServerInfo{FullMethod: c.method}, handler); err == nil {
					t.Error("the handler's error is lost")
				}
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) != c.files {
				t.Fatalf("%d files, %v; want %d", len(files), err, c.files)
			}
			for _, file := range files {
				info, err := file.Info()
				if err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%v, %v", info, err)
				}
				text, err := os.ReadFile(filepath.Join(dir, file.Name()))
				if err != nil || strings.Contains(string(text), c.body) || strings.Contains(string(text), "isn't kept") || strings.Contains(string(text), "user-agent") {
					t.Errorf("%v:\n%s", err, text)
				}
			}
		})
	}
}

package extproc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// played is a stream whose messages are all there.
type played struct {
	grpc.ServerStream

	ctx      context.Context
	messages []string
	answers  int
}

func (p *played) Context() context.Context { return p.ctx }

func (p *played) RecvMsg(m any) error {
	if len(p.messages) == 0 {
		return io.EOF
	}
	m.(*wire.Message).Text = p.messages[0]
	p.messages = p.messages[1:]
	return nil
}

func (p *played) SendMsg(any) error { p.answers++; return nil }

func marshalled(tb testing.TB, m *extprocv3.ProcessingRequest) string {
	tb.Helper()
	msg, err := proto.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return string(msg)
}

// twentyLines is what a browser's request or an ordinary response has.
func twentyLines() *extprocv3.HttpHeaders {
	lines := &corev3.HeaderMap{}
	for _, name := range []string{
		":method", ":path", ":authority", ":scheme", "accept", "accept-encoding", "accept-language", "cache-control",
		"cookie", "user-agent", "referer", "x-request-id", "x-forwarded-for", "x-forwarded-proto", "origin",
		"content-type", "content-length", "authorization", "sec-fetch-mode", "dnt",
	} {
		lines.Headers = append(lines.Headers, &corev3.HeaderValue{Key: name, RawValue: []byte("a value of some length")})
	}
	return &extprocv3.HttpHeaders{Headers: lines, EndOfStream: true}
}

func edit(_ context.Context, x *exchange.Exchange) error {
	if x.Request.Header.Get("authorization") == "" {
		return exchange.Deny(401, "who?")
	}
	x.Request.Header.Set("x-user", "ada")
	return nil
}

// BenchmarkHeaderPhase is a whole stream of one message in process: decode, dispatch to a Processor that
// reads a header and sets one, answer.
func BenchmarkHeaderPhase(b *testing.B) {
	registrar := new(registry)
	extproc.NewServer(exchange.ProcessorFunc(edit), quiet).Register(registrar)
	handler := registrar.desc.Streams[0].Handler
	messages := []string{marshalled(b, &extprocv3.ProcessingRequest{
		Request:        &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: twentyLines()},
		ProtocolConfig: &extprocv3.ProtocolConfiguration{},
	})}
	stream := &played{ctx: b.Context()}
	b.ReportAllocs()
	for b.Loop() {
		stream.messages, stream.answers = messages, 0
		if err := handler(registrar.impl, stream); err != nil || stream.answers != 1 {
			b.Fatal(err, stream.answers)
		}
	}
}

// rawMessage is a message that no codec looks into.
type rawMessage struct{ data []byte }

// rawCodec is the least that grpc can do.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.(*rawMessage).data)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	v.(*rawMessage).data = data.Materialize()
	return nil
}

// floor answers each message with the same bytes.
func floor(answer []byte) func(any, grpc.ServerStream) error {
	return func(_ any, stream grpc.ServerStream) error {
		var in rawMessage
		if err := stream.RecvMsg(&in); err != nil {
			return err
		}
		return stream.SendMsg(&rawMessage{answer})
	}
}

// BenchmarkHeaderPhaseGRPC is [BenchmarkHeaderPhase] through grpc on an in-memory connection, client included,
// beside the floor: the same client with a server that does nothing, by a codec that does nothing.
func BenchmarkHeaderPhaseGRPC(b *testing.B) {
	request := []byte(marshalled(b, &extprocv3.ProcessingRequest{
		Request:        &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: twentyLines()},
		ProtocolConfig: &extprocv3.ProtocolConfiguration{},
	}))
	idle := func() *grpc.Server {
		server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}))
		server.RegisterService(&grpc.ServiceDesc{
			ServiceName: "envoy.service.ext_proc.v3.ExternalProcessor", HandlerType: (*any)(nil),
			Streams: []grpc.StreamDesc{{StreamName: "Process", ServerStreams: true, ClientStreams: true, Handler: floor(make([]byte, 60))}},
		}, struct{}{})
		return server
	}
	ours := func() *grpc.Server {
		server := grpc.NewServer()
		extproc.NewServer(exchange.ProcessorFunc(edit), quiet).Register(server)
		return server
	}
	for _, c := range []struct {
		name   string
		server func() *grpc.Server
	}{{"floor", idle}, {"gatehouse", ours}} {
		b.Run(c.name, func(b *testing.B) {
			conn := connected(b, c.server())
			desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
			b.ReportAllocs()
			for b.Loop() {
				stream, err := conn.NewStream(b.Context(), desc, "/envoy.service.ext_proc.v3.ExternalProcessor/Process", grpc.ForceCodecV2(rawCodec{}))
				if err != nil {
					b.Fatal(err)
				}
				if err := errors.Join(stream.SendMsg(&rawMessage{request}), stream.CloseSend(), stream.RecvMsg(&rawMessage{})); err != nil {
					b.Fatal(err)
				}
				if err := stream.RecvMsg(&rawMessage{}); !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
			}
		})
	}
}

// connected returns a client of a server in the same process.
func connected(b *testing.B, server *grpc.Server) *grpc.ClientConn {
	b.Helper()
	listener := bufconn.Listen(1 << 20)
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}

// BenchmarkBodyPassThrough is a body in full duplex through a processor that has left: each chunk is echoed.
func BenchmarkBodyPassThrough(b *testing.B) {
	const chunk = 64 << 10
	chunks := 256 // a stream's
	headers := twentyLines()
	headers.EndOfStream = false
	first := marshalled(b, &extprocv3.ProcessingRequest{
		Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: headers},
		ProtocolConfig: &extprocv3.ProtocolConfiguration{
			RequestBodyMode: modev3.ProcessingMode_FULL_DUPLEX_STREAMED,
		},
	})
	body := &extprocv3.HttpBody{Body: make([]byte, chunk)}
	middle := marshalled(b, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: body}})
	body.EndOfStream = true
	last := marshalled(b, &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: body}})
	messages := []string{first}
	for range chunks - 1 {
		messages = append(messages, middle)
	}
	messages = append(messages, last)
	transform := func(_ context.Context, x *exchange.Exchange) error {
		x.Request.Body.Transform(func(dst io.Writer, src io.Reader) error { _, err := io.Copy(dst, src); return err })
		return nil
	}
	for name, p := range map[string]exchange.ProcessorFunc{"echo": edit, "transform": transform} {
		b.Run(name, func(b *testing.B) {
			registrar := new(registry)
			extproc.NewServer(p, quiet).Register(registrar)
			handler := registrar.desc.Streams[0].Handler
			stream := &played{ctx: b.Context()}
			b.ReportAllocs()
			b.SetBytes(int64(chunk * chunks))
			for b.Loop() {
				stream.messages, stream.answers = messages, 0
				if err := handler(registrar.impl, stream); err != nil || stream.answers < chunks+1 {
					b.Fatal(err, stream.answers)
				}
			}
		})
	}
}

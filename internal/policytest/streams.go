package policytest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// streams asks by ext_proc, over gRPC within the process. It is used by one goroutine.
type streams struct {
	server *grpc.Server
	conn   *grpc.ClientConn
	now    *witness // whom the stream at hand asks
}

func startStreams() (*streams, error) {
	listener := bufconn.Listen(1 << 16)
	s := &streams{server: grpc.NewServer()}
	log := slog.New(slog.DiscardHandler)
	extproc.NewServer(extproc.Authorize(func(*exchange.Request) exchange.Authorizer { return s.now }), extproc.WithLogger(log)).Register(s.server)
	go func() { _ = s.server.Serve(listener) }()
	var err error
	s.conn, err = grpc.NewClient("passthrough:local", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	return s, err
}

func (s *streams) close() {
	_ = s.conn.Close()
	s.server.Stop()
}

func (s *streams) wrap(a exchange.Authorizer) exchange.Authorizer {
	return exchange.AuthorizerFunc(func(ctx context.Context, r *exchange.Request) (exchange.Verdict, error) {
		s.now = &witness{Authorizer: a}
		verdict, err := s.ask(ctx, r)
		verdict.Reason = s.now.reason
		return verdict, err
	})
}

// description tells the processor how the filter is configured: as the translator configures it.
const description = "v=1; override; mutate-all; untyped=" + extproc.DefaultNamespace

// ask plays the filter for one exchange.
func (s *streams) ask(ctx context.Context, r *exchange.Request) (exchange.Verdict, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	initial := metadata.Pairs("x-gatehouse-extproc", description)
	for key, value := range r.Extensions {
		initial.Set(key, value)
	}
	initial.Set(extauthz.ClientAddressKey, "header")
	stream, err := extprocv3.NewExternalProcessorClient(s.conn).Process(metadata.NewOutgoingContext(ctx, initial))
	if err != nil {
		return exchange.Verdict{}, err
	}
	body, _ := contents(r)
	f := &filter{stream: stream, body: body, verdict: exchange.Verdict{Allow: true}}
	err = stream.Send(&extprocv3.ProcessingRequest{
		Attributes: attributes(r), ProtocolConfig: &extprocv3.ProtocolConfiguration{}, // bodies only where the answer asks for them
		Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{
			Headers: &core.HeaderMap{Headers: headerLines(r)}, EndOfStream: len(body) == 0,
		}},
	})
	for err == nil && !f.done {
		err = f.step()
	}
	if errors.Is(err, io.EOF) && f.headers { // a server that has no more to say ends the stream
		err = nil
	}
	return f.verdict, err
}

// filter is Envoy's part of a stream.
type filter struct {
	stream  extprocv3.ExternalProcessor_ProcessClient
	body    []byte
	verdict exchange.Verdict

	mode             *extprocfilter.ProcessingMode // overridden; nil: the filter's own, without bodies
	sent, answered   bool                          // the body
	headers, replied bool                          // answered, and the response's sent
	done             bool
}

// step takes an answer and sends what Envoy sends then.
func (f *filter) step() error {
	answer, err := f.stream.Recv()
	if err != nil {
		return err
	}
	if f.verdict.Metadata == nil {
		f.verdict.Metadata = answer.GetDynamicMetadata().GetFields()[extproc.DefaultNamespace].GetStructValue().AsMap()
	}
	if answer.GetModeOverride() != nil {
		f.mode = answer.GetModeOverride()
	}
	f.take(answer)
	switch {
	case f.done:
		return nil
	case !f.sent && len(f.body) > 0 && f.mode.GetRequestBodyMode() != extprocfilter.ProcessingMode_NONE:
		f.sent = true
		return f.stream.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestBody{
			RequestBody: &extprocv3.HttpBody{Body: f.body, EndOfStream: true},
		}})
	case f.headers && f.sent == f.answered && !f.replied:
		f.replied = true
		f.done = f.mode.GetResponseHeaderMode() == extprocfilter.ProcessingMode_SKIP
		return f.stream.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{
			ResponseHeaders: &extprocv3.HttpHeaders{EndOfStream: true, Headers: &core.HeaderMap{Headers: []*core.HeaderValue{{Key: ":status", RawValue: []byte("200")}}}},
		}})
	}
	return nil
}

// take takes an answer into the verdict. An answer with nothing but a mode is taken already.
func (f *filter) take(answer *extprocv3.ProcessingResponse) {
	switch a := answer.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_ImmediateResponse:
		f.done, f.verdict.Allow = true, false
		f.verdict.Reply = &exchange.Reply{Code: int(a.ImmediateResponse.GetStatus().GetCode()), Header: http.Header{}, Body: a.ImmediateResponse.GetBody()}
		set, add := edits(a.ImmediateResponse.GetHeaders().GetSetHeaders())
		for _, h := range slices.Concat(set, add) {
			f.verdict.Reply.Header.Add(h.Name, h.Value)
		}
	case *extprocv3.ProcessingResponse_RequestHeaders:
		f.headers = true
		f.edit(a.RequestHeaders.GetResponse())
	case *extprocv3.ProcessingResponse_RequestBody:
		streamed := a.RequestBody.GetResponse().GetBodyMutation().GetStreamedResponse()
		f.answered = streamed == nil || streamed.GetEndOfStream()
		f.edit(a.RequestBody.GetResponse())
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		set, add := edits(a.ResponseHeaders.GetResponse().GetHeaderMutation().GetSetHeaders())
		f.done, f.verdict.ResponseSet = true, slices.Concat(set, add)
	}
}

func (f *filter) edit(r *extprocv3.CommonResponse) {
	set, add := edits(r.GetHeaderMutation().GetSetHeaders())
	f.verdict.Set, f.verdict.Add = append(f.verdict.Set, set...), append(f.verdict.Add, add...)
	f.verdict.Remove = append(f.verdict.Remove, r.GetHeaderMutation().GetRemoveHeaders()...)
}

// attributes are those that the filter is configured to send.
func attributes(r *exchange.Request) map[string]*structpb.Struct {
	conn := r.Conn()
	return map[string]*structpb.Struct{"envoy.filters.http.ext_proc": {Fields: map[string]*structpb.Value{
		"source.address": structpb.NewStringValue(conn.Peer.String()), "destination.address": structpb.NewStringValue(conn.Destination.String()),
		"request.protocol": structpb.NewStringValue(r.Head().Protocol),
	}}}
}

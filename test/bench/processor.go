package main

import (
	"context"
	"log/slog"
	"os"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

const (
	setHeader  = "x-user" // on the request, by every processor
	setValue   = "ada"
	seenHeader = "x-seen" // on the response, by the route: the request's as the router saw it
)

// processors compares a processor of the SDK with generated code that does the same, by ext_proc: the
// request's headers come, one is set, and the stream ends with the answer.
func processors(s settings, dir string) *bench {
	stock := &row{name: "stock grpc-go", role: roleStockProcessor, seen: setValue}
	return &bench{settings: s, dir: dir, title: "ext_proc", token: "opaque", chain: processorChain, base: stock, rows: []*row{
		{name: "no processor", role: roleNone},
		stock,
		{name: "the same again (A/A)", role: roleStockProcessor, seen: setValue},
		{name: "sdk.Serve", role: roleProcessor, seen: setValue},
	}}
}

// processorChain is ext_proc for the request's headers alone. The route shows what they became, so that a
// row whose answer Envoy ignored isn't measured.
func processorChain(r *row, cluster string) chain {
	c := chain{route: object{"response_headers_to_add": []object{{"header": object{"key": seenHeader, "value": "%REQ(" + setHeader + ")%"}}}}}
	if r.role == roleNone {
		return c
	}
	c.filters = []object{{"name": "ext_proc", "typed_config": object{
		"@type":           "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
		"grpc_service":    object{"envoy_grpc": object{"cluster_name": cluster}},
		"message_timeout": "2s",
		"processing_mode": object{"request_header_mode": "SEND", "response_header_mode": "SKIP"},
	}}}
	return c
}

// setter is what a processor at least costs: generated code decodes a message, encodes one answer that is
// always the same, and ends the stream.
type setter struct {
	extprocv3.UnimplementedExternalProcessorServer

	answer *extprocv3.ProcessingResponse
}

func (s *setter) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	return stream.Send(s.answer)
}

func serveSetter(ctx context.Context, socket string) error {
	server := grpc.NewServer()
	extprocv3.RegisterExternalProcessorServer(server, &setter{answer: &extprocv3.ProcessingResponse{
		Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{
			HeaderMutation: &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{{
				Header:       &corev3.HeaderValue{Key: setHeader, RawValue: []byte(setValue)},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}}},
		}}},
	}})
	return serveUntil(ctx, socket, server)
}

func serveProcessor(ctx context.Context, socket string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return sdk.Serve(ctx, "unix:"+socket, sdk.ProcessorFunc(func(_ context.Context, x *sdk.Exchange) error {
		x.Request.Header.Set(setHeader, setValue)
		return nil
	}), sdk.WithLogger(log))
}

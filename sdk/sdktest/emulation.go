package sdktest

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/emulate"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// emulated is the carrier that is an Emulator.
func emulated(ctx context.Context, t testing.TB, f Filter, serve, inner func(ss grpc.ServerStream) error) proxy {
	t.Helper()
	out := &emulation{ctx: ctx, filter: f, typed: map[string]*anypb.Any{}}
	var err error
	if out.facts, err = f.Connection.facts(); err != nil {
		t.Fatal(err)
	}
	for ns, value := range f.TypedMetadata {
		if out.typed[ns], err = anypb.New(value); err != nil {
			t.Fatal(err)
		}
	}
	out.connection = out.processor(t, serve, f.Unreachable && !f.Route.reachable())
	if f.Inner != nil {
		out.inner = out.processor(t, inner, false)
	}
	return out
}

// processor is a connection to a server of its own.
func (e *emulation) processor(t testing.TB, serve func(ss grpc.ServerStream) error, unreachable bool) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := newServer(serve)
	if unreachable {
		_ = listener.Close()
	} else {
		serveLater(e.ctx, server, listener, e.filter.Cold)
	}
	connection, err := grpc.NewClient("passthrough:processor", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	e.servers, e.connections = append(e.servers, server), append(e.connections, connection)
	return connection
}

type emulation struct {
	ctx               context.Context
	filter            Filter
	connection, inner *grpc.ClientConn
	servers           []*grpc.Server
	connections       []*grpc.ClientConn
	emulator          *emulate.Emulator
	typed             map[string]*anypb.Any
	facts             map[string]any
}

// asked is the end that calls upstream when the request gets there.
type asked struct {
	emulation *emulation
	upstream  func(back link.Sender, h []link.Field) link.End
	end       link.End
}

func (a *asked) Headers(h []link.Field, end bool) {
	if a.end == nil {
		a.end = a.upstream(a.emulation.emulator.Upstream(), h)
	}
	a.end.Headers(h, end)
}
func (a *asked) Data(p []byte, end bool) { a.end.Data(p, end) }
func (a *asked) Trailers(h []link.Field) { a.end.Trailers(h) }
func (a *asked) Reset()                  { a.end.Reset() }

func (e *emulation) open(client link.End, upstream func(back link.Sender, h []link.Field) link.End) link.Sender {
	config := emulate.Config{
		Filter: e.filter.place(e.connection), BufferLimit: e.filter.bufferLimit(),
		Outside: emulate.Codec(e.filter.Outside), Inside: emulate.Codec(e.filter.Inside),
		Metadata: e.filter.Metadata, TypedMetadata: e.typed, ClusterMetadata: ClusterMetadata(), Facts: e.facts,
		HTTP1: e.filter.HTTP1, Retries: e.filter.Retries, Client: client,
		Upstream: func() link.End { return &asked{emulation: e, upstream: upstream} },
	}
	if i := e.filter.Inner; i != nil {
		config.Inner = new(i.Filter.place(e.inner))
	}
	var from link.Sender
	if e.filter.HTTP1 {
		config.Client, from = wireClient(client, func() link.Sender { return e.emulator.Downstream() })
		config.Upstream = func() link.End { return wireUpstream(upstream, e.emulator.Upstream()) }
	}
	e.emulator = emulate.Start(e.ctx, config)
	if from == nil {
		from = e.emulator.Downstream()
	}
	return from
}

// place is the filter as the emulator's chain has it.
func (f Filter) place(conn grpc.ClientConnInterface) emulate.Place {
	return emulate.Place{
		Filter: f.Config("processor"), Conn: conn,
		Route: f.Route.proto(), Again: f.Again.proto(), VirtualHost: f.VirtualHost.proto(),
	}
}

func (e *emulation) handled() uint64 { return e.emulator.Handled() }

func (e *emulation) die() { e.servers[0].Stop() }

func (e *emulation) close() (emulate.Report, error) {
	e.emulator.Stop()
	for i := range e.servers {
		_ = e.connections[i].Close()
		e.servers[i].Stop()
	}
	return e.emulator.Report(), nil
}

package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// The roles of this program's children.
const (
	roleStock          = "stock"
	roleTuned          = "tuned"
	rolePolicy         = "policy"
	rolePolicyEachTime = "policy-each-time"
	roleNone           = "none" // has no process
	roleStockProcessor = "stock-processor"
	roleProcessor      = "processor"
)

// serve is one row's server. It ends with its parent's context, by a signal.
func serve(role, socket, spec string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if path := os.Getenv(profileVariable); path != "" {
		done, err := profile(path)
		if err != nil {
			return err
		}
		defer done()
	}
	switch role {
	case roleStock:
		return serveNothing(ctx, socket, grpc.NewServer())
	case roleTuned:
		debug.SetGCPercent(800) // what the agent sets for a heap this small
		return serveNothing(ctx, socket, agent.NewAuthorizerServer())
	case roleStockProcessor:
		return serveSetter(ctx, socket)
	case roleProcessor:
		return serveProcessor(ctx, socket)
	}
	return serveAuthorizer(ctx, socket, spec)
}

func serveAuthorizer(ctx context.Context, socket, spec string) error {
	text, err := os.ReadFile(spec) //nolint:gosec // named by this program itself
	if err != nil {
		return err
	}
	snap, err := snapshot.Decode(text)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	fetcher := jwt.NewFetcher(jwt.FetcherOptions{Offline: true})
	defer fetcher.Close()
	a := agent.New(agent.Config{XDSSocket: socket + ".xds", AuthorizerSocket: socket, JWKS: fetcher, Logger: log})
	for _, fault := range a.Apply(snap) {
		return fault
	}
	return a.Run(ctx)
}

// nothing is what a server at least costs: generated code decodes the request and encodes one answer.
type nothing struct {
	authv3.UnimplementedAuthorizationServer

	answer *authv3.CheckResponse
}

func (n *nothing) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return n.answer, nil
}

func serveNothing(ctx context.Context, socket string, server *grpc.Server) error {
	authv3.RegisterAuthorizationServer(server, &nothing{answer: &authv3.CheckResponse{
		Status: &status.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
	}})
	return serveUntil(ctx, socket, server)
}

// serveUntil serves at socket until ctx is done.
func serveUntil(ctx context.Context, socket string, server *grpc.Server) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		server.Stop()
	}()
	return server.Serve(l)
}

// profileVariable names the file for a server's CPU profile.
const profileVariable = "GATEHOUSE_BENCH_PROFILE"

// profile writes a CPU profile until done is called.
func profile(path string) (done func(), err error) {
	f, err := os.Create(path) //nolint:gosec // named by this program itself
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile that is cut short can't be read, and that shows
	}, nil
}

package authserver

import (
	"context"
	"strconv"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/internal/health"
)

// problemHeader carries what is wrong with the files in answers of the health service, whose message has
// no room for it. What was good goes on being served, so the status stays SERVING.
const problemHeader = "gatehouse-problem"

// maxProblems bounds such a header.
const maxProblems = 10

// detailed is the health service with problems beside its status.
type detailed struct {
	*health.Server

	problems func() []string
}

func newHealth(problems func() []string) *detailed {
	return &detailed{Server: health.New(agent.HealthServices()...), problems: problems}
}

// Check implements [healthpb.HealthServer].
func (d *detailed) Check(ctx context.Context, in *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	header := metadata.MD{}
	for i, text := range d.problems() {
		if i == maxProblems {
			break
		}
		quoted := strconv.QuoteToASCII(text)
		header.Append(problemHeader, quoted[1:len(quoted)-1])
	}
	if len(header) > 0 {
		_ = grpc.SetHeader(ctx, header) // the status matters more
	}
	return d.Server.Check(ctx, in)
}

package sdk_test

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// crowded takes the longer the more of it run, as what has one lock does.
type crowded struct{ running atomic.Int64 }

func (c *crowded) work() {
	time.Sleep(time.Duration(c.running.Add(1)) * 2 * time.Millisecond)
	c.running.Add(-1)
}

func (c *crowded) Process(context.Context, *sdk.Exchange) error { c.work(); return nil }

func (c *crowded) Check(context.Context, *sdk.Request) (sdk.Verdict, error) {
	c.work()
	return sdk.Verdict{Allow: true}, nil
}

// TestTheBoundFollowsLatency: many ask at a time, by either protocol; the bound goes down, and who is refused
// gets the chosen answer.
func TestTheBoundFollowsLatency(t *testing.T) {
	t.Parallel()
	metrics := make(chan string, 1)
	addr, _, _ := serving(t, "127.0.0.1:0", new(crowded), sdk.WithMetrics(prometheus.NewRegistry()),
		sdk.WithMetricsListener("127.0.0.1:0", func(addr string) { metrics <- addr }),
		sdk.WithAdaptiveExchanges(sdk.Adaptive{Initial: 40, Window: 20 * time.Millisecond}),
		sdk.WithShedReply(sdk.Reply{Code: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}}))
	conn := dial(t, addr)
	for range 20 { // alone
		ask(t, conn)
		check(t, conn)
	}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var refused, odd atomic.Int64
	for range 50 {
		load.Go(func() {
			for ctx.Err() == nil {
				switch code, err := exchangeOnce(ctx, conn); {
				case err != nil, code == 0:
				case code == http.StatusTooManyRequests:
					refused.Add(1)
				default:
					odd.Store(int64(code))
				}
			}
		})
		load.Go(func() {
			for ctx.Err() == nil {
				answer, err := newCheck(ctx, conn)
				if code := answer.GetDeniedResponse().GetStatus().GetCode(); err == nil && code != 0 && code != http.StatusTooManyRequests {
					odd.Store(int64(code))
				}
			}
		})
	}
	url := "http://" + <-metrics + "/metrics"
	await(t, func() string {
		text := page(t, url)
		for _, name := range []string{`gatehouse_extproc_limit{processor="processor"}`, "gatehouse_extauthz_limit"} {
			found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
			if found == nil {
				return "no " + name
			}
			if bound, err := strconv.ParseFloat(found[1], 64); err != nil || bound >= 30 {
				return name + " is " + found[1]
			}
		}
		return ""
	})
	stop()
	load.Wait()
	if refused.Load() == 0 || odd.Load() != 0 {
		t.Errorf("%d refused, an answer of %d", refused.Load(), odd.Load())
	}
}

// exchangeOnce returns the code of the reply, 0 if the exchange passed.
func exchangeOnce(ctx context.Context, conn *grpc.ClientConn) (code int, err error) {
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(ctx)
	if err != nil {
		return 0, err
	}
	err = stream.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{EndOfStream: true}}})
	answer, err1 := stream.Recv()
	for err1 == nil {
		if reply := answer.GetImmediateResponse(); reply != nil {
			code = int(reply.GetStatus().GetCode())
		}
		answer, err1 = stream.Recv()
	}
	return code, errors.Join(err, ctx.Err())
}

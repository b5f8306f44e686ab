package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// extensions are what the proxy's configuration says.
type extensions map[string]string

func (e extensions) Extension(key string) (string, bool) { v, ok := e[key]; return v, ok }
func (e extensions) Extensions(yield func(key, value string) bool) {
	for k, v := range e {
		if !yield(k, v) {
			return
		}
	}
}

func configuredExchange(e extensions) *sdk.Exchange {
	return exchange.NewExchange(exchange.NewRequest(exchange.Head{}, exchange.Conn{}, sdk.Header{}, sdk.Body{}, e), new(recorder))
}

func TestConfigurationIsParsedOnceForEachText(t *testing.T) {
	t.Parallel()
	var parsed, sum atomic.Int64
	p := sdk.Configured("limit", nil, func(raw string) (int64, error) {
		parsed.Add(1)
		return strconv.ParseInt(raw, 10, 64)
	}, func(_ context.Context, _ *sdk.Exchange, limit int64) error { sum.Add(limit); return nil })
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			if err := p.Process(t.Context(), configuredExchange(extensions{"limit": strconv.Itoa(1 + i%2)})); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if parsed.Load() != 2 || sum.Load() != 150 {
		t.Errorf("parsed %d times, sum %d", parsed.Load(), sum.Load())
	}
}

func TestConfigurationThatIsAbsentOrBrokenFails(t *testing.T) {
	t.Parallel()
	seven := 7
	got := 0
	fn := func(_ context.Context, _ *sdk.Exchange, n int) error { got = n; return nil }
	twice := metadata.NewIncomingContext(t.Context(), metadata.Pairs("n", "1", "n", "2"))
	for _, c := range []struct {
		name string
		ctx  context.Context
		def  *int
		ext  extensions
		want error
		n    int
	}{
		{"given", t.Context(), nil, extensions{"n": "3"}, nil, 3},
		{"given in place of the default", t.Context(), &seven, extensions{"n": "3"}, nil, 3},
		{"default", t.Context(), &seven, nil, nil, 7},
		{"absent", t.Context(), nil, nil, sdk.ErrNoConfiguration, 0},
		{"several", twice, &seven, nil, sdk.ErrNoConfiguration, 0},
		{"broken", t.Context(), &seven, extensions{"n": "x"}, sdk.ErrBadConfiguration, 0},
	} {
		got = 0
		if err := sdk.Configured("n", c.def, strconv.Atoi, fn).Process(c.ctx, configuredExchange(c.ext)); !errors.Is(err, c.want) || got != c.n {
			t.Errorf("%s: %d, %v", c.name, got, err)
		}
	}
}

func TestConfigurationsAreBounded(t *testing.T) {
	t.Parallel()
	n := 0
	p := sdk.Configured("n", nil, func(string) (int, error) { n++; return 0, nil }, func(context.Context, *sdk.Exchange, int) error { return nil })
	for round := range 2 {
		for i := range 5000 {
			if err := p.Process(t.Context(), configuredExchange(extensions{"n": fmt.Sprint(i)})); err != nil {
				t.Fatal(err)
			}
		}
		if n < 5000+round {
			t.Errorf("parsed %d times: nothing was dropped", n)
		}
	}
}

func TestLongConfigurationsAreBoundedTogether(t *testing.T) {
	t.Parallel()
	n := 0
	p := sdk.Configured("n", nil, func(string) (int, error) { n++; return 0, nil }, func(context.Context, *sdk.Exchange, int) error { return nil })
	send := func(i int) {
		t.Helper()
		text := fmt.Sprint(i) + strings.Repeat(".", 64<<10)
		if err := p.Process(t.Context(), configuredExchange(extensions{"n": text})); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // 3 MiB fit in
		for i := range 48 {
			send(i)
		}
	}
	if n != 48 {
		t.Errorf("parsed %d times, want each of 48 texts once", n)
	}
	for i := 48; i < 80; i++ { // 5 MiB don't
		send(i)
	}
	if send(0); n != 81 {
		t.Errorf("parsed %d times: nothing was dropped", n)
	}
}

var userKey = sdk.NewKey[string]("user")

// TestValuesGoAlongWithTheRequest: what an authorizer finds out, the processors behind it know.
func TestValuesGoAlongWithTheRequest(t *testing.T) {
	t.Parallel()
	other := sdk.NewKey[string]("user") // of the same name, but another
	host := new(recorder)
	r := exchange.NewRequest(exchange.Head{}, exchange.Conn{}, sdk.Header{}, sdk.Body{}, nil)
	chain := sdk.Chain(
		sdk.Authorize(sdk.AuthorizerFunc(func(_ context.Context, r *sdk.Request) (sdk.Verdict, error) {
			userKey.Set(r, "nobody")
			userKey.Set(r, "ada")
			return sdk.Verdict{Allow: true}, nil
		})),
		sdk.ProcessorFunc(func(_ context.Context, x *sdk.Exchange) error {
			user, ok := userKey.Get(x.Request)
			if _, more := other.Get(x.Request); more {
				return errors.New("keys are told apart by name")
			}
			return host.SetMetadata("", fmt.Sprint(user, ok), nil)
		}))
	if _, ok := userKey.Get(r); ok {
		t.Error("a value from nowhere")
	}
	if err := chain.Process(t.Context(), exchange.NewExchange(r, host)); err != nil || fmt.Sprint(host.events) != "[metadata adatrue]" {
		t.Errorf("%v, %v", host.events, err)
	}
}

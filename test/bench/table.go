package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// measure lets the rows take turns. The first round of each warms caches and isn't counted.
func (b *bench) measure(ctx context.Context) error {
	for round := range b.rounds + 1 {
		for i := range b.rows {
			r := b.rows[(i+round)%len(b.rows)]
			s, err := b.load(ctx, r)
			if err != nil {
				return err
			}
			if round > 0 {
				r.rounds = append(r.rounds, s)
			}
		}
		fmt.Fprintf(os.Stderr, "\r%s: round %d of %d", b.title, round, b.rounds)
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

// print shows medians; ratios are to the same round's base.
func (b *bench) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %d rounds of %s each, %d connections, Envoy with one worker; %s %s/%s on %d CPUs, load %s before it began\n\n",
		b.title, b.rounds, b.round, b.connections, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), b.load1)
	fmt.Fprintln(w, "| row | requests/s | × stock, median (quartiles) | p50 | p99, × | server CPU a request, × | Envoy CPU |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	base := b.base
	for _, r := range b.rows {
		ratio := ratios(r, base, func(s sample) float64 { return s.rate })
		fmt.Fprintf(w, "| %s | %.0f | %.2f (%.2f-%.2f) | %s | %s, %.2f | %.1f µs, %.2f | %.1f µs |\n", r.name,
			median(r, func(s sample) float64 { return s.rate }), quantile(ratio, 0.5), quantile(ratio, 0.25), quantile(ratio, 0.75),
			span(median(r, func(s sample) float64 { return float64(s.p50) })), span(median(r, func(s sample) float64 { return float64(s.p99) })),
			quantile(ratios(r, base, func(s sample) float64 { return float64(s.p99) }), 0.5),
			total(r, func(s sample) time.Duration { return s.server }), total(r, func(s sample) time.Duration { return s.server })/total(base, func(s sample) time.Duration { return s.server }),
			total(r, func(s sample) time.Duration { return s.cpu }))
	}
}

// load1 is the machine's load over the last minute, as text; "unknown" where the system doesn't tell.
func load1() string {
	text, err := os.ReadFile("/proc/loadavg")
	load, _, found := strings.Cut(string(text), " ")
	if err != nil || !found {
		return "unknown"
	}
	return load
}

func span(nanoseconds float64) string { return fmt.Sprintf("%.2f ms", nanoseconds/1e6) }

func median(r *row, of func(sample) float64) float64 {
	values := make([]float64, len(r.rounds))
	for i := range r.rounds {
		values[i] = of(r.rounds[i])
	}
	return quantile(values, 0.5)
}

func ratios(r, base *row, of func(sample) float64) []float64 {
	values := make([]float64, len(r.rounds))
	for i := range r.rounds {
		values[i] = of(r.rounds[i]) / of(base.rounds[i])
	}
	return values
}

// total is over all rounds, in microseconds a request: a clock that ticks every 10 ms says little of one.
func total(r *row, of func(sample) time.Duration) float64 {
	var spent, requests float64
	for _, s := range r.rounds {
		spent += float64(of(s)) * float64(s.requests)
		requests += float64(s.requests)
	}
	return spent / requests / 1e3
}

func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
)

// roleVariable makes this program one row's server.
const roleVariable = "GATEHOUSE_BENCH_ROLE"

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		if err := serve(role, os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", role+":", err)
			os.Exit(1)
		}
		return
	}
	rounds := flag.Int("rounds", 15, "rounds of each row")
	round := flag.Duration("round", time.Second, "length of a round")
	connections := flag.Int("connections", 32, "client connections, each with one request at a time")
	authorizers := flag.Bool("ext-authz", true, "compare authorizers, through Envoy")
	processors := flag.Bool("ext-proc", true, "compare processors, through Envoy")
	timings := flag.Bool("timing", true, "compare the times of unknown users and wrong passwords")
	profiles := flag.String("profiles", "", "an existing folder for a CPU profile of each row's server; profiling costs some percent")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	binary, err := proxy.Find(ctx, os.Getenv("ENVOY"))
	if err == nil {
		err = run(ctx, os.Stdout, binary, settings{rounds: *rounds, round: *round, port: freePort, connections: *connections, authorizers: *authorizers, processors: *processors, profiles: *profiles})
	}
	if err == nil && *timings {
		err = timing(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to do
	}
}

type settings struct {
	rounds, connections int
	round               time.Duration
	port                func() (int, error) // a free one

	authorizers, processors bool   // what to compare
	profiles                string // a folder; "": none are made
}

// run makes the comparisons that were asked for, one after the other. Their children end with it.
func run(ctx context.Context, w io.Writer, binary string, s settings) (err error) {
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var comparisons []*bench
	if s.authorizers {
		b, err := authorizers(s, dir)
		if err != nil {
			return err
		}
		comparisons = append(comparisons, b)
	}
	if s.processors {
		comparisons = append(comparisons, processors(s, dir))
	}
	for _, b := range comparisons {
		if err := b.run(ctx, w, binary); err != nil {
			return fmt.Errorf("%s: %w", b.title, err)
		}
	}
	return nil
}

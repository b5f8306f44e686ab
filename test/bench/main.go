package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
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
	timings := flag.Bool("timing", true, "compare the times of unknown users and wrong passwords")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, settings{rounds: *rounds, round: *round, connections: *connections})
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
}

// run starts everything, measures and prints. The children end with it.
func run(ctx context.Context, s settings) (err error) {
	binary, err := proxy.Find(ctx, os.Getenv("ENVOY"))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatehouse-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &bench{settings: s, dir: dir}
	defer r.stop()
	if err := r.start(ctx, binary); err != nil {
		return err
	}
	if err := r.measure(ctx); err != nil {
		return err
	}
	r.print(os.Stdout)
	return nil
}

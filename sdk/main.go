package sdk

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// DefaultListen is where [Main] listens without --listen.
const DefaultListen = "127.0.0.1:9002"

// Main serves p as [Serve] does until SIGINT or SIGTERM and then ends the process: with status 0 after
// draining, 1 if it can't serve, 2 for wrong flags. It reads these flags from the command line, with
// those that the program itself defined in package flag:
//
//	--listen      host:port or unix:/path, default 127.0.0.1:9002
//	--log-level   debug, info, warn or error, default info
//
// Logs are JSON lines on standard error.
func Main(p any, opts ...ServerOption) {
	var level slog.Level
	addr := flag.String("listen", DefaultListen, "address to serve on, `host:port or unix:/path`")
	flag.TextVar(&level, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")
	flag.Parse()
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	slog.SetDefault(log)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := Serve(ctx, *addr, p, append([]ServerOption{WithLogger(log)}, opts...)...)
	stop()
	if err != nil {
		log.Error("can't serve", "error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

package sdk

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
)

// DefaultListen is where [Main] listens without --listen.
const DefaultListen = "127.0.0.1:9002"

// Main serves p as [Serve] does until SIGINT or SIGTERM and then ends the process: with status 0 after
// draining, 1 if it can't serve, 2 for wrong flags. A second signal ends it at once. It reads these flags from
// the command line, with those that the program itself defined in package flag:
//
//	--listen           host:port or unix:/path, default 127.0.0.1:9002
//	--socket-mode      mode of the Unix socket in octal, default 600
//	--takeover         take the Unix socket over from a server that still serves it; see WithTakeover
//	--tls-cert         PEM file of the server's certificate with its chain; plain text without it
//	--tls-key          PEM file of its private key
//	--tls-client-ca    PEM file of the CA that clients' certificates must be signed by
//	--metrics-listen   host:port of /metrics for Prometheus; none without it
//	--max-exchanges    how many to serve at a time, the rest is refused with 503; 0, the default, is no bound
//	--adaptive         let the bound follow the latency, up to --max-exchanges; see WithAdaptiveExchanges
//	--drain            how long open exchanges may take when the process is told to stop, default 10s
//	--print-envoy-config  print what to paste into Envoy's configuration, see EnvoyConfig, and end
//	--log-level        debug, info, warn or error, default info
//
// A flag that is given counts before an option in opts. Logs are JSON lines on standard error.
func Main(p any, opts ...ServerOption) {
	f := define(flag.CommandLine)
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(flag.CommandLine.Output(), "unexpected argument %q: every setting is a flag, see --help\n", flag.Arg(0))
		os.Exit(2)
	}
	if f.print {
		text, err := EnvoyConfig(f.listen, p)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		_, _ = os.Stdout.WriteString(text)
		os.Exit(0)
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: f.level}))
	slog.SetDefault(log)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := Serve(ctx, f.listen, p, append(append([]ServerOption{WithLogger(log)}, opts...), f.options(flag.CommandLine)...)...)
	stop()
	if err != nil {
		log.Error("can't serve", "error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// flags are Main's.
type flags struct {
	listen, metrics string
	mode            octal
	tls             TLS
	level           slog.Level
	adaptive, print bool
	settings        settings
}

func define(set *flag.FlagSet) *flags {
	f := &flags{mode: octal(DefaultSocketMode)}
	set.StringVar(&f.listen, "listen", DefaultListen, "address to serve on, `host:port or unix:/path`")
	set.TextVar(&f.mode, "socket-mode", f.mode, "`mode` of the Unix socket, in octal")
	set.BoolVar(&f.settings.takeover, "takeover", false, "take the Unix socket over from a server that still serves it")
	set.StringVar(&f.tls.Cert, "tls-cert", "", "PEM `file` of the server's certificate with its chain (default plain text)")
	set.StringVar(&f.tls.Key, "tls-key", "", "PEM `file` of its private key")
	set.StringVar(&f.tls.ClientCA, "tls-client-ca", "", "PEM `file` of the CA that must have signed clients' certificates")
	set.StringVar(&f.metrics, "metrics-listen", "", "`host:port` of /metrics for Prometheus (default none)")
	set.IntVar(&f.settings.exchanges, "max-exchanges", 0, "`number` of exchanges to serve at a time, others are refused with 503 (default no bound)")
	set.BoolVar(&f.adaptive, "adaptive", false, "let the number of exchanges served at a time follow their latency, up to --max-exchanges")
	set.DurationVar(&f.settings.drain, "drain", DefaultDrain, "`time` for open exchanges when told to stop")
	set.BoolVar(&f.print, "print-envoy-config", false, "print the filter and the cluster for Envoy's configuration, and end")
	set.TextVar(&f.level, "log-level", slog.LevelInfo, "least `level` to log: debug, info, warn or error")
	set.Usage = func() {
		name := filepath.Base(os.Args[0])
		fmt.Fprintf(set.Output(), "%s extends Envoy over gRPC until SIGTERM.\n\nExample:\n  %s --listen unix:/run/%s.sock --metrics-listen 127.0.0.1:9102\n\nFlags:\n", name, name, name)
		set.PrintDefaults()
	}
	return f
}

// options are what the flags that were given say.
func (f *flags) options(set *flag.FlagSet) []ServerOption {
	var opts []ServerOption
	set.Visit(func(given *flag.Flag) {
		switch given.Name {
		case "socket-mode":
			opts = append(opts, WithSocketMode(fs.FileMode(f.mode)))
		case "tls-cert", "tls-key", "tls-client-ca":
			opts = append(opts, WithTLS(f.tls))
		case "metrics-listen":
			opts = append(opts, WithMetricsListener(f.metrics, nil))
		case "max-exchanges":
			opts = append(opts, WithMaxExchanges(f.settings.exchanges))
		case "takeover":
			opts = append(opts, serverOption(func(s *settings) { s.takeover = f.settings.takeover }))
		case "adaptive":
			opts = append(opts, f.adaptively())
		case "drain":
			opts = append(opts, WithDrain(f.settings.drain))
		}
	})
	return opts
}

// adaptively is what --adaptive says.
func (f *flags) adaptively() ServerOption {
	return serverOption(func(s *settings) {
		s.adaptive = nil
		if f.adaptive {
			s.adaptive = &Adaptive{Max: f.settings.exchanges}
		}
	})
}

// octal is a file mode on a command line.
type octal fs.FileMode

// MarshalText implements [encoding.TextMarshaler].
func (o octal) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(o), 8), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *octal) UnmarshalText(text []byte) error {
	mode, err := strconv.ParseUint(string(text), 8, 9)
	if err != nil {
		return fmt.Errorf("a mode is three octal digits, such as 660: %w", err)
	}
	*o = octal(mode)
	return nil
}

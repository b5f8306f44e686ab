package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// httpsOffset puts HTTPS on 8443 where HTTP is on 8080.
const httpsOffset = 8443 - 8080

func init() { //nolint:gochecknoinits // main itself is too late to choose its thread
	// The children are told to end when the thread that started them does (see child_linux.go): the
	// main thread lives as long as the program.
	runtime.LockOSThread()
}

func main() {
	port := flag.Int("port", 8080, "port of HTTP; HTTPS is on the port 363 above it")
	bin := flag.String("bin", "", "directory of the built programs; without it they are built now")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Stdout, *port, *bin)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run runs the quickstart until ctx ends. What there is to try goes to out.
func run(ctx context.Context, out io.Writer, port int, bin string) (err error) {
	dir, err := os.MkdirTemp("", "gatehouse-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	programs, err := locate(ctx, bin, dir)
	if err != nil {
		return err
	}
	ports, err := choosePorts(port)
	if err != nil {
		return err
	}
	keys, err := newKeys()
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "config")
	if err := writeManifests(config, ports, keys); err != nil {
		return err
	}

	var children family
	defer func() { children.stop() }()
	if err := start(ctx, &children, programs, ports, config, filepath.Join(dir, "state")); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	token, err := keys.token()
	if err != nil {
		return err
	}
	printTrials(out, ports, token)
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "\nstopping")
		return nil
	case name := <-children.ended():
		return fmt.Errorf("%s ended by itself", name)
	}
}

// start starts the programs, the gateway last, and returns when the gateway is ready.
func start(ctx context.Context, children *family, p programs, ports ports, config, state string) error {
	if err := children.start("backend", p.backend, "--listen", ports.address(ports.backend)); err != nil {
		return err
	}
	if err := children.start("processor", p.processor, "--log-level", "warn", "--listen", ports.address(ports.processor)); err != nil {
		return err
	}
	return children.startGateway(ctx, p.gatehouse, "run", "-f", config, "--state", state,
		"--admin-address", ports.address(ports.admin), "--metrics-address", ports.address(ports.metrics))
}

// ports are where everything listens, on 127.0.0.1.
type ports struct{ http, https, backend, processor, admin, metrics int }

func (ports) address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// choosePorts takes the ports that the user knows, which must be free, and any free ones for the rest,
// so that several quickstarts run side by side.
func choosePorts(http int) (ports, error) {
	p := ports{http: http, https: http + httpsOffset}
	for _, port := range []int{p.http, p.https} {
		l, err := net.Listen("tcp", p.address(port))
		if err != nil {
			return p, fmt.Errorf("port %d is not free (%w): choose another by `make run PORT=9080`", port, errors.Unwrap(err))
		}
		if err := l.Close(); err != nil {
			return p, err
		}
	}
	var held []net.Listener // until all are chosen, so that none is chosen twice
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for port, preferred := range map[*int]int{&p.backend: 9001, &p.processor: 9002, &p.admin: 19000, &p.metrics: 19001} {
		l, err := net.Listen("tcp", p.address(preferred))
		if err != nil {
			l, err = net.Listen("tcp", p.address(0))
		}
		if err != nil {
			return p, err
		}
		held = append(held, l)
		if address, ok := l.Addr().(*net.TCPAddr); ok {
			*port = address.Port
		}
	}
	return p, nil
}

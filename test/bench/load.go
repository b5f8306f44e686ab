package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// sample is one round of one row.
type sample struct {
	requests    int
	rate        float64 // requests a second
	p50, p99    time.Duration
	server, cpu time.Duration // of the server and of Envoy, a request
}

var errAnswer = errors.New("an answer isn't 200")

// load keeps connections busy for a while, each with one request at a time.
func (b *bench) load(ctx context.Context, r *row) (sample, error) {
	request := fmt.Appendf(nil, "GET /things?page=1 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer %s\r\nOrigin: %s\r\n"+
		"User-Agent: bench/1\r\nAccept: application/json\r\nAccept-Language: en\r\nX-Request-Id: 8f0e7b1c-0d7e-4d7b-9f3e-5a6b7c8d9e0f\r\n\r\n", b.token, origin)
	latencies := make([][]time.Duration, b.connections)
	faults := make([]error, b.connections)
	serverBefore, envoyBefore, err := b.times(r)
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	end := start.Add(b.round)
	var clients sync.WaitGroup
	for i := range b.connections {
		clients.Go(func() { latencies[i], faults[i] = client(ctx, r.port, request, end) })
	}
	clients.Wait()
	took := time.Since(start)
	serverAfter, envoyAfter, err := b.times(r)
	if err := errors.Join(errors.Join(faults...), err, ctx.Err()); err != nil {
		return sample{}, fmt.Errorf("%s: %w", r.name, err)
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	n := len(all)
	if n == 0 {
		return sample{}, fmt.Errorf("%s: no answer in a round", r.name)
	}
	return sample{
		requests: n, rate: float64(n) / took.Seconds(), p50: all[n/2], p99: all[n*99/100],
		server: (serverAfter - serverBefore) / time.Duration(n), cpu: (envoyAfter - envoyBefore) / time.Duration(n),
	}, nil
}

func (b *bench) times(r *row) (server, envoy time.Duration, err error) {
	if r.server != nil {
		if server, err = cpu(r.server.Process.Pid); err != nil {
			return 0, 0, err
		}
	}
	envoy, err = cpu(b.envoy.Process.Pid)
	return server, envoy, err
}

// client is one connection. It reads answers by hand, to cost little next to what it measures.
func client(ctx context.Context, port int, request []byte, end time.Time) (latencies []time.Duration, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(end.Add(10 * time.Second)); err != nil {
		return nil, err
	}
	answers := bufio.NewReader(conn)
	for {
		start := time.Now()
		if start.After(end) {
			return latencies, nil
		}
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		if err := skipAnswer(answers); err != nil {
			return nil, err
		}
		latencies = append(latencies, time.Since(start))
	}
}

func skipAnswer(answers *bufio.Reader) error {
	length := 0
	for first := true; ; first = false {
		line, err := answers.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")):
			return fmt.Errorf("%w: %s", errAnswer, bytes.TrimSpace(line))
		case len(line) == 2:
			_, err := answers.Discard(length)
			return err
		}
		if value, found := bytes.CutPrefix(line, []byte("content-length: ")); found {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
}

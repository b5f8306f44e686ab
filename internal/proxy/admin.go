package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// adminURL is where requests of the admin client go; the host is only a name, the socket decides.
const adminURL = "http://envoy"

// maxAdminAnswer bounds what Get keeps of one answer. A config_dump of 10,000 routes has some 30 MB.
const maxAdminAnswer = 256 << 20

func adminClient(socket string) *http.Client {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if socket == "" {
				return nil, errors.New("no admin socket is configured")
			}
			return dialer.DialContext(ctx, "unix", socket)
		},
		// An idle connection would count as an active one of the admin listener, and one to an Envoy
		// that was restarted is dead.
		DisableKeepAlives: true,
	}}
}

// Admin returns a client of Envoy's admin API. Whatever host a URL names, requests go to the admin
// socket.
func (p *Process) Admin() *http.Client { return p.admin }

// Get returns the body of one page of Envoy's admin API, such as /server_info. path may hold a query.
// An answer other than 200 is an error.
func (p *Process) Get(ctx context.Context, path string) ([]byte, error) {
	return p.ask(ctx, http.MethodGet, path)
}

// Post sends an empty POST to Envoy's admin API and returns the answer's body. An answer other than
// 200 is an error.
func (p *Process) Post(ctx context.Context, path string) ([]byte, error) {
	return p.ask(ctx, http.MethodPost, path)
}

func (p *Process) ask(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, adminURL+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := p.admin.Do(req)
	if err != nil {
		return nil, fmt.Errorf("envoy admin: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminAnswer))
	if err != nil {
		return nil, fmt.Errorf("envoy admin: %s %s: %w", method, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("envoy admin: %s %s: %s: %.200s", method, path, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// WaitReady returns nil once Envoy answers /ready with LIVE, that is: its workers run and every
// listener of the bootstrap and of the first xDS answer is active. It polls every 10 ms until ctx ends.
func (p *Process) WaitReady(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := p.Get(ctx, "/ready")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w while waiting for Envoy: %w", ctx.Err(), err)
		}
	}
}

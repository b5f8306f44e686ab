package status_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// exchange is a line of a case's traffic:
//
//	[ADDRESS:]PORT PATH [NAME=VALUE…] -> refused (or reset, after the connection was made)
//	[ADDRESS:]PORT PATH [NAME=VALUE…] -> STATUS [BACKEND] [NAME=VALUE…] [or STATUS [BACKEND]]
//
// On the left stand headers of the request; method=OPTIONS is no header, tls=NAME speaks TLS to that name, and
// user=NAME:PASSWORD is a basic authorization. On the right, a header without a value is one that must not be
// there; without a backend, no backend may have answered. Where there are two answers, requests must get both.
type exchange struct {
	text    string
	url     string
	method  string
	server  string // TLS
	host    string
	header  http.Header
	reset   bool     // no answer, but a connection
	answers []answer // none and no reset: the connection is refused
}

type answer struct {
	status  string
	backend string
	header  [][2]string
}

func parse(t *testing.T, traffic string) []exchange {
	t.Helper()
	var all []exchange
	for line := range strings.Lines(traffic) {
		line = strings.TrimSpace(line)
		request, response, ok := strings.Cut(line, " -> ")
		words := strings.Fields(request)
		if !ok || len(words) < 2 {
			t.Fatalf("%q is no exchange", line)
		}
		e := exchange{text: line, method: http.MethodGet, header: http.Header{}}
		e.request(words)
		switch response {
		case "refused":
		case "reset":
			e.reset = true
		default:
			for one := range strings.SplitSeq(response, " or ") {
				e.answers = append(e.answers, parseAnswer(one))
			}
		}
		all = append(all, e)
	}
	return all
}

func (e *exchange) request(words []string) {
	for _, word := range words[2:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "method":
			e.method = value
		case "tls":
			e.server = value
		case "host":
			e.host = value
		case "user":
			e.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(value)))
		default:
			e.header.Add(name, value)
		}
	}
	scheme, address := "http", words[0]
	if e.server != "" {
		scheme = "https"
	}
	if !strings.Contains(address, ":") {
		address = "127.0.0.1:" + address
	}
	e.url = scheme + "://" + address + words[1]
}

func parseAnswer(text string) answer {
	words := strings.Fields(text)
	a := answer{status: words[0]}
	for _, word := range words[1:] {
		if name, value, ok := strings.Cut(word, "="); ok {
			a.header = append(a.header, [2]string{name, value})
		} else {
			a.backend = word
		}
	}
	return a
}

// attempts bounds how often a request with two possible answers is sent: one of two equally likely ones
// stays away 60 times in 10¹⁸.
const attempts = 60

// check sends the request and compares.
func (e *exchange) check(ctx context.Context) error {
	missing := map[int]bool{}
	for i := range e.answers {
		missing[i] = true
	}
	for range attempts {
		got, err := e.send(ctx)
		if len(e.answers) == 0 {
			return e.wantNone(got, err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.text, err)
		}
		fault := errors.New("no answer is expected")
		for i, a := range e.answers {
			if fault = a.compare(got); fault == nil {
				delete(missing, i)
				break
			}
		}
		if fault != nil {
			return fmt.Errorf("%s: %w", e.text, fault)
		}
		if len(missing) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%s: one of the answers never came", e.text)
}

func (e *exchange) wantNone(got *gatewaytest.Answer, err error) error {
	switch {
	case err == nil:
		return fmt.Errorf("%s: got %d: %s", e.text, got.Status, got.Body)
	case errors.Is(err, syscall.ECONNREFUSED) == e.reset || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w", e.text, err)
	}
	return nil
}

func (a *answer) compare(got *gatewaytest.Answer) error {
	if fmt.Sprint(got.Status) != a.status || got.Seen.Backend != a.backend {
		return fmt.Errorf("got %d %s: %s", got.Status, got.Seen.Backend, got.Body)
	}
	for _, h := range a.header {
		if value := strings.Join(got.Header.Values(h[0]), " | "); value != h[1] {
			return fmt.Errorf("got %s=%s", h[0], value)
		}
	}
	return nil
}

// send makes a connection of its own: one that is kept alive outlives its listener.
func (e *exchange) send(ctx context.Context) (*gatewaytest.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, e.method, e.url, nil)
	if err != nil {
		return nil, err
	}
	request.Host, request.Header = e.host, e.header
	transport := &http.Transport{
		DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext,
		TLSClientConfig: &tls.Config{ServerName: e.server, InsecureSkipVerify: true},
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	got := &gatewaytest.Answer{Status: response.StatusCode, Header: response.Header, Body: string(body)}
	_ = json.Unmarshal(body, &got.Seen)
	return got, nil
}

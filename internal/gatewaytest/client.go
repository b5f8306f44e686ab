package gatewaytest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Answer is what a client got.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	// Seen is what the backend received, if the body is a Backend's.
	Seen Seen
}

var client = &http.Client{
	Timeout:       30 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
}

// Try sends a request; header lines are "Name: value". A Host line sets the authority.
func Try(method, url string, header ...string) (Answer, error) {
	return try(method, url, nil, header)
}

// Post sends a body.
func Post(t testing.TB, url, body string, header ...string) Answer {
	t.Helper()
	a, err := try(http.MethodPost, url, strings.NewReader(body), header)
	if err != nil {
		t.Fatalf("POST %s: %v", url, err)
	}
	return a
}

func try(method, url string, body io.Reader, header []string) (Answer, error) {
	request, err := http.NewRequestWithContext(context.Background(), method, url, body)
	if err != nil {
		return Answer{}, err
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if strings.EqualFold(name, "host") {
			request.Host = value
		}
		request.Header.Add(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Status: response.StatusCode, Header: response.Header, Body: string(text)}
	_ = json.Unmarshal(text, &a.Seen)
	return a, nil
}

// Send is Try for a request that must get an answer.
func Send(t testing.TB, method, url string, header ...string) Answer {
	t.Helper()
	a, err := Try(method, url, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return a
}

// Get is Send with GET.
func Get(t testing.TB, url string, header ...string) Answer {
	t.Helper()
	return Send(t, http.MethodGet, url, header...)
}

// Await repeats a GET until it is answered with status.
func Await(t testing.TB, url string, status int, header ...string) Answer {
	t.Helper()
	var last Answer
	Eventually(t, "GET "+url, func() error {
		a, err := Try(http.MethodGet, url, header...)
		if err != nil {
			return err
		}
		last = a
		if a.Status != status {
			return fmt.Errorf("status %d, want %d: %s", a.Status, status, a.Body)
		}
		return nil
	})
	return last
}

// HTTP2 is a transport that speaks HTTP/2 without TLS.
func HTTP2() *http.Transport {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{Protocols: protocols}
}

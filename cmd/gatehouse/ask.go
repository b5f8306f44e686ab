package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
)

// askTimeout bounds a question to a running gateway.
const askTimeout = 10 * time.Second

// ask sends a question to a page of a running gateway's admin API and decodes its answer. The error is a
// usageError for a question that isn't one, and wraps ErrEnvironment where no gateway answers.
func ask(ctx context.Context, server, method, path string, question io.Reader, answer any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	address := strings.TrimSuffix(strings.TrimPrefix(server, "http://"), "/")
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, usageError{fmt.Errorf("--server %q is not host:port: %w", server, err)}
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, question)
	if err != nil {
		return nil, usageError{fmt.Errorf("--server: %w", err)}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w: no gateway answers at %s; start one with `gatehouse run`, name its --admin-address by --server, or give files by -f: %w",
			standalone.ErrEnvironment, address, err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusBadRequest:
		text, _ := io.ReadAll(response.Body)
		return nil, usageError{errors.New(strings.TrimSpace(string(text)))}
	default:
		return nil, fmt.Errorf("%w: %s answers %s to %s; is it a gateway's admin address?", standalone.ErrEnvironment, address, response.Status, path)
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return nil, fmt.Errorf("%w: the answer of %s can't be read: %w", standalone.ErrEnvironment, address, err)
	}
	return response.Header, nil
}

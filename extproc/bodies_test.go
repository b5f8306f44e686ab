package extproc_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

var bodyModes = []string{"NONE", "STREAMED", "STREAMED no-wait", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED"}

// bodyKinds are the ways in which a message can carry a body.
var bodyKinds = []string{"none", "small", "large", "trailers"}

func content(kind string) []byte {
	switch kind {
	case "none":
		return nil
	case "small":
		return []byte("a small body")
	default:
		data := make([]byte, 1<<20)
		random := rand.NewChaCha8([32]byte{1})
		_, _ = random.Read(data)
		return data
	}
}

// mirror reads the request and answers with a body of the kind that the request asks for. What it has
// seen of the request goes into the response's header.
func mirror(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	w.Header().Set("X-Seen", fmt.Sprintf("%d %x %q %v", len(body), sha256.Sum256(body), r.Trailer.Get("X-End"), err))
	w.Header().Set("X-Seen-Edit", r.Header.Get("X-Edit"))
	kind := r.Header.Get("X-Kind")
	data := content(kind)
	switch kind {
	case "none":
		w.WriteHeader(http.StatusNoContent)
		return
	case "small":
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	}
	for len(data) > 0 {
		n := min(len(data), 100_000)
		_, _ = w.Write(data[:n])
		_ = http.NewResponseController(w).Flush()
		data = data[n:]
	}
	if kind == "trailers" {
		w.Header().Set(http.TrailerPrefix+"X-End", "response")
	}
}

// processors end an exchange in every way that lets it pass.
var processors = map[string]exchange.ProcessorFunc{
	"returns early": func(_ context.Context, x *exchange.Exchange) error {
		x.Request.Header.Set("x-edit", "request")
		return nil
	},
	"returns late": func(_ context.Context, x *exchange.Exchange) error {
		x.Request.Header.Set("x-edit", "request")
		time.Sleep(5 * time.Millisecond) // Envoy has sent all that it sends unasked
		return nil
	},
	"returns after Next": func(ctx context.Context, x *exchange.Exchange) error {
		x.Request.Header.Set("x-edit", "request")
		resp, err := x.Next(ctx)
		if err != nil {
			return err
		}
		resp.Header.Set("x-edit", "response")
		return nil
	},
	"finishes": func(ctx context.Context, x *exchange.Exchange) error {
		x.Request.Header.Set("x-edit", "request")
		own, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		resp, err := x.Next(own)
		if err != nil {
			return err
		}
		resp.Header.Set("x-edit", "response")
		return x.Finish(own)
	},
}

// TestNoByteIsLost runs every way to end an exchange in every body mode with every kind of body in
// both directions: what arrives must be what was sent.
func TestNoByteIsLost(t *testing.T) {
	t.Parallel()
	for _, mode := range bodyModes {
		for name, p := range processors {
			t.Run(mode+" "+name, func(t *testing.T) {
				t.Parallel()
				g := start(t, filter(mode), http.HandlerFunc(mirror), p)
				for version, transport := range map[string]*http.Transport{"HTTP/1.1": client1(t), "HTTP/2": client(t)} {
					for _, request := range bodyKinds {
						for _, response := range bodyKinds {
							if version == "HTTP/1.1" && (request == "trailers" || response == "trailers") {
								continue // Envoy drops them there
							}
							t.Run(version+" "+request+" to "+response, func(t *testing.T) {
								exchangeBodies(t, transport, g.url, request, response, name)
							})
						}
					}
				}
				if n := g.envoy.Stat(t, "http.web.ext_proc.spurious_msgs_received"); n != 0 {
					t.Errorf("%d spurious messages", n)
				}
				if n := g.envoy.Stat(t, "http.web.ext_proc.streams_failed"); n != 0 {
					t.Errorf("%d failed streams", n)
				}
			})
		}
	}
}

// requestOf is a request whose body is of one kind and asks for a response of another.
func requestOf(t *testing.T, url, kind, response string) *http.Request {
	t.Helper()
	var body io.Reader = http.NoBody
	switch kind {
	case "small":
		body = bytes.NewReader(content(kind))
	case "large", "trailers":
		body = io.MultiReader(bytes.NewReader(content(kind))) // hides the length
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Kind", response)
	if kind == "trailers" {
		r.Trailer = http.Header{"X-End": {"request"}}
	}
	return r
}

func exchangeBodies(t *testing.T, transport http.RoundTripper, url, request, response, processor string) {
	t.Helper()
	sent := content(request)
	r := requestOf(t, url, request, response)
	end := r.Trailer.Get("X-End")
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("response body after %d bytes: %v", len(got), err)
	}
	if !bytes.Equal(got, content(response)) {
		t.Errorf("response body has %d bytes, want %d", len(got), len(content(response)))
	}
	if want := fmt.Sprintf("%d %x %q <nil>", len(sent), sha256.Sum256(sent), end); answer.Header.Get("X-Seen") != want {
		t.Errorf("upstream saw %q, want %q (status %d)", answer.Header.Get("X-Seen"), want, answer.StatusCode)
	}
	if response == "trailers" && answer.Trailer.Get("X-End") != "response" {
		t.Errorf("trailers %v", answer.Trailer)
	}
	if answer.Header.Get("X-Seen-Edit") != "request" {
		t.Error("the request's edit is lost")
	}
	edited := answer.Header.Get("X-Edit") == "response"
	if want := processor == "returns after Next" || processor == "finishes"; edited != want {
		t.Errorf("response edited: %v, want %v", edited, want)
	}
}

package explain

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// maxQuestion bounds a question to a running gateway, in bytes.
const maxQuestion = 1 << 20

// Handler answers POSTed Requests with Explanations, as JSON, for a running gateway. Safe for concurrent
// use.
type Handler struct {
	// State returns what is in force; a nil result is a gateway that has none yet.
	State func() (*resource.Set, *translator.Result)
	// Sources are the gateway's.
	Sources Sources

	mu      sync.Mutex
	result  *translator.Result
	gateway *Gateway
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var question Request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion)).Decode(&question); err != nil {
		http.Error(w, "the question isn't JSON of the form {\"method\": …, \"url\": …}", http.StatusBadRequest)
		return
	}
	gateway, err := h.current()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	answer, err := gateway.Explain(r.Context(), &question)
	if err != nil {
		status := http.StatusInternalServerError
		if errors.Is(err, ErrRequest) {
			status = http.StatusBadRequest
		}
		http.Error(w, err.Error(), status)
		return
	}
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // a client that is gone needs no answer
}

// Explain answers one question, as [Gateway.Explain] does.
func (h *Handler) Explain(ctx context.Context, r *Request) (*Explanation, error) {
	gateway, err := h.current()
	if err != nil {
		return nil, err
	}
	return gateway.Explain(ctx, r)
}

// current builds a Gateway at the first question after a change.
func (h *Handler) current() (*Gateway, error) {
	set, result := h.State()
	if result == nil {
		return nil, errors.New("no configuration is in force that could be explained")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.result == result {
		return h.gateway, nil
	}
	gateway, err := New(set, result, h.Sources)
	if err != nil {
		return nil, err
	}
	if h.gateway != nil {
		h.gateway.Close()
	}
	h.result, h.gateway = result, gateway
	return gateway, nil
}

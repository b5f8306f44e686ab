package admin

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Options says what the handlers show. They may be shared by [New] and [Metrics].
type Options struct {
	// Envoy sends requests to Envoy's admin API; the host of their URLs is "envoy". Nil: there is no
	// Envoy of ours, and its pages answer 503.
	Envoy http.RoundTripper
	// Ready reports why the gateway isn't ready, or nil. Nil: only Envoy is asked. The error's text is
	// shown.
	Ready func() error
	// Gatherer holds Gatehouse's metrics; nil: none.
	Gatherer prometheus.Gatherer
	// Address is the host:port that the handler is served on. Its host is accepted in the Host header,
	// beside every name of loopback; an unspecified one (0.0.0.0) accepts every IP address.
	Address string
	// Hosts are further names accepted in the Host header, without port.
	Hosts []string
	// Extra are further handlers by [http.ServeMux] pattern. They are behind the same guard.
	Extra map[string]http.Handler
	// Logger is told of failures. Default: slog.Default.
	Logger *slog.Logger
}

// readable are the pages of Envoy that show and change nothing. /config_dump, /ready and / are
// handled apart.
var readable = []string{
	"/certs", "/clusters", "/listeners", "/memory", "/runtime", "/server_info", "/stats", "/stats/prometheus",
}

// changeable are what POST may do.
var changeable = []string{"/logging", "/reset_counters"}

// New returns the handler of the admin port. It is safe for concurrent use.
func New(options Options) http.Handler {
	h := newHandler(options)
	own := http.NewServeMux()
	for pattern, handler := range options.Extra {
		own.Handle(pattern, handler)
	}
	return h.guard(true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler, pattern := own.Handler(r); pattern != "" {
			handler.ServeHTTP(w, r)
			return
		}
		h.serve(w, r)
	}))
}

type handler struct {
	Options
	extra []string
}

func newHandler(options Options) *handler {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	h := &handler{Options: options}
	for pattern := range options.Extra {
		h.extra = append(h.extra, pattern)
	}
	slices.Sort(h.extra)
	return h
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case slices.Contains(changeable, path):
		if r.Method != http.MethodPost {
			methodNotAllowed(w, "POST")
			return
		}
		h.forward(w, r, path)
	case path == "/" || path == "/help" || path == dumpPath || path == readyPath || slices.Contains(readable, path):
		if !reads {
			methodNotAllowed(w, "GET, HEAD")
			return
		}
		h.page(w, r, path)
	default:
		http.Error(w, "not allowed here\n\n"+h.index(), http.StatusForbidden)
	}
}

func (h *handler) page(w http.ResponseWriter, r *http.Request, path string) {
	switch path {
	case "/", "/help":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, h.index())
	case readyPath:
		if h.Ready != nil {
			if err := h.Ready(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		h.forward(w, r, path)
	case dumpPath:
		h.configDump(w, r)
	default:
		h.forward(w, r, path)
	}
}

// index lists what the port offers. Envoy's own index would offer what is refused.
func (h *handler) index() string {
	var b strings.Builder
	b.WriteString("Allowed on this port:\n")
	shown := append([]string{dumpPath, readyPath}, readable...)
	slices.Sort(shown)
	for _, path := range shown {
		fmt.Fprintf(&b, "  GET  %s\n", path)
	}
	for _, path := range changeable {
		fmt.Fprintf(&b, "  POST %s\n", path)
	}
	for _, pattern := range h.extra {
		if !strings.Contains(pattern, " ") {
			pattern = "     " + pattern
		}
		fmt.Fprintf(&b, "  %s\n", pattern)
	}
	b.WriteString("\n/config_dump also takes ?resource=routes, clusters and listeners.\n")
	return b.String()
}

func methodNotAllowed(w http.ResponseWriter, allowed string) {
	w.Header().Set("Allow", allowed)
	http.Error(w, "method not allowed; use "+allowed, http.StatusMethodNotAllowed)
}

// errNoEnvoy is the answer where Envoy is somebody else's.
var errNoEnvoy = errors.New("this gateway runs no Envoy of its own")

// ask fetches a page of Envoy. Only method, path and query of the client's request go on.
func (h *handler) ask(r *http.Request, path, query string) (*http.Response, error) {
	if h.Envoy == nil {
		return nil, errNoEnvoy
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet // net/http drops the body and keeps the length
	}
	req, err := http.NewRequestWithContext(r.Context(), method, "http://envoy"+path, nil) //nolint:gosec // G704: h.Envoy dials its socket, whatever the URL
	if err != nil {
		return nil, err
	}
	req.URL.RawQuery = query
	return h.Envoy.RoundTrip(req)
}

func (h *handler) forward(w http.ResponseWriter, r *http.Request, path string) {
	resp, err := h.ask(r, path, r.URL.RawQuery)
	if err != nil {
		h.unreachable(w, r, err)
		return
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		h.Logger.Debug("admin page broke off", "path", path, "error", err)
	}
}

func (h *handler) unreachable(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil && !errors.Is(err, errNoEnvoy) {
		h.Logger.Warn("envoy's admin interface does not answer", "path", r.URL.Path, "error", err)
	}
	text := "Envoy does not answer; it may be starting"
	if errors.Is(err, errNoEnvoy) {
		text = err.Error()
	}
	http.Error(w, text, http.StatusServiceUnavailable)
}

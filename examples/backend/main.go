// Command backend is what stands behind the examples: it echoes requests as JSON, and on other paths
// answers with a customer's data, a stream of events, a long text and a gRPC service.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9001", "`host:port` to serve on")
	flag.Parse()
	service := grpc.NewServer()
	healthv1.RegisterHealthServer(service, health.NewServer())
	mux := http.NewServeMux()
	mux.HandleFunc("/", echo)
	mux.HandleFunc("/customers/", customer)
	mux.HandleFunc("/chat", chat)
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("All work and no play makes Jack a dull boy.\n", 100))
	})
	mux.Handle("/grpc.health.v1.Health/", service)
	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	slog.Error("can't serve", "error", server.ListenAndServe())
	os.Exit(1)
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	err := json.NewEncoder(w).Encode(struct {
		Method string      `json:"method"`
		Path   string      `json:"path"`
		Header http.Header `json:"header"`
		Body   string      `json:"body"`
	}{r.Method, r.RequestURI, r.Header, string(body)})
	if err != nil {
		slog.WarnContext(r.Context(), "can't answer", "error", err)
	}
}

func customer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(`{"customer": {"name": "Ada", "email": "ada@example.com", "iban": "DE02120300000000202051", "card": "4111111111111111"}, "total": 12.50}`))
}

// chat answers as language models do.
func chat(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, word := range []string{"All", " work", " and", " no", " play"} {
		fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", word)
		_ = http.NewResponseController(w).Flush()
	}
	fmt.Fprint(w, "data: {\"choices\":[],\"usage\":{\"total_tokens\":17}}\n\ndata: [DONE]\n\n")
}

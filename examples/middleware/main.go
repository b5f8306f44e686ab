// Command middleware puts ordinary net/http middleware in front of a service that may be written in any
// language: CORS, security headers, a limit of the request's size, and an address that Go itself answers.
package main

import (
	"encoding/json"
	"net/http"
	"runtime"
	"slices"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/rs/cors"
	"github.com/unrolled/secure"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

const maxBody = 64 << 10

func main() {
	browsers := cors.New(cors.Options{AllowedOrigins: []string{"https://app.example"}, AllowCredentials: true})
	headers := secure.New(secure.Options{FrameDeny: true, ContentTypeNosniff: true, STSSeconds: 31536000, ForceSTSHeader: true})
	sdk.Main(sdk.Middleware(stack(browsers.Handler, headers.Handler, middleware.RequestSize(maxBody), version)))
}

// stack nests middleware, the first outermost.
func stack(all ...func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		for _, mw := range slices.Backward(all) {
			next = mw(next)
		}
		return next
	}
}

// version answers one path without asking the upstream, which is what next is.
func version(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/version" {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(runtime.Version())
	})
}

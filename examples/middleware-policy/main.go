// Command middleware-policy protects a Go HTTP server by a Gatehouse policy, without a proxy: a user name
// and a password, CORS, and a rule in Rego.
//
//	go run ./examples/middleware-policy &
//	curl -i localhost:8081/reports/1                          # 401, and a script of app.example may read it
//	curl -i -u alice:wonderland localhost:8081/reports/1      # 200, the handler knows who is calling
//	curl -i -u alice:wonderland localhost:8081/admin          # 403
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// spec is what a SecurityPolicy says in YAML.
var spec = &config.Policy{
	Name:      "demo/reports",
	BasicAuth: &config.BasicAuth{Users: config.Source{Ref: "users"}, Realm: "reports", ForwardUsernameHeader: "x-user"},
	CORS:      &config.CORS{AllowOrigins: []string{"https://app.example"}, AllowCredentials: true},
	OPA: &config.OPA{Modules: []config.Module{{Name: "rules.rego", Source: config.Source{Inline: `
		package envoy.authz
		import rego.v1
		default allow := false
		allow if { input.identity.username == "alice"; input.parsed_path[0] == "reports" }`}}}},
}

// users is an htpasswd file: alice with the password wonderland. A program reads it from where it keeps
// secrets.
var users = []byte("alice:$2a$10$MU3s6/kBwG5rnH5NjmZ/degECsjubMyu50OeE6WfhL.PENSMZ5hOe\n")

func reports(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "hello %s, this is %s\n", r.Header.Get("x-user"), r.URL.Path)
}

// handler is the server's: nothing below it sees a request that the policy doesn't allow.
func handler() (http.Handler, error) {
	compiled, err := policy.Compile(spec, policy.Deps{Data: config.Data{"users": users}, CORSHeaders: true})
	if err != nil {
		return nil, err
	}
	return Protect(compiled, http.HandlerFunc(reports)), nil
}

func main() {
	address := flag.String("listen", "127.0.0.1:8081", "host:port")
	flag.Parse()
	protected, err := handler()
	if err != nil {
		slog.Error("the policy can't be used", "error", err)
		os.Exit(1)
	}
	server := &http.Server{Addr: *address, Handler: protected, ReadHeaderTimeout: 10 * time.Second}
	if err := server.ListenAndServe(); err != nil {
		slog.Error("the server ended", "error", err)
		os.Exit(1)
	}
}

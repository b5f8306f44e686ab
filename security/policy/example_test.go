package policy_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// A policy protects any HTTP handler, without Envoy.
func Example() {
	p, err := policy.Compile(&config.Policy{
		Name: "team-a/api",
		// The hash of "secret", as `htpasswd -nbs alice secret` prints it; use bcrypt for real users.
		BasicAuth: &config.BasicAuth{Users: config.Source{Ref: "users"}, Realm: "team-a", ForwardUsernameHeader: "x-user"},
		OPA: &config.OPA{Modules: []config.Module{{Name: "rules.rego", Source: config.Source{Inline: `
			package envoy.authz
			default allow := false
			allow if { input.identity.username == "alice"; input.parsed_path[0] == "reports" }`}}}},
	}, policy.Deps{Data: config.Data{"users": []byte("alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()

	for _, path := range []string{"/reports/1", "/admin"} {
		for _, password := range []string{"secret", "guess"} {
			in, _ := http.NewRequest(http.MethodGet, "http://localhost"+path, nil)
			in.SetBasicAuth("alice", password)
			verdict, _ := p.Check(context.Background(), exchange.NewRequest(
				exchange.Head{Method: in.Method, Path: in.URL.RequestURI(), Authority: in.Host, Scheme: "http"}, exchange.Conn{},
				exchange.NewHeader(exchange.Field{Name: "Authorization", Value: in.Header.Get("Authorization")}), exchange.Body{}, nil))
			if verdict.Allow {
				fmt.Println(path, password, "allowed, sets", verdict.Set)
				continue
			}
			fmt.Println(path, password, verdict.Reply.Status(), string(verdict.Reply.Body))
		}
	}
	// Output:
	// /reports/1 secret allowed, sets [{x-user alice}]
	// /reports/1 guess 401 unauthorized
	// /admin secret 403 forbidden
	// /admin guess 401 unauthorized
}

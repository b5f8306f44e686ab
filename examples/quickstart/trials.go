package main

import (
	"fmt"
	"io"
	"strings"
)

// trial is a request and what it must answer. It is printed as a curl line that can be pasted into a
// shell, with the answer to expect as a comment; `make fresh` runs the printed lines and compares.
type trial struct {
	method  string   // "": GET
	user    string   // name:password
	headers []string // "name: value"; $TOKEN stands for the token
	url     string
	// want is a status, and after " with " what the answer holds, joined by " and ".
	want string
}

// curl returns the trial's curl line without the expectation.
func (t trial) curl() string {
	var line strings.Builder
	line.WriteString("curl -si")
	if strings.HasPrefix(t.url, "https:") {
		line.WriteString(" -k") // the certificate is self-signed
	}
	if t.method != "" {
		line.WriteString(" -X " + t.method)
	}
	if t.user != "" {
		line.WriteString(" -u " + t.user)
	}
	for _, header := range t.headers {
		quote := "'"
		if strings.Contains(header, "$") {
			quote = `"`
		}
		line.WriteString(" -H " + quote + header + quote)
	}
	return line.String() + " " + t.url
}

type group struct {
	title  string
	trials []trial
}

// printTrials ends with a line that is exactly "ready", as the gateway's own: a program that started
// the quickstart has then read all that there is to try.
func printTrials(w io.Writer, p ports, token string) {
	fmt.Fprintf(w, "\nThe gateway is ready. Try, in another terminal:\n\n  TOKEN=%s\n", token)
	for _, group := range trials(p) {
		fmt.Fprintf(w, "\n  # %s\n", group.title)
		for _, t := range group.trials {
			fmt.Fprintf(w, "  %s  # %s\n", t.curl(), t.want)
		}
	}
	fmt.Fprintf(w, "\nEnvoy's admin pages: http://%s   metrics: http://%s/metrics\nCtrl-C stops everything.\nready\n",
		p.address(p.admin), p.address(p.metrics))
}

func trials(p ports) []group {
	const (
		bearer = "authorization: Bearer ${TOKEN}"
		origin = "origin: https://app.example"
		asks   = "access-control-request-method: PUT"
		allows = "access-control-allow-origin: https://app.example"
		alice  = "alice:wonderland"
		bob    = "bob:builder"
	)
	at := "http://" + p.address(p.http)
	return []group{
		{"no policy", []trial{
			{url: at + "/public", want: `200 with "path": "/public"`},
			{url: "https://" + p.address(p.https) + "/public", want: "200"},
		}},
		{"user name and password (basic.yaml)", []trial{
			{url: at + "/basic", want: `401 with www-authenticate: Basic realm="demo"`},
			{user: alice, url: at + "/basic", want: `200 with "x-user": "alice"`},
			{user: bob, headers: []string{"x-user: root"}, url: at + "/basic", want: `200 with "x-user": "bob"`},
			{user: "alice:wrong", url: at + "/basic", want: "401"},
		}},
		{"bearer token, claims as headers (jwt.yaml)", []trial{
			{url: at + "/jwt", want: "401 with www-authenticate: Bearer"},
			{headers: []string{bearer}, url: at + "/jwt", want: `200 with "x-user": "alice" and "x-roles": "reader,editor"`},
			{headers: []string{bearer + "x"}, url: at + "/jwt", want: "401"},
		}},
		{"CORS, also on a denial (cors.yaml)", []trial{
			{method: "OPTIONS", headers: []string{origin, asks}, url: at + "/cors", want: "204 with " + allows},
			{headers: []string{origin}, url: at + "/cors", want: "401 with " + allows + " and vary: Origin"},
			{user: alice, headers: []string{origin}, url: at + "/cors", want: "200 with " + allows},
			{method: "OPTIONS", headers: []string{"origin: https://evil.example", asks}, url: at + "/cors", want: "403"},
		}},
		{"a rule in Rego (rego.yaml)", []trial{
			{headers: []string{bearer}, url: at + "/rego", want: "200"},
			{method: "DELETE", headers: []string{bearer}, url: at + "/rego", want: "403"},
		}},
		{"conditions in CEL, asked by ext_proc (cel.yaml)", []trial{
			{url: at + "/cel", want: "200"},
			{method: "DELETE", url: at + "/cel", want: "403"},
			{headers: []string{"x-team: staff, guests"}, url: at + "/cel", want: "403"},
		}},
		{"password or token, one is enough (any.yaml)", []trial{
			{url: at + "/any", want: "401"},
			{user: bob, url: at + "/any", want: `200 with "x-user": "bob"`},
			{headers: []string{bearer}, url: at + "/any", want: `200 with "x-user": "alice"`},
		}},
		{"a custom processor in Go (tenants.yaml, processor/main.go)", []trial{
			{url: at + "/tenants/acme/orders", want: `200 with "x-tenant": "acme" and x-processed-by: quickstart`},
			{headers: []string{"x-tenant: forged"}, url: at + "/tenants/acme/orders", want: `200 with "x-tenant": "acme"`},
			{url: at + "/tenants", want: "404"},
		}},
	}
}

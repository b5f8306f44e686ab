package main

import (
	"fmt"
	"io"
)

// trial is a curl line and what it must answer. `make fresh` runs the printed lines and compares.
type trial struct {
	curl string
	// want is a status, and after " with " what the answer holds, joined by " and ".
	want string
}

// printTrials prints lines that can be pasted into a shell: what to expect is a comment.
func printTrials(w io.Writer, p ports, token string) {
	fmt.Fprintf(w, "\nThe gateway is ready. Try, in another terminal:\n\n  TOKEN=%s\n", token)
	for _, group := range trials("http://"+p.address(p.http), "https://"+p.address(p.https)) {
		fmt.Fprintf(w, "\n  # %s\n", group.title)
		for _, t := range group.trials {
			fmt.Fprintf(w, "  curl -si %s  # %s\n", t.curl, t.want)
		}
	}
	fmt.Fprintf(w, "\nEnvoy's admin pages: http://%s   metrics: http://%s/metrics\nCtrl-C stops everything.\n",
		p.address(p.admin), p.address(p.metrics))
}

type group struct {
	title  string
	trials []trial
}

func trials(plain, tls string) []group {
	const bearer = `-H "authorization: Bearer $TOKEN" `
	const origin = `-H 'origin: https://app.example' `
	return []group{
		{"no policy", []trial{
			{plain + "/public", `200 with "path": "/public"`},
			{"-k " + tls + "/public", "200"},
		}},
		{"user name and password (basic.yaml)", []trial{
			{plain + "/basic", `401 with www-authenticate: Basic realm="demo"`},
			{"-u alice:wonderland " + plain + "/basic", `200 with "x-user": "alice"`},
			{"-u bob:builder -H 'x-user: root' " + plain + "/basic", `200 with "x-user": "bob"`},
			{"-u alice:wrong " + plain + "/basic", "401"},
		}},
		{"bearer token, claims as headers (jwt.yaml)", []trial{
			{plain + "/jwt", "401 with www-authenticate: Bearer"},
			{bearer + plain + "/jwt", `200 with "x-user": "alice" and "x-roles": "reader,editor"`},
			{`-H "authorization: Bearer ${TOKEN}x" ` + plain + "/jwt", "401"},
		}},
		{"CORS, also on a denial (cors.yaml)", []trial{
			{"-X OPTIONS " + origin + "-H 'access-control-request-method: PUT' " + plain + "/cors",
				"204 with access-control-allow-origin: https://app.example"},
			{origin + plain + "/cors", "401 with access-control-allow-origin: https://app.example and vary: Origin"},
			{origin + "-u alice:wonderland " + plain + "/cors", "200 with access-control-allow-origin: https://app.example"},
			{"-X OPTIONS -H 'origin: https://evil.example' -H 'access-control-request-method: PUT' " + plain + "/cors", "403"},
		}},
		{"a rule in Rego (rego.yaml)", []trial{
			{bearer + plain + "/rego", "200"},
			{bearer + "-X DELETE " + plain + "/rego", "403"},
		}},
		{"password or token, one is enough (any.yaml)", []trial{
			{plain + "/any", "401"},
			{"-u bob:builder " + plain + "/any", `200 with "x-user": "bob"`},
			{bearer + plain + "/any", `200 with "x-user": "alice"`},
		}},
		{"a custom processor in Go (processor/main.go)", []trial{
			{plain + "/tenants/acme/orders", `200 with "x-tenant": "acme" and x-processed-by: quickstart`},
			{"-H 'x-tenant: forged' " + plain + "/tenants/acme/orders", `200 with "x-tenant": "acme"`},
			{plain + "/tenants", "404"},
		}},
	}
}

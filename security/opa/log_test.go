package opa_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
	"github.com/gatehouse-proxy/gatehouse/security/opa"
)

func TestEveryDecisionIsLoggedCachedOnesToo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := decisionlog.New(decisionlog.Options{Stdout: &out})
	spec := inline("package envoy.authz\ndefault allow := false\nallow if input.attributes.request.http.method == \"GET\"")
	spec.DecisionLog = &config.DecisionLog{}
	e, err := opa.Compile(spec, opa.Deps{Policy: "team-a/api", Decisions: log})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "GET", "PUT"} {
		if allows(t, e, method) != (method == "GET") {
			t.Error(method)
		}
	}
	log.Close()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[1], `"cached":true`) || !strings.Contains(lines[1], `"method":"GET"`) || !strings.Contains(lines[2], `"result":false`) {
		t.Error(out.String())
	}
	if !allows(t, start(t, spec, nil), "GET") {
		t.Error("a program that keeps no log can't try the policy")
	}
}

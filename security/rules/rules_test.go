package rules_test

import (
	"net/netip"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/rules"
)

func TestClientAddressRules(t *testing.T) {
	t.Parallel()
	inside := config.Rule{Name: "inside", Allow: true, ClientCIDRs: []string{"10.0.0.0/8", "2001:db8::/32"}}
	blocked := config.Rule{Name: "blocked", ClientCIDRs: []string{"10.6.6.0/24"}}
	everybody := config.Rule{Name: "everybody", Allow: true}
	for name, c := range map[string]struct {
		spec   config.Authorization
		client string
		allow  bool
		by     string
	}{
		"inside":                               {config.Authorization{Rules: []config.Rule{inside}}, "10.1.2.3", true, "inside"},
		"inside by IPv6":                       {config.Authorization{Rules: []config.Rule{inside}}, "2001:db8::1", true, "inside"},
		"mapped address":                       {config.Authorization{Rules: []config.Rule{inside}}, "::ffff:10.1.2.3", true, "inside"},
		"zone":                                 {config.Authorization{Rules: []config.Rule{{Name: "l", Allow: true, ClientCIDRs: []string{"fe80::/10"}}}}, "fe80::1%eth0", true, "l"},
		"outside":                              {config.Authorization{Rules: []config.Rule{inside}}, "192.0.2.1", false, ""},
		"first match wins":                     {config.Authorization{Rules: []config.Rule{blocked, inside}}, "10.6.6.6", false, "blocked"},
		"order counts":                         {config.Authorization{Rules: []config.Rule{inside, blocked}}, "10.6.6.6", true, "inside"},
		"default allow":                        {config.Authorization{DefaultAllow: true, Rules: []config.Rule{blocked}}, "192.0.2.1", true, ""},
		"no rules":                             {config.Authorization{}, "192.0.2.1", false, ""},
		"unknown address, allow rule":          {config.Authorization{Rules: []config.Rule{inside}}, "", false, ""},
		"unknown address, deny rule":           {config.Authorization{DefaultAllow: true, Rules: []config.Rule{blocked}}, "", false, "blocked"},
		"unknown address, rule without CIDRs":  {config.Authorization{Rules: []config.Rule{everybody}}, "", true, "everybody"},
		"unknown address, everybody after":     {config.Authorization{Rules: []config.Rule{blocked, everybody}}, "", false, "blocked"},
		"host bits and mapped ranges are fine": {config.Authorization{Rules: []config.Rule{{Name: "m", Allow: true, ClientCIDRs: []string{"::ffff:10.0.0.1/104"}}}}, "10.9.9.9", true, "m"},
	} {
		r, err := rules.Compile(&c.spec, rules.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var client netip.Addr
		if c.client != "" {
			client = netip.MustParseAddr(c.client)
		}
		if allow, by := r.Decide(t.Context(), rules.Input{Request: exchange.NewRequest(exchange.Head{}, exchange.Conn{Client: client}, exchange.Header{}, exchange.Body{}, nil)}); allow != c.allow || by != c.by {
			t.Errorf("%s: %v by %q", name, allow, by)
		}
	}
}

func TestInvalidCIDRsAreErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "10.0.0.1", "10.0.0.0/33", "a/8", "::/129", "::ffff:0.0.0.0/8", "10.0.0.0/8 "} {
		if _, err := rules.Compile(&config.Authorization{Rules: []config.Rule{{ClientCIDRs: []string{text}}}}, rules.Options{}); err == nil {
			t.Errorf("%q compiles", text)
		}
	}
	if _, err := rules.Compile(&config.Authorization{Rules: make([]config.Rule, 2000)}, rules.Options{}); err == nil {
		t.Error("S43: 2000 rules compile")
	}
}

package rego

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gatehouse-proxy/gatehouse/security/identity"
)

// identityTerm is {} for an anonymous caller. The claims' form is kept with the identity, which is kept
// with the verified token: a second request with it converts nothing.
func identityTerm(part *reads, caller *identity.Identity) *ast.Term {
	if caller == nil {
		return emptyObject
	}
	term, _ := caller.Memo(func() any {
		o := object{reads: part}
		o.text("method", caller.Method)
		if caller.Username != "" {
			o.text("username", caller.Username)
		}
		if caller.ClientID != "" {
			o.text("client_id", caller.ClientID)
		}
		if caller.Provider != "" {
			o.text("provider", caller.Provider)
		}
		if caller.Claims != nil {
			o.put("claims", func(part *reads) *ast.Term { return pruned(part, caller.Claims) })
		}
		return o.term()
	}).(*ast.Term)
	return term
}

// pruned converts the claims that are read.
func pruned(part *reads, claims map[string]any) *ast.Term {
	var members [][2]*ast.Term
	for name, claim := range claims {
		below := part.part(name)
		if below == nil {
			continue
		}
		value, err := ast.InterfaceToValue(claim)
		if err != nil { // claims are decoded JSON
			continue
		}
		members = append(members, [2]*ast.Term{ast.StringTerm(name), ast.NewTerm(value)})
	}
	return ast.ObjectTerm(members...)
}

package envoy

import (
	"fmt"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
)

// claimsNamespace is where Envoy's own JWT filter puts a verified token's claims, below its provider's name, and
// where processors look for them.
const claimsNamespace = "envoy.filters.http.jwt_authn"

// copyClaims is a filter that puts the claims where a processor of the rule wants to see them; nil if none does.
// ext_authz can write its own namespace alone, and that and the other one are the seals', too.
func copyClaims(rule *Rule) *core.TypedExtensionConfig {
	if rule.Security == nil || rule.Security.Spec.JWT == nil || !readsClaims(rule) {
		return nil
	}
	from := authorizerNamespace
	if rule.Security.ExtProc {
		from = gatehouseNamespace
	}
	var code strings.Builder
	fmt.Fprintf(&code, "function envoy_on_request(handle)\n  local metadata = handle:streamInfo():dynamicMetadata()\n  local from = metadata:get(%s)\n  if from == nil then return end\n", luaString(from))
	providers := rule.Security.Spec.JWT.Providers
	for i := range providers {
		name := luaString(providers[i].Name)
		fmt.Fprintf(&code, "  if type(from[%s]) == \"table\" then metadata:set(%s, %s, from[%s]) end\n", name, luaString(claimsNamespace), name, name)
	}
	code.WriteString("end\n")
	return &core.TypedExtensionConfig{Name: product + ".claims", TypedConfig: typed(&lua.Lua{
		DefaultSourceCode: &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: code.String()}},
		StatPrefix:        product,
	})}
}

func readsClaims(rule *Rule) bool {
	for i := range rule.Extension.ExtProc {
		if slices.Contains(rule.Extension.ExtProc[i].AccessibleNamespaces, claimsNamespace) {
			return true
		}
	}
	return false
}

// luaString is a literal of any text: bytes that aren't plain are written by their numbers.
func luaString(text string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, c := range []byte(text) {
		if c >= ' ' && c <= '~' && c != '"' && c != '\\' {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "\\%03d", c)
		}
	}
	out.WriteByte('"')
	return out.String()
}

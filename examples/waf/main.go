// Command waf is a web application firewall: the Coraza engine with rules in ModSecurity's language. A
// rule set such as the OWASP Core Rule Set is one Include line away.
package main

import (
	"context"
	"net/http"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

const rules = `
SecRuleEngine On
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "@rx ^application/json" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_URI_RAW "@contains /../" "id:2,phase:1,deny,status:403"
SecRule ARGS|REQUEST_HEADERS:User-Agent "@detectSQLi" "id:3,phase:2,t:none,t:urlDecodeUni,deny,status:403"
SecRule ARGS "@detectXSS" "id:4,phase:2,t:none,t:urlDecodeUni,deny,status:403"
SecRule REQBODY_ERROR "!@eq 0" "id:5,phase:2,deny,status:400"
`

const maxBody = 128 << 10

func main() {
	waf, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(rules))
	if err != nil {
		panic(err) // of constant rules
	}
	sdk.Main(sdk.ProcessorFunc(func(_ context.Context, x *sdk.Exchange) error {
		tx := waf.NewTransaction()
		defer func() { tx.ProcessLogging(); _ = tx.Close() }()
		tx.ProcessConnection(x.Request.Conn().Client.String(), 0, "", 0)
		tx.ProcessURI(x.Request.Path(), x.Request.Method(), "HTTP/1.1")
		tx.AddRequestHeader("Host", x.Request.Authority())
		for name, value := range x.Request.Header.All() {
			tx.AddRequestHeader(name, value)
		}
		if stop := tx.ProcessRequestHeaders(); stop != nil {
			return deny(stop)
		}
		body, err := x.Request.Body.Bytes(maxBody) // held until the rules have seen it
		if err != nil {
			return err
		}
		if stop, _, err := tx.WriteRequestBody(body); stop != nil || err != nil {
			return deny(stop)
		}
		if stop, err := tx.ProcessRequestBody(); stop != nil || err != nil {
			return deny(stop)
		}
		return nil
	}))
}

func deny(stop *types.Interruption) error {
	if stop == nil || stop.Status == 0 {
		return sdk.Deny(http.StatusForbidden, "refused")
	}
	return sdk.Deny(stop.Status, "refused")
}

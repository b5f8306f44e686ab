// Command tenant tells the backend which tenant a request is for, by its host name.
package main

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// plans are the tenants; a real program would read them from somewhere.
var plans = map[string]string{"acme": "gold", "globex": "free"}

func main() { sdk.Main(sdk.ProcessorFunc(tenant)) }

func tenant(ctx context.Context, x *sdk.Exchange) error {
	host := x.Request.Authority()
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	name, _, _ := strings.Cut(strings.ToLower(host), ".")
	plan, ok := plans[name]
	if !ok {
		return sdk.Deny(http.StatusNotFound, "no such tenant")
	}
	// Set replaces what the client may have sent: nobody chooses a tenant by a header.
	x.Request.Header.Set("x-tenant", name)
	x.Request.Header.Set("x-plan", plan)
	resp, err := x.Next(ctx)
	if err != nil {
		return err
	}
	resp.Header.Set("x-served-for", name)
	return nil
}

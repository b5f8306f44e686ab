// Command processor is a custom processor: it tells the backend which tenant a request is for, and
// marks the response.
package main

import (
	"context"
	"net/http"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

func main() { sdk.Main(sdk.ProcessorFunc(tenant)) }

// tenant takes the tenant's name from a path such as /tenants/acme/orders.
func tenant(ctx context.Context, x *sdk.Exchange) error {
	path, _, _ := strings.Cut(x.Request.Path(), "?")
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/tenants/"), "/")
	if name == "" {
		return sdk.Deny(http.StatusNotFound, "no such tenant")
	}
	x.Request.Header.Set("x-tenant", name)

	resp, err := x.Next(ctx)
	if err != nil {
		return err
	}
	resp.Header.Set("x-processed-by", "quickstart")
	return nil
}

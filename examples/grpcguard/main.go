// Command grpcguard allows some methods of a gRPC service, and denies the others in a way that gRPC
// clients understand: HTTP status 200 with a grpc-status, where an HTTP client would get a 403.
package main

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// open are the methods that need no key.
var open = map[string]bool{"/grpc.health.v1.Health/Check": true}

func main() { sdk.Main(sdk.ProcessorFunc(guard)) }

func guard(_ context.Context, x *sdk.Exchange) error {
	method, _, _ := strings.Cut(x.Request.Path(), "?")
	if open[method] {
		return nil
	}
	reply := sdk.Deny(http.StatusForbidden, "this method is not for you")
	status := uint32(codes.PermissionDenied)
	reply.GRPC = &status // without it Envoy derives one from the HTTP status
	return reply
}

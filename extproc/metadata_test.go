package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// secondFilter is one behind the processor's own, which gets what that has written.
const secondFilter = `
          - name: second
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpc_service: {envoy_grpc: {cluster_name: processor}, initial_metadata: [{key: x-second, value: "yes"}]}
              message_timeout: 10s
              metadata_options: {forwarding_namespaces: {typed: [mine], untyped: [plain]}}`

// TestTypedMetadataReachesLaterFilters, beside metadata of the other kind.
func TestTypedMetadataReachesLaterFilters(t *testing.T) {
	t.Parallel()
	config := strings.Replace(describing("v=1; typed=mine; untyped=plain", "metadata_options: {receiving_namespaces: {typed: [mine], untyped: [plain]}}"),
		"receiving_namespaces: {untyped: [gatehouse]}", "", 1) + secondFilter
	g := start(t, config, http.HandlerFunc(hello), func(_ context.Context, x *exchange.Exchange) error {
		if second, _ := x.Request.Extension("x-second"); second == "" {
			if err := extproc.SetTypedMetadata(x, "other", wrapperspb.String("x")); !errors.Is(err, exchange.ErrNeeds) {
				return fmt.Errorf("a namespace that isn't listed: %w", err)
			}
			return errors.Join(
				extproc.SetTypedMetadata(x, "mine", durationpb.New(time.Hour)), // replaced
				extproc.SetTypedMetadata(x, "mine", durationpb.New(3*time.Second)),
				x.SetMetadata("plain", "key", "value"))
		}
		var d durationpb.Duration
		found, err := extproc.TypedMetadata(x, "mine", &d)
		_, other := extproc.TypedMetadata(x, "mine", new(wrapperspb.StringValue))
		absent, none := extproc.TypedMetadata(x, "absent", &d)
		return exchange.Deny(http.StatusTeapot, fmt.Sprint(found, d.AsDuration(), err, x.Metadata("plain")["key"], other != nil, absent, none))
	})
	if answer, body := g.get(t, "/"); answer.StatusCode != http.StatusTeapot || body != "true 3s <nil>valuetrue false <nil>" {
		t.Errorf("%d %q", answer.StatusCode, body)
	}
}

package sdktest

import (
	"cmp"
	"fmt"
	"maps"
	"strings"
	"time"

	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Config returns f as Envoy's configuration of the filter, whose processor is the cluster of that name.
func (f Filter) Config(cluster string) *extprocfilterv3.ExternalProcessor {
	out := &extprocfilterv3.ExternalProcessor{
		GrpcService:                             f.service(cluster),
		ProcessingMode:                          f.Mode.proto(),
		FailureModeAllow:                        f.FailureModeAllow,
		MessageTimeout:                          durationpb.New(f.timeout()),
		MutationRules:                           f.Mutations.proto(),
		AllowModeOverride:                       f.AllowModeOverride,
		DisableImmediateResponse:                f.DisableImmediateResponse,
		ObservabilityMode:                       f.Observability,
		SendBodyWithoutWaitingForHeaderResponse: f.NoWait,
		AllowContentLengthHeader:                f.AllowContentLength,
		RequestAttributes:                       f.RequestAttributes,
		ResponseAttributes:                      f.ResponseAttributes,
		ProcessingRequestModifier:               modifier(f.MappedRequestAttributes),
		MetadataOptions:                         f.options(),
	}
	if f.MaxMessageTimeout > 0 {
		out.MaxMessageTimeout = durationpb.New(f.MaxMessageTimeout)
	}
	if f.Observability {
		out.DeferredCloseTimeout = durationpb.New(cmp.Or(f.DeferredClose, time.Second))
	}
	if f.StatusOnError != 0 {
		out.StatusOnError = &typev3.HttpStatus{Code: typev3.StatusCode(f.StatusOnError)} //nolint:gosec // a status has three digits
	}
	for _, m := range f.AllowedOverrideModes {
		out.AllowedOverrideModes = append(out.AllowedOverrideModes, m.proto())
	}
	if f.AllowedHeaders != nil || f.DisallowedHeaders != nil {
		out.ForwardRules = &extprocfilterv3.HeaderForwardingRules{
			AllowedHeaders: exact(f.AllowedHeaders), DisallowedHeaders: exact(f.DisallowedHeaders),
		}
	}
	out.RouteCacheAction = extprocfilterv3.ExternalProcessor_RouteCacheAction(
		extprocfilterv3.ExternalProcessor_RouteCacheAction_value[cmp.Or(f.RouteCache, "DEFAULT")])
	return out
}

func (f Filter) timeout() time.Duration { return cmp.Or(f.MessageTimeout, DefaultTimeout) }

// bufferLimit is HTTP/2's window too, which is never smaller (RFC 9113 section 6.9.2).
func (f Filter) bufferLimit() int { return max(cmp.Or(f.BufferLimit, 1<<20), 65535) }

func (f Filter) service(cluster string) *corev3.GrpcService {
	pairs := maps.Clone(f.InitialMetadata)
	if pairs == nil {
		pairs = map[string]string{}
	}
	if !f.Undescribed {
		pairs["x-gatehouse-extproc"] = f.description()
	}
	return grpcService(cluster, values(pairs))
}

func grpcService(cluster string, pairs []*corev3.HeaderValue) *corev3.GrpcService {
	return &corev3.GrpcService{
		TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: cluster}},
		Timeout:         durationpb.New(time.Hour), InitialMetadata: pairs,
	}
}

// description is what Gatehouse's gateways tell a processor about its filter.
func (f Filter) description() string {
	parts := []string{"v=1", fmt.Sprintf("timeout=%v", f.timeout())}
	if f.AllowModeOverride && len(f.AllowedOverrideModes) == 0 {
		parts = append(parts, "override")
	}
	if f.MaxMessageTimeout > 0 {
		parts = append(parts, fmt.Sprintf("max-timeout=%v", f.MaxMessageTimeout))
	}
	if mode := f.Mode; mode.RequestTrailers == On && mode.ResponseTrailers == On && f.Route == nil && f.VirtualHost == nil && f.Again == nil {
		parts = append(parts, "trailers")
	}
	if len(f.Receive) > 0 {
		parts = append(parts, "untyped="+strings.Join(f.Receive, ","))
	}
	return strings.Join(parts, "; ")
}

func (r Rules) proto() *mutationrulesv3.HeaderMutationRules {
	if r == (Rules{}) {
		return nil
	}
	regex := func(text string) *matcherv3.RegexMatcher {
		if text == "" {
			return nil
		}
		return &matcherv3.RegexMatcher{Regex: text}
	}
	flag := func(on bool) *wrapperspb.BoolValue {
		if !on {
			return nil
		}
		return wrapperspb.Bool(true)
	}
	return &mutationrulesv3.HeaderMutationRules{
		AllowAllRouting: flag(r.AllowAllRouting), AllowEnvoy: flag(r.AllowEnvoy),
		DisallowSystem: flag(r.DisallowSystem), DisallowAll: flag(r.DisallowAll),
		AllowExpression: regex(r.AllowExpression), DisallowExpression: regex(r.DisallowExpression),
		DisallowIsError: flag(r.DisallowIsError),
	}
}

func exact(names []string) *matcherv3.ListStringMatcher {
	if names == nil {
		return nil
	}
	out := new(matcherv3.ListStringMatcher)
	for _, name := range names {
		out.Patterns = append(out.Patterns, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}})
	}
	return out
}

func headerValue(key, value string) *corev3.HeaderValue {
	return &corev3.HeaderValue{Key: key, Value: value}
}

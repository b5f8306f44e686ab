package envoy

import (
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	chain "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	httptype "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/gatehouse-proxy/gatehouse/translator/policy"
)

// headerSelfDescription tells a processor what the protocol doesn't: how its filter is configured.
const headerSelfDescription = "x-gatehouse-extproc"

// maxMessageTimeout bounds what a processor may ask for when it extends its time.
const maxMessageTimeout = 10 * time.Second

func extensions(rule *Rule) *chain.FilterChainConfigPerRoute {
	out := &chain.FilterChain{}
	if claims := copyClaims(rule); claims != nil {
		out.Filters = append(out.Filters, claims)
	}
	for i := range rule.Extension.ExtProc {
		p := &rule.Extension.ExtProc[i]
		out.Filters = append(out.Filters, &core.TypedExtensionConfig{Name: p.Name, TypedConfig: typed(externalProcessor(p))})
	}
	return &chain.FilterChainConfigPerRoute{FilterChain: out}
}

func externalProcessor(p *policy.ExtProc) *extproc.ExternalProcessor {
	// The stream lives as long as the request; messageTimeout bounds each answer.
	service := grpcService(p.Name, 0)
	service.Timeout = nil
	service.RetryPolicy = asksAgain(p.Settings)
	service.InitialMetadata = []*core.HeaderValue{{Key: headerSelfDescription, Value: selfDescription(p)}}
	out := &extproc.ExternalProcessor{
		GrpcService:        service,
		FailureModeAllow:   p.FailOpen,
		MessageTimeout:     duration(p.Timeout),
		MaxMessageTimeout:  duration(max(maxMessageTimeout, p.Timeout)),
		AllowModeOverride:  p.AllowModeOverride,
		ObservabilityMode:  p.Observe,
		RequestAttributes:  p.Request.Attributes,
		ResponseAttributes: p.Response.Attributes,
		StatPrefix:         statPrefix(p.Name),
		ProcessingMode: &extproc.ProcessingMode{
			RequestHeaderMode: sendMode(p.Request.Headers), ResponseHeaderMode: sendMode(p.Response.Headers),
			RequestBodyMode: bodyMode(p.Request.Body), ResponseBodyMode: bodyMode(p.Response.Body),
			RequestTrailerMode: sendMode(p.Request.Trailers), ResponseTrailerMode: sendMode(p.Response.Trailers),
		},
	}
	if p.StatusOnError != 0 {
		out.StatusOnError = &httptype.HttpStatus{Code: httptype.StatusCode(p.StatusOnError)}
	}
	if len(p.AccessibleNamespaces) > 0 || len(p.WritableNamespaces) > 0 {
		out.MetadataOptions = &extproc.MetadataOptions{
			ForwardingNamespaces: namespaces(p.AccessibleNamespaces), ReceivingNamespaces: namespaces(p.WritableNamespaces),
		}
	}
	return out
}

func namespaces(names []string) *extproc.MetadataOptions_MetadataNamespaces {
	if len(names) == 0 {
		return nil
	}
	return &extproc.MetadataOptions_MetadataNamespaces{Untyped: names}
}

func selfDescription(p *policy.ExtProc) string {
	parts := []string{"v=1"}
	if p.AllowModeOverride {
		parts = append(parts, "override")
	}
	if p.Request.Trailers && p.Response.Trailers {
		parts = append(parts, "trailers")
	}
	if p.Observe { // Envoy tells the modes of bodies but then
		parts = append(parts, "request-body="+bodyMode(p.Request.Body).String(), "response-body="+bodyMode(p.Response.Body).String())
	}
	parts = append(parts, "timeout="+p.Timeout.String(), "max-timeout="+max(maxMessageTimeout, p.Timeout).String())
	if len(p.WritableNamespaces) > 0 {
		parts = append(parts, "untyped="+strings.Join(p.WritableNamespaces, ","))
	}
	return strings.Join(parts, "; ")
}

func sendMode(send bool) extproc.ProcessingMode_HeaderSendMode {
	if send {
		return extproc.ProcessingMode_SEND
	}
	return extproc.ProcessingMode_SKIP
}

func bodyMode(mode string) extproc.ProcessingMode_BodySendMode {
	return map[string]extproc.ProcessingMode_BodySendMode{
		"": extproc.ProcessingMode_NONE, "Streamed": extproc.ProcessingMode_STREAMED,
		"Buffered": extproc.ProcessingMode_BUFFERED, "BufferedPartial": extproc.ProcessingMode_BUFFERED_PARTIAL,
		"FullDuplexStreamed": extproc.ProcessingMode_FULL_DUPLEX_STREAMED,
	}[mode]
}

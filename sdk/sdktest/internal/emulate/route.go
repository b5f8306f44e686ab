package emulate

import (
	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// again reports whether the request's route is the one for requests with x-reroute: yes. A route is chosen
// when somebody asks for it, and then stays until it is cleared.
func (s *shared) again() bool {
	if !s.routed {
		text, _ := link.Get(s.up.fields, "x-reroute")
		s.routed, s.second = true, text == "yes"
	}
	return s.second
}

// override is the configuration of the filter on a route: what the route says, and where it says nothing,
// what its virtual host does.
func (p Place) override(again bool) *extprocfilterv3.ExtProcPerRoute {
	route := p.Route
	if again {
		route = p.Again
	}
	switch {
	case route == nil:
		return p.VirtualHost
	case p.VirtualHost.GetOverrides() == nil || route.GetOverrides() == nil:
		return route
	}
	own, merged := route.GetOverrides(), proto.CloneOf(p.VirtualHost.GetOverrides())
	if own.GetProcessingMode() != nil {
		merged.ProcessingMode = own.GetProcessingMode()
	}
	if own.GetGrpcService() != nil {
		merged.GrpcService = own.GetGrpcService()
	}
	if own.GetMetadataOptions() != nil {
		merged.MetadataOptions = own.GetMetadataOptions()
	}
	if own.GetFailureModeAllow() != nil {
		merged.FailureModeAllow = own.GetFailureModeAllow()
	}
	merged.GrpcInitialMetadata = append(merged.GetGrpcInitialMetadata(), own.GetGrpcInitialMetadata()...)
	return &extprocfilterv3.ExtProcPerRoute{Override: &extprocfilterv3.ExtProcPerRoute_Overrides{Overrides: merged}}
}

package gatewayapi

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
)

// BackendKind is the kind of [Backend] values; a key's Name is "Kind/name/port".
const BackendKind memo.Kind = "resolved backend"

// Backend is where a reference leads. Immutable.
type Backend struct {
	// EDS names the endpoints' ClusterLoadAssignment, if they change by themselves (EndpointSlices).
	EDS       string
	Endpoints []Endpoint
	// DNS says that addresses are names to resolve.
	DNS bool
	// HTTP2 says that the application speaks HTTP/2 without TLS.
	HTTP2 bool
	// Fault says why the reference leads nowhere.
	Fault  string
	Reason string // the Gateway API's reason for it
}

// Endpoint is one address. Either Address and Port or Path (of a Unix socket) are set.
type Endpoint struct {
	Address string
	Port    uint16
	Path    string
	Zone    string
}

// ResolveBackend follows a reference. It never returns nil.
func ResolveBackend(v *memo.View, from Referrer, ref gatewayv1.BackendObjectReference) *Backend {
	group, kind, namespace := "", "Service", from.Namespace
	if ref.Group != nil {
		group = string(*ref.Group)
	}
	if ref.Kind != nil {
		kind = string(*ref.Kind)
	}
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	service := group == "" && kind == "Service"
	backend := group == egv1alpha1.GroupName && kind == "Backend"
	if !service && !backend {
		return &Backend{Reason: "InvalidKind", Fault: fmt.Sprintf("backendRefs: kind %s of group %q can't be a backend; use Service or Backend", kind, group)}
	}
	if !Granted(v, from, group, kind, namespace, string(ref.Name)) {
		return &Backend{Reason: "RefNotPermitted", Fault: fmt.Sprintf(
			"backendRefs: %s %s/%s is in another namespace and no ReferenceGrant there allows %s of namespace %s",
			kind, namespace, ref.Name, from.Kind, from.Namespace)}
	}
	var port int32
	if ref.Port != nil {
		port = *ref.Port
	}
	if service && port == 0 {
		return &Backend{Reason: "BackendNotFound", Fault: "backendRefs: port is missing for Service " + namespace + "/" + string(ref.Name)}
	}
	return memo.Read[*Backend](v, memo.Key{
		Kind: BackendKind, Namespace: namespace, Name: fmt.Sprintf("%s/%s/%d", kind, ref.Name, port),
	})
}

// Backends decides what a reference may lead to.
type Backends struct {
	// Private are directories with sockets of the gateway's own, which no route may publish. Whoever
	// reached them could read certificates' keys and decide requests.
	Private []string
}

// Rule resolves one Service port or one Backend.
func (b Backends) Rule(v *memo.View, key memo.Key) any {
	kind, rest, _ := strings.Cut(key.Name, "/")
	name, port, _ := strings.Cut(rest, "/")
	if demandsTLS(v, kind, key.Namespace, name) {
		return &Backend{Reason: "UnsupportedValue", Fault: fmt.Sprintf(
			"backendRefs: a BackendTLSPolicy demands TLS to %s %s/%s, which this version doesn't speak", kind, key.Namespace, name)}
	}
	if kind == "Backend" {
		return b.resolve(v, key.Namespace, name)
	}
	number, _ := strconv.ParseInt(port, 10, 32)
	return resolveService(v, key.Namespace, name, int32(number))
}

func notFound(format string, args ...any) *Backend {
	return &Backend{Reason: "BackendNotFound", Fault: fmt.Sprintf("backendRefs: "+format, args...)}
}

func resolveService(v *memo.View, namespace, name string, number int32) *Backend {
	service := memo.Read[*corev1.Service](v, memo.Key{Kind: "Service", Namespace: namespace, Name: name})
	if service == nil {
		return notFound("Service %s/%s doesn't exist; create it or correct the name", namespace, name)
	}
	port, ok := servicePort(service, number)
	if !ok && (service.Spec.Type != corev1.ServiceTypeExternalName || len(service.Spec.Ports) > 0) {
		return notFound("Service %s/%s has no port %d", namespace, name, number)
	}
	tcp, ok := PortNumber(number)
	if !ok {
		return notFound("Service %s/%s: port %d is not between 1 and 65535", namespace, name, number)
	}
	out := &Backend{}
	if port.AppProtocol != nil {
		out.HTTP2 = *port.AppProtocol == "kubernetes.io/h2c"
		if *port.AppProtocol == "kubernetes.io/wss" {
			return secureWebSocket("Service", namespace, name)
		}
	}
	slices := memo.Read[*List[*discoveryv1.EndpointSlice]](v, memo.Key{Kind: slicesOf, Namespace: namespace, Name: name})
	switch {
	case slices != nil:
		out.EDS = fmt.Sprintf("service/%s/%s/%d", namespace, name, number)
		out.Endpoints = endpoints(slices.Items, port)
	case service.Spec.ExternalName != "":
		out.DNS = true
		out.Endpoints = []Endpoint{{Address: service.Spec.ExternalName, Port: tcp}}
	case service.Spec.ClusterIP != "" && service.Spec.ClusterIP != corev1.ClusterIPNone:
		if _, err := netip.ParseAddr(service.Spec.ClusterIP); err != nil {
			return notFound("Service %s/%s: spec.clusterIP %q is not an IP address", namespace, name, service.Spec.ClusterIP)
		}
		out.Endpoints = []Endpoint{{Address: service.Spec.ClusterIP, Port: tcp}}
	}
	return out
}

// secureWebSocket refuses a backend that speaks WebSocket over TLS: without TLS it would get nothing it
// understands. Plain WebSocket is HTTP/1.1 and needs no word.
func secureWebSocket(kind, namespace, name string) *Backend {
	return &Backend{Reason: "UnsupportedProtocol", Fault: fmt.Sprintf(
		"backendRefs: %s %s/%s speaks WebSocket over TLS, which this version doesn't; use kubernetes.io/ws", kind, namespace, name)}
}

func servicePort(service *corev1.Service, number int32) (corev1.ServicePort, bool) {
	for _, p := range service.Spec.Ports {
		if p.Port == number && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
			return p, true
		}
	}
	return corev1.ServicePort{}, false
}

// endpoints lists the ready addresses of the slices' port of the same name, each once.
func endpoints(slices []*discoveryv1.EndpointSlice, port corev1.ServicePort) []Endpoint {
	var all []Endpoint
	seen := map[Endpoint]bool{}
	for _, slice := range slices {
		number, ok := slicePort(slice, port)
		if !ok || slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			for _, address := range e.Addresses {
				if _, err := netip.ParseAddr(address); err != nil {
					continue
				}
				endpoint := Endpoint{Address: address, Port: number}
				if e.Zone != nil {
					endpoint.Zone = *e.Zone
				}
				if !seen[endpoint] {
					seen[endpoint] = true
					all = append(all, endpoint)
				}
			}
		}
	}
	return all
}

func slicePort(slice *discoveryv1.EndpointSlice, port corev1.ServicePort) (uint16, bool) {
	for _, p := range slice.Ports {
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		if p.Port != nil && name == port.Name {
			return PortNumber(*p.Port)
		}
	}
	return 0, false
}

func (b Backends) resolve(v *memo.View, namespace, name string) *Backend {
	object := memo.Read[*egv1alpha1.Backend](v, memo.Key{Kind: "Backend", Namespace: namespace, Name: name})
	if object == nil {
		return notFound("Backend %s/%s doesn't exist; create it or correct the name", namespace, name)
	}
	if object.Spec.TLS != nil || object.Spec.Type != nil && *object.Spec.Type != egv1alpha1.BackendTypeEndpoints {
		return &Backend{Reason: "UnsupportedValue", Fault: fmt.Sprintf(
			"backendRefs: Backend %s/%s: only type Endpoints without tls is supported", namespace, name)}
	}
	out := &Backend{}
	for _, protocol := range object.Spec.AppProtocols {
		out.HTTP2 = out.HTTP2 || protocol == egv1alpha1.AppProtocolTypeH2C
		if protocol == egv1alpha1.AppProtocolTypeWSS {
			return secureWebSocket("Backend", namespace, name)
		}
	}
	names, addresses := 0, 0
	for _, e := range object.Spec.Endpoints {
		endpoint, dns, fault := backendEndpoint(e)
		if fault == "" && endpoint.Path != "" {
			fault = b.checkSocket(endpoint.Path)
		}
		if fault != "" {
			return notFound("Backend %s/%s: %s", namespace, name, fault)
		}
		if dns {
			names++
		} else {
			addresses++
		}
		out.Endpoints = append(out.Endpoints, endpoint)
	}
	if names > 0 && addresses > 0 {
		return notFound("Backend %s/%s mixes fqdn with ip or unix endpoints; split it in two", namespace, name)
	}
	out.DNS = names > 0
	return out
}

// checkSocket goes by the path as it is written, for a translation reads no files. Names of one socket that
// aren't its own, through /proc, are refused therefore; links that others make must be kept out of reach
// by permissions.
func (b Backends) checkSocket(path string) string {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return fmt.Sprintf("unix.path %q must be absolute, without . and ..", path)
	}
	for _, dir := range append([]string{"/proc", "/dev"}, b.Private...) {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return fmt.Sprintf("unix.path %q leads to the gateway's own sockets or to devices; use another directory", path)
		}
	}
	return ""
}

func backendEndpoint(e egv1alpha1.BackendEndpoint) (out Endpoint, dns bool, fault string) {
	if e.Zone != nil {
		out.Zone = *e.Zone
	}
	isPort := true
	switch {
	case e.IP != nil:
		if _, err := netip.ParseAddr(e.IP.Address); err != nil {
			return out, false, fmt.Sprintf("ip.address %q is not an IP address", e.IP.Address)
		}
		out.Address = e.IP.Address
		out.Port, isPort = PortNumber(e.IP.Port)
	case e.FQDN != nil:
		out.Address = e.FQDN.Hostname
		out.Port, isPort = PortNumber(e.FQDN.Port)
	case e.Unix != nil:
		out.Path = e.Unix.Path
	default:
		return out, false, "an endpoint needs one of ip, fqdn and unix"
	}
	if !isPort {
		return out, false, "an endpoint's port is not between 1 and 65535"
	}
	return out, e.IP == nil && e.FQDN != nil, ""
}

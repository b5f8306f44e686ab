package gatewayapi

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// GatewayKind is the kind of [Gateway] values.
const GatewayKind memo.Kind = "resolved Gateway"

// Gateway is a Gateway of ours with its listeners resolved. Immutable.
type Gateway struct {
	// Foreign says that another controller serves it.
	Foreign    bool
	Listeners  []*Listener
	Conditions []status.Condition
}

// Listener is one listener of a Gateway on one address. Immutable.
type Listener struct {
	Namespace, Gateway, Name string
	// Owner is the Gateway, or the ListenerSet that adds the listener to it.
	Owner        resource.Key
	Created      int64 // the Gateway's creation in Unix seconds: the older wins a conflict
	Address      string
	Port         uint16
	TLS          bool
	Hostname     string // "" is any
	Certificates []Certificate
	Client       ClientSettings
	// Fault says why the listener can't serve; such a one is not programmed.
	Fault string
	// FaultType and FaultReason are the condition that tells so: Accepted, ResolvedRefs or Programmed.
	FaultType, FaultReason string
	// Routes limits what may attach.
	Routes *gatewayv1.AllowedRoutes
}

// Certificate is a TLS certificate under its SDS name.
type Certificate struct {
	Name       string
	Chain, Key []byte
}

// ClientSettings is what ClientTrafficPolicy says of a listener.
type ClientSettings struct {
	Detection *egv1alpha1.ClientIPDetectionSettings
}

// Socket returns host:port of the TCP socket.
func (l *Listener) Socket() string {
	return netip.AddrPortFrom(netip.MustParseAddr(l.Address), l.Port).String()
}

// RouteConfig names the RouteConfiguration: HTTP listeners of a socket share one, an HTTPS listener has
// its own, since its filter chain is chosen by SNI.
func (l *Listener) RouteConfig() string {
	if l.TLS {
		return fmt.Sprintf("%s/%s/%s/listener/%s", strings.ToLower(l.Owner.Kind), l.Owner.Namespace, l.Owner.Name, l.Name)
	}
	return "http/" + l.Socket()
}

// Key names the Gateway, or the ListenerSet that adds the listener to it.
func (l *Listener) Key() resource.Key { return l.Owner }

// Rule resolves one Gateway. One of another controller has no listeners.
func (c Classes) Rule(v *memo.View, key memo.Key) any {
	out := &Gateway{}
	gateway := memo.Read[*gatewayv1.Gateway](v, memo.Key{Kind: "Gateway", Namespace: key.Namespace, Name: key.Name})
	if gateway == nil {
		return out
	}
	object := resource.Key{Kind: "Gateway", Namespace: key.Namespace, Name: key.Name}
	if out.Foreign = memo.Read[bool](v, memo.Key{Kind: ForeignKind, Namespace: key.Namespace, Name: key.Name}); out.Foreign {
		return out
	}
	addresses, fault := listenAddresses(gateway)
	if fault != "" {
		out.Conditions = append(out.Conditions, status.Condition{
			Object: object, Type: "Accepted", Reason: "UnsupportedAddress", Message: fault,
		})
	}
	for i := range gateway.Spec.Listeners {
		out.add(v, gateway, object, &gateway.Spec.Listeners[i], addresses)
	}
	out.addSets(v, gateway, addresses)
	return out
}

// add resolves a listener of the Gateway, or of a ListenerSet of it, on every address.
func (g *Gateway) add(v *memo.View, gateway *gatewayv1.Gateway, owner resource.Key, spec *gatewayv1.Listener, addresses []string) {
	g.Conditions = append(g.Conditions, kindConditions(owner, spec)...)
	for _, address := range addresses {
		listener := resolveListener(v, gateway, owner, spec, address)
		if listener.Fault != "" {
			g.Conditions = append(g.Conditions, status.Condition{
				Object: owner, Ancestor: listener.Name, Type: listener.FaultType, Reason: listener.FaultReason, Message: listener.Fault,
			})
		}
		if listener.FaultType == "Programmed" { // by its ClientTrafficPolicy
			g.Conditions = append(g.Conditions, blame(v, listener)...)
		}
		g.Listeners = append(g.Listeners, listener)
	}
}

// listenAddresses returns the IP addresses to bind, all interfaces by default.
func listenAddresses(gateway *gatewayv1.Gateway) (addresses []string, fault string) {
	for _, a := range gateway.Spec.Addresses {
		if a.Type != nil && *a.Type != gatewayv1.IPAddressType {
			fault = fmt.Sprintf("spec.addresses: type %s can't be bound; use type IPAddress", *a.Type)
			continue
		}
		addr, err := netip.ParseAddr(a.Value)
		if err != nil {
			fault = fmt.Sprintf("spec.addresses: %q is not an IP address", a.Value)
			continue
		}
		addresses = append(addresses, addr.String())
	}
	if len(gateway.Spec.Addresses) == 0 {
		addresses = []string{"0.0.0.0"}
	}
	return addresses, fault
}

func resolveListener(v *memo.View, gateway *gatewayv1.Gateway, owner resource.Key, spec *gatewayv1.Listener, address string) *Listener {
	port, isPort := PortNumber(spec.Port)
	l := &Listener{
		Namespace: gateway.Namespace, Gateway: gateway.Name, Owner: owner, Name: string(spec.Name),
		Created: gateway.CreationTimestamp.Unix(), Address: address, Port: port, Routes: spec.AllowedRoutes,
	}
	if spec.Hostname != nil {
		l.Hostname = normalHost(string(*spec.Hostname))
	}
	switch spec.Protocol {
	case gatewayv1.HTTPProtocolType:
	case gatewayv1.HTTPSProtocolType:
		l.TLS = true
		var fault string
		if l.Certificates, fault = certificates(v, owner, spec.TLS); fault != "" {
			reason := certificateReason(v, owner, spec.TLS)
			l.refuse(conditionOf(reason), reason, fault)
		}
	default:
		l.refuse("Accepted", "UnsupportedProtocol", "protocol "+string(spec.Protocol)+" is not supported; use HTTP or HTTPS")
	}
	if !isPort {
		l.refuse("Accepted", "UnsupportedValue", "port "+strconv.Itoa(int(spec.Port))+" is not between 1 and 65535")
	}
	if l.Hostname != "" && !validHostname(l.Hostname) {
		l.refuse("Accepted", "UnsupportedValue", fmt.Sprintf("hostname %q is not a hostname; write a DNS name such as a.example or *.a.example", l.Hostname))
		l.Hostname = ""
	}
	var clientFault string
	if l.Client, clientFault = clientSettings(v, l); clientFault != "" {
		l.refuse("Programmed", "Invalid", clientFault)
	}
	return l
}

func certificates(v *memo.View, owner resource.Key, tls *gatewayv1.ListenerTLSConfig) ([]Certificate, string) {
	if tls == nil || len(tls.CertificateRefs) == 0 {
		return nil, "tls.certificateRefs is missing: name a Secret of type kubernetes.io/tls"
	}
	if tls.Mode != nil && *tls.Mode != gatewayv1.TLSModeTerminate {
		return nil, "tls.mode " + string(*tls.Mode) + " is not supported on an HTTPS listener; use Terminate"
	}
	var all []Certificate
	for _, ref := range tls.CertificateRefs {
		secret, fault := ReadSecret(v, Referrer{Group: gatewayv1.GroupName, Kind: owner.Kind, Namespace: owner.Namespace}, ref)
		if fault != "" {
			return nil, "tls.certificateRefs: " + fault
		}
		chain, key := secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]
		if fault := checkKeyPair(chain, key); fault != "" {
			return nil, fmt.Sprintf("tls.certificateRefs: Secret %s/%s: %s", secret.Namespace, secret.Name, fault)
		}
		certificate := Certificate{Name: "secret/" + secret.Namespace + "/" + secret.Name, Chain: chain, Key: key}
		if !slices.ContainsFunc(all, func(c Certificate) bool { return c.Name == certificate.Name }) {
			all = append(all, certificate)
		}
	}
	return all, ""
}

// clientSettings reads the listener's ClientTrafficPolicy. One that can't be applied takes the listener
// out of service: what it says of addresses and certificates is what other policies rest on.
func clientSettings(v *memo.View, l *Listener) (ClientSettings, string) {
	t, ok := EffectiveOnListener(v, "ClientTrafficPolicy", l)
	if !ok {
		return ClientSettings{}, ""
	}
	policy := memo.Read[*egv1alpha1.ClientTrafficPolicy](v, memo.Key{Kind: "ClientTrafficPolicy", Namespace: t.Namespace, Name: t.Name})
	if policy == nil {
		return ClientSettings{}, ""
	}
	invalid := memo.Read[*string](v, memo.Key{Kind: invalidKind, Namespace: t.Namespace, Name: "ClientTrafficPolicy/" + t.Name})
	switch {
	case invalid != nil:
		return ClientSettings{}, t.Key().String() + ": " + *invalid
	case policy.Spec.TLS != nil:
		return ClientSettings{}, t.Key().String() + ": spec.tls is not supported by this version; remove it"
	case policy.Spec.ClientIPDetection == nil:
		return ClientSettings{}, ""
	}
	detection := policy.Spec.ClientIPDetection
	if fault := checkDetection(detection); fault != "" {
		return ClientSettings{}, t.Key().String() + ": " + fault
	}
	return ClientSettings{Detection: detection}, ""
}

// checkDetection refuses settings under which an address could be forged or mean two things.
func checkDetection(d *egv1alpha1.ClientIPDetectionSettings) string {
	set := 0
	for _, is := range []bool{d.XForwardedFor != nil, d.CustomHeader != nil, d.DirectSourceIP != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return "clientIPDetection: set exactly one of xForwardedFor, customHeader and directSourceIP"
	}
	if d.XForwardedFor == nil {
		return ""
	}
	if d.XForwardedFor.NumTrustedHops != nil && len(d.XForwardedFor.TrustedCIDRs) > 0 {
		return "clientIPDetection.xForwardedFor: set numTrustedHops or trustedCIDRs, not both"
	}
	for _, cidr := range d.XForwardedFor.TrustedCIDRs {
		if _, err := netip.ParsePrefix(string(cidr)); err != nil {
			return fmt.Sprintf("clientIPDetection.xForwardedFor.trustedCIDRs: %q is not a CIDR", cidr)
		}
	}
	return ""
}

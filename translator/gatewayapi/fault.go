package gatewayapi

import (
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// refuse takes the listener out of service. The last fault is the one that is told.
func (l *Listener) refuse(condition, reason, message string) {
	l.FaultType, l.FaultReason, l.Fault = condition, reason, message
}

// certificateReason tells in the Gateway API's words why a listener has no certificate.
func certificateReason(v *memo.View, owner resource.Key, tls *gatewayv1.ListenerTLSConfig) string {
	if tls == nil {
		return string(gatewayv1.ListenerReasonInvalidCertificateRef)
	}
	if tls.Mode != nil && *tls.Mode != gatewayv1.TLSModeTerminate {
		return string(gatewayv1.ListenerReasonUnsupportedValue)
	}
	from := Referrer{Group: gatewayv1.GroupName, Kind: owner.Kind, Namespace: owner.Namespace}
	for _, ref := range tls.CertificateRefs {
		if ref.Namespace != nil && !Granted(v, from, "", "Secret", string(*ref.Namespace), string(ref.Name)) {
			return string(gatewayv1.ListenerReasonRefNotPermitted)
		}
	}
	return string(gatewayv1.ListenerReasonInvalidCertificateRef)
}

// conditionOf names the condition that has the reason.
func conditionOf(reason string) string {
	if reason == string(gatewayv1.ListenerReasonUnsupportedValue) {
		return string(gatewayv1.ListenerConditionAccepted)
	}
	return string(gatewayv1.ListenerConditionResolvedRefs)
}

// blame repeats a listener's fault at the ClientTrafficPolicy that brings it.
func blame(v *memo.View, l *Listener) []status.Condition {
	t, ok := EffectiveOnListener(v, "ClientTrafficPolicy", l)
	if !ok {
		return nil
	}
	return []status.Condition{{
		Object: t.Key(), Type: "Accepted", Reason: "Invalid",
		Message: strings.TrimPrefix(l.Fault, t.Key().String()+": "),
	}}
}

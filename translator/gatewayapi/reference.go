package gatewayapi

import (
	"crypto/tls"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
)

// Referrer is the object that holds a reference.
type Referrer struct{ Group, Kind, Namespace string }

// Granted reports whether from may refer to an object in another namespace: only a ReferenceGrant
// there allows it (GEP-709).
func Granted(v *memo.View, from Referrer, group, kind, namespace, name string) bool {
	if namespace == from.Namespace {
		return true
	}
	list := memo.Read[*List[*gatewayv1.ReferenceGrant]](v, memo.Key{Kind: grantsIn, Namespace: namespace})
	if list == nil {
		return false
	}
	for _, grant := range list.Items {
		if grantsFrom(grant, from) && grantsTo(grant, group, kind, name) {
			return true
		}
	}
	return false
}

func grantsFrom(grant *gatewayv1.ReferenceGrant, from Referrer) bool {
	for _, f := range grant.Spec.From {
		if string(f.Group) == from.Group && string(f.Kind) == from.Kind && string(f.Namespace) == from.Namespace {
			return true
		}
	}
	return false
}

func grantsTo(grant *gatewayv1.ReferenceGrant, group, kind, name string) bool {
	for _, to := range grant.Spec.To {
		if string(to.Group) == group && string(to.Kind) == kind && (to.Name == nil || string(*to.Name) == name) {
			return true
		}
	}
	return false
}

// ReadSecret resolves a reference to a Secret; fault says what is wrong and what to do.
func ReadSecret(v *memo.View, from Referrer, ref gatewayv1.SecretObjectReference) (secret *corev1.Secret, fault string) {
	if ref.Kind != nil && *ref.Kind != "Secret" || ref.Group != nil && *ref.Group != "" {
		return nil, "only a Secret can be referred to here"
	}
	namespace := from.Namespace
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	if !Granted(v, from, "", "Secret", namespace, string(ref.Name)) {
		return nil, fmt.Sprintf("Secret %s/%s is in another namespace and no ReferenceGrant there allows %s of namespace %s",
			namespace, ref.Name, from.Kind, from.Namespace)
	}
	secret = memo.Read[*corev1.Secret](v, memo.Key{Kind: "Secret", Namespace: namespace, Name: string(ref.Name)})
	if secret == nil {
		return nil, fmt.Sprintf("Secret %s/%s doesn't exist; create it or correct the name", namespace, ref.Name)
	}
	return secret, ""
}

// checkKeyPair refuses what Envoy would refuse: one bad certificate would keep a listener from serving.
func checkKeyPair(chain, key []byte) string {
	if len(chain) == 0 || len(key) == 0 {
		return "needs the keys tls.crt and tls.key"
	}
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		return "tls.crt and tls.key are no key pair in PEM form"
	}
	return ""
}

package policy

import (
	"encoding/json"
	"fmt"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
)

func (r *resolver) apiKey(spec *egv1alpha1.APIKeyAuth) *config.APIKey {
	if spec == nil {
		return nil
	}
	out := &config.APIKey{ForwardClientIDHeader: deref(spec.ForwardClientIDHeader), Sanitize: deref(spec.Sanitize)}
	for i, ref := range spec.CredentialRefs {
		out.Credentials = append(out.Credentials, r.clients(fmt.Sprintf("spec.apiKeyAuth.credentialRefs[%d]", i), ref))
	}
	for i, from := range spec.ExtractFrom {
		if from == nil || len(from.Headers)+len(from.Params)+len(from.Cookies) == 0 {
			r.fault("spec.apiKeyAuth.extractFrom[%d]: set headers, params or cookies", i)
			continue
		}
		for kind, names := range keyPlaces(from) {
			for _, name := range names {
				out.Places = append(out.Places, config.KeyPlace{Kind: kind, Name: name})
			}
		}
	}
	return out
}

// keyPlaces yields the lists in the order in which Envoy's filter looks.
func keyPlaces(from *egv1alpha1.ExtractFrom) func(yield func(kind string, names []string) bool) {
	return func(yield func(string, []string) bool) {
		_ = yield("Header", from.Headers) && yield("Param", from.Params) && yield("Cookie", from.Cookies)
	}
}

// clients returns a Source for a whole Secret, whose keys are client ids: a client that comes or goes
// changes no route.
func (r *resolver) clients(field string, ref gatewayv1.SecretObjectReference) config.Source {
	secret, fault := gatewayapi.ReadSecret(r.view, r.referrer("SecurityPolicy"), ref)
	if fault != "" {
		r.fault("%s: %s", field, fault)
		return config.Source{}
	}
	namespace := r.namespace
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	text, err := json.Marshal(secret.Data) // in the order of the ids
	if err != nil {                        // byte slices can't fail to marshal
		panic(err)
	}
	return r.hold("Secret", namespace, string(ref.Name), "*", text)
}

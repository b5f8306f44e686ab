package resource

import (
	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// SecurityPolicy is Envoy Gateway's object together with Gatehouse's own fields of the same document.
type SecurityPolicy struct {
	egv1alpha1.SecurityPolicy
	Own SecurityPolicyOwn
	// JSON is the whole document in canonical spelling, without status: what mergeType merges before
	// decoding with [DecodeSecurityPolicy].
	JSON []byte
	// Invalid is not empty if the document has a fault, and says which. Then only metadata and targets
	// may be used, and the targets answer 503.
	Invalid string
}

// SecurityPolicyOwn mirrors the document's shape: Own.Spec.JWT.Providers[i] belongs to
// Spec.JWT.Providers[i]. Lists are as long as Envoy Gateway's, pointers are nil where those are.
type SecurityPolicyOwn struct {
	Spec SecurityPolicyOwnSpec `json:"spec"`
}

// SecurityPolicyOwnSpec holds the own fields of a SecurityPolicy's spec.
type SecurityPolicyOwnSpec struct {
	// AuthMode says how basicAuth, jwt and apiKeyAuth combine. "" is All.
	AuthMode AuthMode `json:"authMode,omitempty"`
	// Enforcement is the protocol by which Envoy asks. "" is ExtAuthz.
	Enforcement Enforcement `json:"enforcement,omitempty"`
	// DryRun decides, logs and counts, and never denies.
	DryRun    bool          `json:"dryRun,omitempty"`
	BasicAuth *BasicAuthOwn `json:"basicAuth,omitempty"`
	JWT       *JWTOwn       `json:"jwt,omitempty"`
	ExtAuth   *ExtAuthOwn   `json:"extAuth,omitempty"`
	OPA       *OPA          `json:"opa,omitempty"`
}

// AuthMode combines authentication methods.
type AuthMode string

// The modes.
const (
	AuthModeAll AuthMode = "All"
	AuthModeAny AuthMode = "Any"
)

// Enforcement is the protocol by which Envoy asks the authorizer.
type Enforcement string

// The protocols.
const (
	EnforcementExtAuthz Enforcement = "ExtAuthz"
	EnforcementExtProc  Enforcement = "ExtProc"
)

// BasicAuthOwn holds the own fields of spec.basicAuth.
type BasicAuthOwn struct {
	// Realm of the WWW-Authenticate challenge. Default: the policy's namespace/name.
	Realm string `json:"realm,omitempty"`
	// AllowPlaintext accepts htpasswd lines whose password isn't hashed.
	AllowPlaintext bool `json:"allowPlaintext,omitempty"`
}

// JWTOwn holds the own fields of spec.jwt.
type JWTOwn struct {
	Providers []JWTProviderOwn `json:"providers,omitempty"`
}

// JWTProviderOwn holds the own fields of spec.jwt.providers[].
type JWTProviderOwn struct {
	// ClockSkew is the tolerance for exp, nbf and iat. Default 60s.
	ClockSkew *gatewayv1.Duration `json:"clockSkew,omitempty"`
	// RequireExpiration refuses tokens without exp.
	RequireExpiration bool               `json:"requireExpiration,omitempty"`
	RemoteJWKS        *RemoteJWKSOwn     `json:"remoteJWKS,omitempty"`
	ClaimToHeaders    []ClaimToHeaderOwn `json:"claimToHeaders,omitempty"`
}

// RemoteJWKSOwn holds the own fields of spec.jwt.providers[].remoteJWKS.
type RemoteJWKSOwn struct {
	// CACertificateRef names a ConfigMap or Secret of the policy's namespace with a key ca.crt. Default:
	// the system's roots.
	CACertificateRef *gatewayv1.LocalObjectReference `json:"caCertificateRef,omitempty"`
	// MaxStale is how long keys serve after their last good fetch. Default 24h.
	MaxStale *gatewayv1.Duration `json:"maxStale,omitempty"`
	// AllowPrivateAddresses permits an issuer on a loopback, link-local or private address.
	AllowPrivateAddresses bool `json:"allowPrivateAddresses,omitempty"`
}

// ClaimToHeaderOwn holds the own fields of spec.jwt.providers[].claimToHeaders[].
type ClaimToHeaderOwn struct {
	// Format of the header's value. "" is String.
	Format ClaimFormat `json:"format,omitempty"`
}

// ClaimFormat says how a claim becomes a header value.
type ClaimFormat string

// The formats: String takes scalars, CSV arrays of scalars, JSON anything.
const (
	ClaimFormatString ClaimFormat = "String"
	ClaimFormatCSV    ClaimFormat = "CSV"
	ClaimFormatJSON   ClaimFormat = "JSON"
)

// ExtAuthOwn holds the own fields of spec.extAuth.
type ExtAuthOwn struct {
	// HeadersToBackend lists the headers that a gRPC authorization server may add to the request; empty:
	// any. The HTTP form of the field is Envoy Gateway's extAuth.http.headersToBackend.
	HeadersToBackend []string `json:"headersToBackend,omitempty"`
}

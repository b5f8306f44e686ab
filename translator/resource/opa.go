package resource

import gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

// OPA is spec.opa of a SecurityPolicy: Rego that is evaluated after authentication.
type OPA struct {
	Modules []OPAModule `json:"modules,omitempty"`
	Bundles []OPABundle `json:"bundles,omitempty"`
	// Decision is the data path of a boolean or an object. Default envoy/authz/allow.
	Decision string `json:"decision,omitempty"`
	// Body nil: the request body is never buffered.
	Body *OPABody `json:"body,omitempty"`
	// Timeout of one evaluation. Default 100ms, at most 1.5s.
	Timeout *gatewayv1.Duration `json:"timeout,omitempty"`
	// RegoVersion of the modules. "" is V1.
	RegoVersion RegoVersion     `json:"regoVersion,omitempty"`
	DecisionLog *OPADecisionLog `json:"decisionLog,omitempty"`
}

// OPAModule is a Rego module: a union by Type.
type OPAModule struct {
	// Type is never empty: it may be left out of the document where one of the others says it.
	Type   OPAModuleType `json:"type"`
	Inline *string       `json:"inline,omitempty"`
	// ValueRef names a ConfigMap or Secret of the policy's namespace: every key *.rego is a module,
	// *.json and *.yaml are data.
	ValueRef *gatewayv1.LocalObjectReference `json:"valueRef,omitempty"`
}

// OPAModuleType says which field of an OPAModule is set.
type OPAModuleType string

// The types.
const (
	OPAModuleInline   OPAModuleType = "Inline"
	OPAModuleValueRef OPAModuleType = "ValueRef"
)

// RegoVersion is the language version of modules.
type RegoVersion string

// The versions.
const (
	RegoV0 RegoVersion = "V0"
	RegoV1 RegoVersion = "V1"
)

// OPABundle is a bundle fetched from a server, or from a file where the gateway runs on one machine.
type OPABundle struct {
	// URL is https, http together with AllowPrivateAddresses, or file:///PATH.
	URL          string              `json:"url"`
	PollInterval *gatewayv1.Duration `json:"pollInterval,omitempty"`
	// CACertificateRef names a ConfigMap or Secret with the key ca.crt.
	CACertificateRef *gatewayv1.LocalObjectReference `json:"caCertificateRef,omitempty"`
	// AllowPrivateAddresses lets the bundle come from private addresses, and over http.
	AllowPrivateAddresses bool        `json:"allowPrivateAddresses,omitempty"`
	Signing               *OPASigning `json:"signing,omitempty"`
}

// OPASigning names the key that a bundle must be signed with.
type OPASigning struct {
	// KeyRef names a Secret or ConfigMap with the key "key", "publicKey", "public.pem" or "tls.crt".
	KeyRef gatewayv1.LocalObjectReference `json:"keyRef"`
	// Algorithm such as RS256; "" goes by the key.
	Algorithm string `json:"algorithm,omitempty"`
}

// OPABody limits the part of the request body that a policy sees.
type OPABody struct {
	// MaxBytes is at least 1. A longer body denies.
	MaxBytes int64 `json:"maxBytes"`
}

// OPADecisionLog says where decisions are logged.
type OPADecisionLog struct {
	Sink string `json:"sink,omitempty"`
	// Mask lists JSON pointers into the logged event whose values are removed.
	Mask []string `json:"mask,omitempty"`
}

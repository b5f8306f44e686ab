package resource

import egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"

// EnvoyExtensionPolicy is Envoy Gateway's object together with Gatehouse's own fields of the same
// document.
type EnvoyExtensionPolicy struct {
	egv1alpha1.EnvoyExtensionPolicy
	Own EnvoyExtensionPolicyOwn
	// JSON is the whole document in canonical spelling, without status: what mergeType merges before
	// decoding with [DecodeEnvoyExtensionPolicy].
	JSON []byte
	// Invalid is not empty if the document has a fault, and says which. Then only metadata and targets
	// may be used, and the targets answer 503.
	Invalid string
}

// EnvoyExtensionPolicyOwn mirrors the document's shape: Own.Spec.ExtProc[i] belongs to Spec.ExtProc[i].
type EnvoyExtensionPolicyOwn struct {
	Spec EnvoyExtensionPolicyOwnSpec `json:"spec"`
}

// EnvoyExtensionPolicyOwnSpec holds the own fields of an EnvoyExtensionPolicy's spec.
type EnvoyExtensionPolicyOwnSpec struct {
	ExtProc []ExtProcOwn `json:"extProc,omitempty"`
}

// ExtProcOwn holds the own fields of spec.extProc[].
type ExtProcOwn struct {
	ProcessingMode *ProcessingModeOwn `json:"processingMode,omitempty"`
}

// ProcessingModeOwn holds what ext_proc's ProcessingMode message has and Envoy Gateway's type hasn't.
type ProcessingModeOwn struct {
	// RequestTrailers and ResponseTrailers: SEND (true) or SKIP for the trailers of that direction.
	RequestTrailers  bool                    `json:"requestTrailers,omitempty"`
	ResponseTrailers bool                    `json:"responseTrailers,omitempty"`
	Request          *ProcessingDirectionOwn `json:"request,omitempty"`
	Response         *ProcessingDirectionOwn `json:"response,omitempty"`
}

// ProcessingDirectionOwn holds the own fields of processingMode.request and processingMode.response.
type ProcessingDirectionOwn struct {
	// SkipHeaders keeps the headers of a direction from the processor although its body is sent.
	SkipHeaders bool `json:"skipHeaders,omitempty"`
}

package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// maxBody is below Envoy's buffer limit of 1 MiB a connection: at the limit it would stop reading.
const maxBody = 1<<20 - 4096

func (r *resolver) opa(spec *resource.OPA) *config.OPA {
	if spec == nil {
		return nil
	}
	out := &config.OPA{
		Decision: spec.Decision, RegoV0: spec.RegoVersion == resource.RegoV0,
		Timeout: r.duration("spec.opa.timeout", spec.Timeout, 100*time.Millisecond),
	}
	if spec.DecisionLog != nil {
		out.DecisionLog = &config.DecisionLog{Sink: spec.DecisionLog.Sink, Mask: spec.DecisionLog.Mask}
	}
	if out.Timeout > 1500*time.Millisecond || out.Timeout == 0 {
		r.fault("spec.opa.timeout: must be more than 0 and at most 1500ms, the authorizer's own limit is 2s")
	}
	if spec.Body != nil {
		out.BodyMaxBytes = int(spec.Body.MaxBytes)
		if spec.Body.MaxBytes < 1 || spec.Body.MaxBytes > maxBody {
			r.fault("spec.opa.body.maxBytes: must be from 1 to %d, what Envoy buffers of a request", maxBody)
		}
	}
	for i, module := range spec.Modules {
		r.module(out, fmt.Sprintf("spec.opa.modules[%d]", i), module)
	}
	for i, bundle := range spec.Bundles {
		out.Bundles = append(out.Bundles, r.bundle(fmt.Sprintf("spec.opa.bundles[%d]", i), bundle))
	}
	if len(out.Modules)+len(out.Bundles) == 0 {
		r.fault("spec.opa.modules: no Rego module; add one inline, a ConfigMap with a key *.rego, or a bundle")
	}
	return out
}

func (r *resolver) module(out *config.OPA, field string, module resource.OPAModule) {
	switch {
	case module.Inline != nil:
		out.Modules = append(out.Modules, config.Module{Name: field, Source: config.Source{Inline: *module.Inline}})
	case module.ValueRef != nil:
		kind, texts := r.local(field+".valueRef", *module.ValueRef)
		for _, key := range sortedKeys(texts) {
			name := string(module.ValueRef.Name)
			switch {
			case strings.HasSuffix(key, ".rego"):
				out.Modules = append(out.Modules, config.Module{Name: name + "/" + key, Source: r.hold(kind, r.namespace, name, key, texts[key])})
			case strings.HasSuffix(key, ".json"), strings.HasSuffix(key, ".yaml"), strings.HasSuffix(key, ".yml"):
				out.Documents = append(out.Documents, r.hold(kind, r.namespace, name, key, texts[key]))
			}
		}
	}
}

// bundle names the key by the usual names of public keys; of a Secret made by hand, "key".
func (r *resolver) bundle(field string, spec resource.OPABundle) config.Bundle {
	out := config.Bundle{
		URL: spec.URL, AllowPrivateAddresses: spec.AllowPrivateAddresses,
		PollInterval: r.duration(field+".pollInterval", spec.PollInterval, 0),
	}
	if spec.CACertificateRef != nil {
		source := r.localKey(field+".caCertificateRef", *spec.CACertificateRef, "ca.crt")
		out.CACertificate = &source
	}
	if spec.Signing != nil {
		source := r.localKey(field+".signing.keyRef", spec.Signing.KeyRef, "key", "publicKey", "public.pem", "tls.crt")
		out.Key, out.Algorithm = &source, spec.Signing.Algorithm
	}
	return out
}

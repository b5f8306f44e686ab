package resource

import (
	"net/url"
	"reflect"
	"strings"
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// word returns the text of any string type.
func word(value any) string { return reflect.ValueOf(value).String() }

func (r *reader) security(policy *SecurityPolicy) {
	spec, own, at := &policy.Spec, &policy.Own.Spec, path{"spec"}
	r.targets(&spec.PolicyTargetReferences)
	r.enum(at.to("mergeType"), deref(spec.MergeType), egv1alpha1.StrategicMerge, egv1alpha1.JSONMerge)
	r.enum(at.to("authMode"), own.AuthMode, AuthModeAll, AuthModeAny)
	r.enum(at.to("enforcement"), own.Enforcement, EnforcementExtAuthz, EnforcementExtProc)
	r.authorizationHeader(at, spec, own.AuthMode)
	if spec.BasicAuth != nil && spec.BasicAuth.Users.Name == "" {
		r.fault(at.to("basicAuth", "users", "name"), "is missing; name the Secret with the htpasswd lines")
	}
	if spec.JWT != nil {
		r.jwt(at.to("jwt"), spec.JWT, own.JWT)
	}
	if spec.ExtAuth != nil {
		r.extAuth(at.to("extAuth"), spec.ExtAuth, own.ExtAuth)
	}
	if spec.Authorization != nil {
		r.authorization(at.to("authorization"), spec.Authorization)
	}
	if own.OPA != nil {
		r.opa(at.to("opa"), own.OPA)
	}
}

func (r *reader) jwt(at path, jwt *egv1alpha1.JWT, own *JWTOwn) {
	if len(jwt.Providers) == 0 {
		r.fault(at.to("providers"), "is missing; add at least one")
	}
	names := map[string]bool{}
	for i := range jwt.Providers {
		provider, at := &jwt.Providers[i], at.to("providers", i)
		switch {
		case provider.Name == "":
			r.fault(at.to("name"), "is missing")
		case names[provider.Name]:
			r.fault(at.to("name"), "is taken by another provider of this policy")
		}
		names[provider.Name] = true
		r.keys(at, provider)
		if own != nil && i < len(own.Providers) {
			if remote := own.Providers[i].RemoteJWKS; remote != nil && remote.CACertificateRef != nil {
				r.reference(at.to("remoteJWKS", "caCertificateRef"), remote.CACertificateRef)
			}
		}
		for j, claim := range provider.ClaimToHeaders {
			if claim.Claim == "" || claim.Header == "" {
				r.fault(at.to("claimToHeaders", j), "needs claim and header")
			}
			if own != nil && i < len(own.Providers) && j < len(own.Providers[i].ClaimToHeaders) {
				r.enum(at.to("claimToHeaders", j, "format"), own.Providers[i].ClaimToHeaders[j].Format,
					ClaimFormatString, ClaimFormatCSV, ClaimFormatJSON)
			}
		}
	}
}

// keys checks where a provider's keys come from.
func (r *reader) keys(at path, provider *egv1alpha1.JWTProvider) {
	local, remote := provider.LocalJWKS, provider.RemoteJWKS
	switch {
	case local == nil && remote == nil:
		r.fault(at, "needs one of localJWKS and remoteJWKS")
	case local != nil && remote != nil:
		r.fault(at, "has localJWKS and remoteJWKS; keep one of them")
	case remote != nil:
		if at := at.to("remoteJWKS", "uri"); remote.URI == "" {
			r.fault(at, "is missing")
		} else if uri, err := url.Parse(remote.URI); err != nil || uri.Host == "" || uri.Scheme != "https" && uri.Scheme != "http" {
			r.fault(at, "must be an https URL")
		}
	default:
		r.localKeys(at.to("localJWKS"), local)
	}
}

func (r *reader) localKeys(at path, local *egv1alpha1.LocalJWKS) {
	r.enum(at.to("type"), deref(local.Type), egv1alpha1.LocalJWKSTypeInline, egv1alpha1.LocalJWKSTypeValueRef)
	switch byRef := deref(local.Type) == egv1alpha1.LocalJWKSTypeValueRef; {
	case byRef && local.ValueRef == nil:
		r.fault(at.to("valueRef"), "is missing, and type is ValueRef")
	case byRef && local.Inline != nil:
		r.fault(at.to("inline"), "is set, but type is ValueRef; remove one of the two")
	case !byRef && local.Inline == nil:
		r.fault(at.to("inline"), "is missing; for valueRef write type: ValueRef")
	case !byRef && local.ValueRef != nil:
		r.fault(at.to("valueRef"), "is set, but type is Inline; write type: ValueRef, or remove it")
	}
}

func (r *reader) authorization(at path, authorization *egv1alpha1.Authorization) {
	const allow, deny = egv1alpha1.AuthorizationActionAllow, egv1alpha1.AuthorizationActionDeny
	r.enum(at.to("defaultAction"), deref(authorization.DefaultAction), allow, deny)
	for i, rule := range authorization.Rules {
		at := at.to("rules", i)
		r.enum(at.to("action"), rule.Action, allow, deny)
		if rule.Action == "" {
			r.fault(at.to("action"), "is missing; write Allow or Deny")
		}
		if rule.CEL != nil && strings.TrimSpace(string(*rule.CEL)) == "" {
			r.fault(at.to("cel"), "is empty; write a condition, or remove it")
		}
	}
}

// longestEvaluation is what the shared filter's timeout of 2 s leaves for Rego.
const longestEvaluation = 1500 * time.Millisecond

func (r *reader) opa(at path, opa *OPA) {
	r.enum(at.to("regoVersion"), opa.RegoVersion, RegoV0, RegoV1)
	if len(opa.Modules) == 0 && len(opa.Bundles) == 0 {
		r.fault(at, "has no policy; add modules or bundles")
	}
	for i := range opa.Modules {
		r.module(at.to("modules", i), &opa.Modules[i])
	}
	for i, bundle := range opa.Bundles {
		if bundle.URL == "" {
			r.fault(at.to("bundles", i, "url"), "is missing")
		}
		if bundle.CACertificateRef != nil {
			r.reference(at.to("bundles", i, "caCertificateRef"), bundle.CACertificateRef)
		}
		if bundle.Signing != nil {
			r.reference(at.to("bundles", i, "signing", "keyRef"), &bundle.Signing.KeyRef)
		}
	}
	if opa.Body != nil && opa.Body.MaxBytes < 1 {
		r.fault(at.to("body", "maxBytes"), "must be at least 1")
	}
	if opa.Timeout != nil {
		if limit, err := time.ParseDuration(string(*opa.Timeout)); err == nil && (limit <= 0 || limit > longestEvaluation) {
			r.fault(at.to("timeout"), "must be more than 0s and at most 1500ms")
		}
	}
	if opa.DecisionLog != nil {
		r.enum(at.to("decisionLog", "sink"), opa.DecisionLog.Sink, "Stdout", "File")
	}
}

// module checks a union, and completes a type that its only member tells.
func (r *reader) module(at path, module *OPAModule) {
	r.enum(at.to("type"), module.Type, OPAModuleInline, OPAModuleValueRef)
	switch {
	case module.Inline != nil && module.ValueRef != nil:
		r.fault(at, "has inline and valueRef; keep one of them")
	case module.Inline == nil && module.ValueRef == nil:
		r.fault(at, "needs inline or valueRef")
	case module.Type == "" && module.Inline != nil:
		module.Type = OPAModuleInline
	case module.Type == "":
		module.Type = OPAModuleValueRef
	case (module.Type == OPAModuleInline) != (module.Inline != nil):
		r.fault(at.to("type"), "says %s, which isn't set", module.Type)
	}
	if module.ValueRef != nil {
		r.reference(at.to("valueRef"), module.ValueRef)
	}
}

// reference checks one to a ConfigMap or Secret of the policy's namespace.
func (r *reader) reference(at path, ref *gatewayv1.LocalObjectReference) {
	r.enum(at.to("kind"), ref.Kind, "ConfigMap", "Secret")
	if ref.Kind == "" {
		r.fault(at.to("kind"), "is missing; write ConfigMap or Secret")
	}
	if ref.Name == "" {
		r.fault(at.to("name"), "is missing")
	}
	if ref.Group != "" {
		r.fault(at.to("group"), "must be empty")
	}
}

// Package policy turns SecurityPolicy and EnvoyExtensionPolicy objects into what enforces them: a
// policy text for Gatehouse's authorizer, and descriptions of the servers that Envoy has to call.
//
// A policy that can't be turned whole is turned into a fault: its routes answer 503. Nothing is ever
// enforced in part.
package policy

import (
	"fmt"
	"maps"
	"strings"
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// SecurityKind is the kind of [Security] values; a key names a SecurityPolicy.
const SecurityKind memo.Kind = "resolved SecurityPolicy"

// Security is one SecurityPolicy, resolved. Immutable.
type Security struct {
	// Spec is what the authorizer runs, never nil; Ref its reference.
	Spec *config.Policy
	Ref  string
	// Data holds what Spec refers to; missing entries are missing objects.
	Data config.Data
	// ExtAuth is the user's own authorization server, nil if there is none.
	ExtAuth *ExtAuth
	// ExtProc has Envoy ask the authorizer by ext_proc instead of ext_authz.
	ExtProc bool
	// CSRF is for Envoy's own filter; nil: none.
	CSRF *CSRF
	// OIDC is for Envoy's own filter; nil: none.
	OIDC *OIDC
	// Issuer is the OpenID provider whose description is needed, whether it is there or not; "": none. A
	// policy with another fault needs none.
	Issuer     string
	Conditions []status.Condition
}

// Foreign names the fields that Envoy's own filters enforce: what an authorizer alone leaves open. Sorted.
func (s *Security) Foreign() []string {
	var fields []string
	if s.CSRF != nil {
		fields = append(fields, "csrf")
	}
	if s.ExtAuth != nil {
		fields = append(fields, "extAuth")
	}
	if s.OIDC != nil || s.Issuer != "" {
		fields = append(fields, "oidc")
	}
	return fields
}

// SecurityKey is the key of the policy in force where chain applies: the first of it, merged with those
// behind it as far as each says so, below a listener.
func SecurityKey(v *memo.View, chain []gatewayapi.Targeting, listener *gatewayapi.Listener) memo.Key {
	return locate(v, mergeKey(SecurityKind, chain, func(t gatewayapi.Targeting) *egv1alpha1.MergeType {
		if object := readSecurity(v, t.Namespace, t.Name); object != nil {
			return object.Spec.MergeType
		}
		return nil
	}), listener)
}

func readSecurity(v *memo.View, namespace, name string) *resource.SecurityPolicy {
	return memo.Read[*resource.SecurityPolicy](v, memo.Key{Kind: "SecurityPolicy", Namespace: namespace, Name: name})
}

// SecurityRule resolves one SecurityPolicy, or several that merge.
func SecurityRule(v *memo.View, key memo.Key) any {
	names := mergedNames(key)
	r := &resolver{view: v, namespace: key.Namespace, data: config.Data{}, faults: new([]string), warnings: new([]warning)}
	var policies string
	policies, r.place = placeOf(key)
	r.identity = strings.ReplaceAll(policies, mergeSeparator, "+")
	out := &Security{Spec: &config.Policy{Name: key.Namespace + "/" + names[0].name}, Data: r.data}
	if object := r.merged(names); object != nil {
		r.security(object, out)
	}
	fault := strings.Join(*r.faults, "; ")
	switch {
	case fault != "":
		out.deny(fault)
		out.Issuer = "" // nothing is fetched for what wouldn't be used
	case r.awaited != "":
		out.deny(r.awaited)
		out.Spec.Temporary = true
	}
	out.Ref = out.Spec.Ref()
	out.Conditions = []status.Condition{{
		Object: resource.Key{Kind: "SecurityPolicy", Namespace: key.Namespace, Name: names[0].name},
		Type:   "Accepted", True: fault == "", Reason: reason(fault), Message: together("SecurityPolicy", names, fault),
	}}
	for _, w := range *r.warnings {
		out.Conditions = append(out.Conditions, status.Condition{Object: out.Conditions[0].Object, Type: "Warning", True: true, Reason: w.reason, Message: w.message})
	}
	return out
}

// deny has every request answered 503. CORS stays: scripts of an allowed origin must be able to read that.
func (s *Security) deny(why string) {
	s.Spec = &config.Policy{Name: s.Spec.Name, Fault: why, CORS: s.Spec.CORS}
	s.ExtAuth, s.CSRF, s.OIDC = nil, nil, nil
}

func reason(fault string) string {
	if fault != "" {
		return "Invalid"
	}
	return "Accepted"
}

// resolver collects what one policy refers to, and what is wrong with it.
type resolver struct {
	view      *memo.View
	namespace string // in which references without a namespace are looked up
	data      config.Data
	faults    *[]string
	warnings  *[]warning            // what works, and not as its author may think
	awaited   string                // what isn't there yet, and comes without an edit
	identity  string                // the names of the policies that merge, for what must not be confused with another merge's
	place     string                // where databases come from, "" if that isn't asked
	inherited map[string]objectName // fields of the spec that come whole from a policy further out
}

func (r *resolver) fault(format string, args ...any) {
	*r.faults = append(*r.faults, fmt.Sprintf(format, args...))
}

type warning struct{ reason, message string }

// The reasons of warnings.
const (
	noEffect = "NoEffect"
	opens    = "FailsOpen"
)

func (r *resolver) warn(reason, format string, args ...any) {
	*r.warnings = append(*r.warnings, warning{reason, fmt.Sprintf(format, args...)})
}

func (r *resolver) security(object *resource.SecurityPolicy, out *Security) {
	if object.Invalid != "" {
		r.fault("%s", object.Invalid)
		return
	}
	spec, own := &object.Spec, &object.Own.Spec
	p := out.Spec
	out.ExtProc = own.Enforcement == resource.EnforcementExtProc
	p.Mode, p.DryRun = config.Mode(own.AuthMode), own.DryRun
	p.BasicAuth = r.of("basicAuth").basicAuth(spec.BasicAuth, own.BasicAuth, p.Name)
	p.JWT = r.of("jwt").jwt(spec.JWT, own.JWT)
	p.APIKey = r.of("apiKeyAuth").apiKey(spec.APIKeyAuth)
	p.CORS = r.of("cors").cors(spec.CORS)
	p.Authorization = r.of("authorization").authorization(spec.Authorization)
	p.GeoIP = r.geoIP(p.Authorization)
	p.OPA = r.of("opa").opa(own.OPA)
	out.CSRF = r.of("csrf").csrf(spec.CSRF)
	out.OIDC = r.of("oidc").oidc(r.owner("oidc", object.Namespace), spec.OIDC, spec, own.AuthMode == resource.AuthModeAny)
	if out.OIDC != nil && out.OIDC.issuer != "" {
		out.Issuer = out.OIDC.issuer
		if out.OIDC.Backend == nil {
			r.awaited = "spec.oidc.provider: the description of " + out.Issuer + " isn't there yet"
		}
	}
	p.Login = out.OIDC.login(own.AuthMode == resource.AuthModeAny)
	if spec.ExtAuth != nil {
		out.ExtAuth = r.of("extAuth").extAuth(r.owner("extAuth", object.Namespace), spec.ExtAuth, own.ExtAuth)
	}
}

// owner names whose a field is: that of a policy further out where it comes whole from there.
func (r *resolver) owner(field, namespace string) objectName {
	if from, ok := r.inherited[field]; ok {
		return from
	}
	return objectName{namespace, r.identity}
}

// secret returns a Source for a key of a Secret: the first of keys that is there.
func (r *resolver) secret(field string, ref gatewayv1.SecretObjectReference, keys ...string) config.Source {
	namespace := r.namespace
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	secret, fault := gatewayapi.ReadSecret(r.view, r.referrer("SecurityPolicy"), ref)
	if fault != "" {
		r.fault("%s: %s", field, fault)
		return config.Source{}
	}
	for _, key := range keys {
		if text, ok := secret.Data[key]; ok {
			return r.hold("Secret", namespace, string(ref.Name), key, text)
		}
	}
	r.fault("%s: Secret %s/%s needs one of the keys %s", field, namespace, ref.Name, strings.Join(keys, ", "))
	return config.Source{}
}

func (r *resolver) referrer(kind string) gatewayapi.Referrer {
	return gatewayapi.Referrer{Group: egv1alpha1.GroupName, Kind: kind, Namespace: r.namespace}
}

func (r *resolver) hold(kind, namespace, name, key string, text []byte) config.Source {
	ref := strings.Join([]string{kind, namespace, name, key}, "/")
	r.data[ref] = text
	return config.Source{Ref: ref}
}

// local reads every key of a ConfigMap or Secret of the policy's namespace.
func (r *resolver) local(field string, ref gatewayv1.LocalObjectReference) (kind string, keys map[string][]byte) {
	name := string(ref.Name)
	key := memo.Key{Kind: memo.Kind(ref.Kind), Namespace: r.namespace, Name: name}
	switch ref.Kind {
	case "ConfigMap":
		if object := memo.Read[*corev1.ConfigMap](r.view, key); object != nil {
			keys = maps.Clone(object.BinaryData)
			if keys == nil {
				keys = map[string][]byte{}
			}
			for k, text := range object.Data {
				keys[k] = []byte(text)
			}
			return "ConfigMap", keys
		}
	case "Secret":
		if object := memo.Read[*corev1.Secret](r.view, key); object != nil {
			return "Secret", object.Data
		}
	default:
		r.fault("%s: kind %q can't be referred to here; use ConfigMap or Secret", field, ref.Kind)
		return "", nil
	}
	r.fault("%s: %s %s/%s doesn't exist; create it or correct the name", field, ref.Kind, r.namespace, name)
	return "", nil
}

// localKey is local for one key of several accepted ones.
func (r *resolver) localKey(field string, ref gatewayv1.LocalObjectReference, keys ...string) config.Source {
	kind, texts := r.local(field, ref)
	if texts == nil {
		return config.Source{}
	}
	for _, key := range keys {
		if text, ok := texts[key]; ok {
			return r.hold(kind, r.namespace, string(ref.Name), key, text)
		}
	}
	r.fault("%s: %s %s/%s needs one of the keys %s", field, kind, r.namespace, ref.Name, strings.Join(keys, ", "))
	return config.Source{}
}

// duration parses a Gateway API duration, which Go's syntax includes.
func (r *resolver) duration(field string, d *gatewayv1.Duration, byDefault time.Duration) time.Duration {
	if d == nil {
		return byDefault
	}
	parsed, err := time.ParseDuration(string(*d))
	if err != nil || parsed < 0 {
		r.fault("%s: %q is not a duration; write 10s, 1500ms or 1h30m", field, *d)
		return byDefault
	}
	return parsed
}

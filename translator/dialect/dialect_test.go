package dialect_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/gatehouse-proxy/gatehouse/translator/dialect"
)

// document reads YAML as the decoder of manifests hands it over: integers as int64.
func document(t *testing.T, text string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return widen(object).(map[string]any)
}

func widen(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = widen(v[key])
		}
	case []any:
		for i := range v {
			v[i] = widen(v[i])
		}
	case int:
		return int64(v)
	}
	return value
}

// want is what becomes of one spelling. Warnings and faults are beginnings of "path: message".
type want struct {
	kind, given, canonical string
	warnings, faults       []string
}

var spellings = map[string]want{
	"13 CORS maxAge in seconds": {
		kind: "SecurityPolicy", given: "spec: {cors: {maxAge: 86400}}", canonical: "spec: {cors: {maxAge: 86400s}}",
		warnings: []string{`spec.cors.maxAge: is accepted as a number of seconds; the canonical form is "86400s"`},
	},
	"13 CORS maxAge of six digits": {
		kind: "SecurityPolicy", given: "spec: {cors: {maxAge: 100000}}", canonical: "spec: {cors: {maxAge: 27h46m40s}}",
		warnings: []string{"spec.cors.maxAge"},
	},
	"13 CORS maxAge that is canonical": {
		kind: "SecurityPolicy", given: "spec: {cors: {maxAge: 1h}}", canonical: "spec: {cors: {maxAge: 1h}}",
	},
	"16 extAuth headersToBackend below grpc": {
		kind:      "SecurityPolicy",
		given:     "spec: {extAuth: {grpc: {backendRefs: [], headersToBackend: [a]}}}",
		canonical: "spec: {extAuth: {grpc: {backendRefs: []}, headersToBackend: [a]}}",
		warnings:  []string{"spec.extAuth.grpc.headersToBackend: is accepted; the canonical form is spec.extAuth.headersToBackend"},
	},
	"16 extAuth headersToBackend in both places": {
		kind:      "SecurityPolicy",
		given:     "spec: {extAuth: {grpc: {backendRefs: [], headersToBackend: [a]}, headersToBackend: [b]}}",
		canonical: "spec: {extAuth: {grpc: {backendRefs: []}, headersToBackend: [b]}}",
		faults:    []string{"spec.extAuth.grpc.headersToBackend: contradicts spec.extAuth.headersToBackend"},
	},
	"16 extAuth singular backendRef": {
		kind:      "SecurityPolicy",
		given:     "spec: {extAuth: {grpc: {backendRef: {name: a, port: 1}}}}",
		canonical: "spec: {extAuth: {grpc: {backendRefs: [{name: a, port: 1}]}}}",
		warnings:  []string{"spec.extAuth.grpc.backendRef: is accepted; the canonical form is the list spec.extAuth.grpc.backendRefs"},
	},
	"16 extAuth backendRef beside backendRefs": {
		kind:      "SecurityPolicy",
		given:     "spec: {extAuth: {http: {backendRef: {name: a}, backendRefs: [{name: b}]}}}",
		canonical: "spec: {extAuth: {http: {backendRef: {name: a}, backendRefs: [{name: b}]}}}",
		faults:    []string{"spec.extAuth.http.backendRef: contradicts"},
	},
	"17 JWT provider and claim as single objects, seconds": {
		kind:      "SecurityPolicy",
		given:     "spec: {jwt: {providers: {name: a, clockSkew: 5, remoteJWKS: {cacheDuration: 60, maxStale: 10}, claimToHeaders: {claim: sub}}}}",
		canonical: "spec: {jwt: {providers: [{name: a, clockSkew: 5s, remoteJWKS: {cacheDuration: 60s, maxStale: 10s}, claimToHeaders: [{claim: sub}]}]}}",
		warnings: []string{
			"spec.jwt.providers: is accepted as a single object", "spec.jwt.providers.0.remoteJWKS.cacheDuration",
			"spec.jwt.providers.0.claimToHeaders", "spec.jwt.providers.0.clockSkew", "spec.jwt.providers.0.remoteJWKS.maxStale",
		},
	},
	"OPA in seconds, single module and bundle": {
		kind:      "SecurityPolicy",
		given:     "spec: {opa: {timeout: 1, modules: {inline: x}, bundles: {url: u, pollInterval: 60}}}",
		canonical: "spec: {opa: {timeout: 1s, modules: [{inline: x}], bundles: [{url: u, pollInterval: 60s}]}}",
		warnings:  []string{"spec.opa.modules", "spec.opa.bundles", "spec.opa.timeout", "spec.opa.bundles.0.pollInterval"},
	},
	"a single target where a list belongs": {
		kind: "SecurityPolicy", given: "spec: {targetRefs: {name: a}}", canonical: "spec: {targetRefs: [{name: a}]}",
		warnings: []string{"spec.targetRefs: is accepted as a single object"},
	},
	"targetRef stays": {
		kind: "SecurityPolicy", given: "spec: {targetRef: {name: a}}", canonical: "spec: {targetRef: {name: a}}",
	},
	"24 extProc as the handbook writes it": {
		kind: "EnvoyExtensionPolicy",
		given: `spec: {extProc: {backendRef: {name: a, port: 1}, messageTimeout: 1,
			processingMode: {requestHeaderMode: SEND, responseHeaderMode: SEND}}}`,
		canonical: `spec: {extProc: [{backendRefs: [{name: a, port: 1}], messageTimeout: 1s,
			processingMode: {request: {}, response: {}}}]}`,
		warnings: []string{
			"spec.extProc: is accepted as a single object", "spec.extProc.0.backendRef: ", "spec.extProc.0.messageTimeout: ",
			"spec.extProc.0.processingMode.requestHeaderMode: is accepted; the canonical form is spec.extProc[].processingMode.request: {}",
			"spec.extProc.0.processingMode.responseHeaderMode: ",
		},
	},
	"24 SKIP leaves the direction out": modes(
		"requestHeaderMode: skip, responseHeaderMode: Skip", "",
		"requestHeaderMode: is accepted; the canonical form is to leave", "responseHeaderMode"),
	"24 an absent header mode is Envoy's default": modes(
		"requestHeaderMode: SKIP", "response: {}", ": responseHeaderMode is absent", "requestHeaderMode"),
	"24 DEFAULT sends headers": modes(
		"requestHeaderMode: DEFAULT, responseHeaderMode: SKIP", "request: {}", "requestHeaderMode", "responseHeaderMode"),
	"24 bodies in Envoy's spelling": modes(
		"requestHeaderMode: SEND, requestBodyMode: FULL_DUPLEX_STREAMED, responseHeaderMode: SEND, responseBodyMode: buffered_partial",
		"request: {body: FullDuplexStreamed}, response: {body: BufferedPartial}",
		"requestBodyMode: is accepted; the canonical form is spec.extProc[].processingMode.request.body: FullDuplexStreamed",
		"requestHeaderMode", "responseBodyMode", "responseHeaderMode"),
	"24 NONE is no body": modes(
		"requestHeaderMode: SEND, requestBodyMode: NONE, responseHeaderMode: SKIP, responseBodyMode: NONE", "request: {}",
		"requestBodyMode", "requestHeaderMode", "responseBodyMode", "responseHeaderMode"),
	"24 a body without its headers": modes(
		"requestHeaderMode: SKIP, requestBodyMode: STREAMED, responseHeaderMode: SKIP",
		"request: {body: Streamed, skipHeaders: true}", "requestBodyMode",
		"requestHeaderMode: is accepted; the canonical form is spec.extProc[].processingMode.request.skipHeaders: true", "responseHeaderMode"),
	"24 trailers": modes(
		"request: {}, response: {}, requestTrailerMode: SEND, responseTrailerMode: SKIP",
		"request: {}, response: {}, requestTrailers: true, responseTrailers: false", "requestTrailerMode", "responseTrailerMode"),
	"letter case of canonical bodies": modes(
		"request: {body: STREAMED}, response: {body: none}", "request: {body: Streamed}, response: {}",
		"request.body: is accepted; the canonical form is Streamed", "response.body: NONE"),
	"canonical modes": modes("request: {body: Buffered}, response: {}", "request: {body: Buffered}, response: {}"),
	"24 values that don't exist": {
		kind:      "EnvoyExtensionPolicy",
		given:     "spec: {extProc: [{processingMode: {request: {}, response: {}, requestHeaderMode: YES, requestBodyMode: ALL, responseTrailerMode: 1}}]}",
		canonical: "spec: {extProc: [{processingMode: {request: {}, response: {}}}]}",
		faults: []string{
			"spec.extProc.0.processingMode.requestBodyMode: must be NONE", "spec.extProc.0.processingMode.requestHeaderMode: must be SEND",
			"spec.extProc.0.processingMode.responseTrailerMode: must be SEND",
		},
	},
	"5 circuit breaker": {
		kind:      "BackendTrafficPolicy",
		given:     "spec: {circuitBreaker: {maxRequests: 1, maxRetries: 2}}",
		canonical: "spec: {circuitBreaker: {maxParallelRequests: 1, maxParallelRetries: 2}}",
		warnings:  []string{"spec.circuitBreaker.maxRequests", "spec.circuitBreaker.maxRetries"},
	},
	"6 timeout and retry": {
		kind:      "BackendTrafficPolicy",
		given:     "spec: {timeout: {request: 10}, retry: {perRetryTimeout: 3}}",
		canonical: "spec: {timeout: {http: {requestTimeout: 10s}}, retry: {perRetry: {timeout: 3s}}}",
		warnings:  []string{"spec.timeout.request", "spec.timeout.request", "spec.retry.perRetryTimeout", "spec.retry.perRetryTimeout"},
	},
	"8 passive health check": {
		kind:      "BackendTrafficPolicy",
		given:     "spec: {healthCheck: {passive: {consecutive5xxErrors: 5}}}",
		canonical: "spec: {healthCheck: {passive: {consecutive5XxErrors: 5}}}",
		warnings:  []string{"spec.healthCheck.passive.consecutive5xxErrors"},
	},
	"12 merge slashes": {
		kind:      "ClientTrafficPolicy",
		given:     "spec: {path: {mergeSlashes: true}}",
		canonical: "spec: {path: {disableMergeSlashes: false}}",
		warnings:  []string{"spec.path.mergeSlashes: is accepted; the canonical form is spec.path.disableMergeSlashes: false"},
	},
	"12 merge slashes twice": {
		kind:      "ClientTrafficPolicy",
		given:     "spec: {path: {mergeSlashes: true, disableMergeSlashes: true}}",
		canonical: "spec: {path: {mergeSlashes: true, disableMergeSlashes: true}}",
		faults:    []string{"spec.path.mergeSlashes: contradicts"},
	},
	"18 BackendTLSPolicy v1alpha2": {
		kind: "BackendTLSPolicy",
		given: `{apiVersion: gateway.networking.k8s.io/v1alpha2,
			spec: {targetRef: {name: a}, tls: {certificateAuthorityRefs: {name: ca}, hostname: h}}}`,
		canonical: `{apiVersion: gateway.networking.k8s.io/v1,
			spec: {targetRefs: [{name: a}], validation: {caCertificateRefs: [{name: ca}], hostname: h}}}`,
		warnings: []string{
			"apiVersion: gateway.networking.k8s.io/v1alpha2 is accepted", "spec.targetRef", "spec.tls.certificateAuthorityRefs",
			"spec.tls.certificateAuthorityRefs", "spec.tls.hostname",
		},
	},
	"21 tracing": {
		kind:      "EnvoyProxy",
		given:     "spec: {telemetry: {tracing: {provider: {type: OpenTelemetry, openTelemetry: {host: h, port: 4317}}}}}",
		canonical: "spec: {telemetry: {tracing: {provider: {type: OpenTelemetry, host: h, port: 4317}}}}",
		warnings:  []string{"spec.telemetry.tracing.provider.openTelemetry.host", "spec.telemetry.tracing.provider.openTelemetry.port"},
	},
	"22 connection pool": {
		kind: "BackendTrafficPolicy",
		given: `spec: {connectionPool: {maxConnections: 1, maxPendingRequests: 2, maxRequestsPerConnection: 0, idleTimeout: 3600},
			circuitBreaker: {maxParallelRequests: 9}}`,
		canonical: `spec: {circuitBreaker: {maxConnections: 1, maxPendingRequests: 2, maxRequestsPerConnection: 0, maxParallelRequests: 9},
			timeout: {http: {connectionIdleTimeout: 3600s}}}`,
		warnings: []string{
			"spec.connectionPool.maxConnections", "spec.connectionPool.maxPendingRequests",
			"spec.connectionPool.maxRequestsPerConnection", "spec.connectionPool.idleTimeout", "spec.connectionPool.idleTimeout",
		},
	},
	"seconds in a route": {
		kind:      "HTTPRoute",
		given:     "spec: {rules: [{timeouts: {request: 10}}]}",
		canonical: "spec: {rules: [{timeouts: {request: 10s}}]}",
		warnings:  []string{"spec.rules.0.timeouts.request"},
	},
	"values that aren't seconds": {
		kind:      "SecurityPolicy",
		given:     "spec: {cors: {maxAge: -1}, extAuth: {timeout: 1.5}}",
		canonical: "spec: {cors: {maxAge: -1}, extAuth: {timeout: 1.5}}",
	},
	"a kind without rows": {kind: "Service", given: "spec: {a: 1}", canonical: "spec: {a: 1}"},
}

// modes is a spelling of processingMode.
func modes(given, canonical string, warnings ...string) want {
	const form = "spec: {extProc: [{processingMode: {%s}}]}"
	for i := range warnings {
		if !strings.HasPrefix(warnings[i], ":") {
			warnings[i] = "." + warnings[i]
		}
		warnings[i] = "spec.extProc.0.processingMode" + warnings[i]
	}
	return want{
		kind: "EnvoyExtensionPolicy", given: fmt.Sprintf(form, given), canonical: fmt.Sprintf(form, canonical), warnings: warnings,
	}
}

func TestOtherSpellingsBecomeCanonical(t *testing.T) {
	t.Parallel()
	for name, want := range spellings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			given := document(t, want.given)
			got, findings := dialect.Rewrite(want.kind, given)
			if diff := cmp.Diff(document(t, want.canonical), got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(document(t, want.given), given); diff != "" {
				t.Error("the given document has changed:", diff)
			}
			var warnings, faults []string
			for _, f := range findings {
				text := strings.ReplaceAll(strings.Trim(fmt.Sprint(f.Path), "[]"), " ", ".") + ": " + f.Message
				if f.Fault {
					faults = append(faults, text)
				} else {
					warnings = append(warnings, text)
				}
			}
			compare(t, "warnings", want.warnings, warnings)
			compare(t, "faults", want.faults, faults)
			again, more := dialect.Rewrite(want.kind, got)
			if len(want.faults) == 0 && (len(more) != 0 || !cmp.Equal(got, again)) {
				t.Errorf("the canonical form isn't stable: %v, %v", again, more)
			}
		})
	}
}

func compare(t *testing.T, what string, want, got []string) {
	t.Helper()
	ok := len(want) == len(got)
	for i := range want {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("%s are\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRowsTellWhatTheyDo(t *testing.T) {
	t.Parallel()
	for _, kind := range dialect.Kinds() {
		for _, row := range dialect.Rows(kind) {
			if row.Kind != kind || row.Field == "" || row.Canonical == "" {
				t.Errorf("%+v: a row without field or canonical form", row)
			}
		}
	}
}

func TestSecondsAsDuration(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int64]string{
		0: "0s", 86400: "86400s", 99999: "99999s", 100000: "27h46m40s", 360000: "100h", 359996400: "99999h",
		-1: "", 360000000: "",
	} {
		if got, ok := dialect.Duration(seconds); got != want || ok != (want != "") {
			t.Errorf("%d is %q, %t; want %q", seconds, got, ok, want)
		}
	}
}

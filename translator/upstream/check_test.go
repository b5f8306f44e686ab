package upstream_test

import (
	"strings"
	"testing"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"

	"github.com/gatehouse-proxy/gatehouse/translator/upstream"
)

// TestAFaultNamesItsField: of fields that are judged alike, too.
func TestAFaultNamesItsField(t *testing.T) {
	t.Parallel()
	type http = egv1alpha1.HTTPActiveHealthChecker
	payload := &egv1alpha1.ActiveHealthCheckPayload{Type: egv1alpha1.ActiveHealthCheckPayloadTypeText}
	for field, check := range map[string]http{
		"path":              {Path: "health"},
		"path:":             {Path: "/\r\nx: y"},
		"hostname":          {Path: "/", Hostname: new("a\x7fb")},
		"method":            {Path: "/", Method: new("BREW")},
		"expectedStatuses":  {Path: "/", ExpectedStatuses: []egv1alpha1.HTTPStatus{200, 600}},
		"retriableStatuses": {Path: "/", RetriableStatuses: []egv1alpha1.HTTPStatus{99}},
		"expectedResponse":  {Path: "/", ExpectedResponse: payload},
		"requestBody":       {Path: "/", Method: new("POST"), RequestBody: payload},
		"requestBody:":      {Path: "/", RequestBody: &egv1alpha1.ActiveHealthCheckPayload{Type: egv1alpha1.ActiveHealthCheckPayloadTypeText, Text: new("x")}},
		"":                  {Path: "/", Method: new("HEAD"), ExpectedStatuses: []egv1alpha1.HTTPStatus{200}, RetriableStatuses: []egv1alpha1.HTTPStatus{503}},
	} {
		settings := &egv1alpha1.ClusterSettings{HealthCheck: &egv1alpha1.HealthCheck{
			Active: &egv1alpha1.ActiveHealthCheck{Type: egv1alpha1.ActiveHealthCheckerTypeHTTP, HTTP: &check},
		}}
		faults := upstream.Check("spec.s", settings, upstream.Use{})
		if field == "" {
			if len(faults) != 0 {
				t.Errorf("a sound one: %q", faults)
			}
			continue
		}
		if len(faults) != 1 || !strings.HasPrefix(faults[0], "spec.s.healthCheck.active.http."+strings.TrimSuffix(field, ":")+":") {
			t.Errorf("%s: %q", field, faults)
		}
	}
}

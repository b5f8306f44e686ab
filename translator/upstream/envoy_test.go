package upstream_test

import (
	"fmt"
	"strings"
	"testing"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
	"github.com/gatehouse-proxy/gatehouse/translator/upstream"
)

// edges are settings at the edges of what there is. Each is a fault or a cluster that Envoy takes.
var edges = []string{
	"timeout: {tcp: {connectTimeout: 1ms}}",
	"timeout: {tcp: {connectTimeout: 876000h}}",
	"timeout: {tcp: {connectTimeout: 0s}}",
	"timeout: {http: {connectionIdleTimeout: 0s, maxConnectionDuration: 0s, maxStreamDuration: 0s}}",
	"timeout: {http: {connectionIdleTimeout: 1ms, maxConnectionDuration: 1ms, maxStreamDuration: 1ms, requestTimeout: 1ms}}",
	"timeout: {http: {connectionIdleTimeout: 876000h, maxConnectionDuration: 876000h, maxStreamDuration: 876000h}}",
	"circuitBreaker: {maxConnections: 0, maxPendingRequests: 0, maxParallelRequests: 0, maxParallelRetries: 0, maxRequestsPerConnection: 0, perEndpoint: {maxConnections: 0}}",
	"circuitBreaker: {maxConnections: 4294967295, maxPendingRequests: 4294967295, maxParallelRequests: 4294967295, maxParallelRetries: 4294967295, maxRequestsPerConnection: 4294967295}",
	"circuitBreaker: {maxConnections: 4294967296}",
	"circuitBreaker: {retryBudget: {percent: {numerator: 0}, minRetryConcurrency: 0}}",
	"circuitBreaker: {retryBudget: {percent: {numerator: 3, denominator: 3}, minRetryConcurrency: 4294967295}}",
	"circuitBreaker: {retryBudget: {percent: {numerator: 4, denominator: 3}}}",
	"circuitBreaker: {retryBudget: {percent: {numerator: 1, denominator: 0}}}",
	"connection: {bufferLimit: 0}",
	"connection: {bufferLimit: 1}",
	"connection: {bufferLimit: 4294967295}",
	"{connection: {preconnect: {perEndpointPercent: 100, predictivePercent: 100}}, loadBalancer: {type: Random}}",
	"{connection: {preconnect: {perEndpointPercent: 300, predictivePercent: 300}}, loadBalancer: {type: RoundRobin}}",
	"{connection: {preconnect: {predictivePercent: 301}}, loadBalancer: {type: RoundRobin}}",
	"connection: {preconnect: {}}",
	"tcpKeepalive: {}",
	"tcpKeepalive: {probes: 0, idleTime: 1s, interval: 1s}",
	"tcpKeepalive: {probes: 4294967295, idleTime: 876000h, interval: 1500ms}",
	"dns: {dnsRefreshRate: 1ms}",
	"dns: {dnsRefreshRate: 2ms, respectDnsTtl: false, lookupFamily: IPv4AndIPv6}",
	"dns: {dnsRefreshRate: 876000h, lookupFamily: IPv6Preferred}",
	"healthCheck: {panicThreshold: 0}",
	"healthCheck: {panicThreshold: 100, passive: {}}",
	"healthCheck: {passive: {interval: 1ms, baseEjectionTime: 1ms, consecutive5XxErrors: 0, consecutiveGatewayErrors: 0, consecutiveLocalOriginFailures: 0, maxEjectionPercent: 0, failurePercentageThreshold: 0, splitExternalLocalOriginErrors: true}}",
	"healthCheck: {passive: {interval: 876000h, baseEjectionTime: 876000h, maxEjectionPercent: 100, failurePercentageThreshold: 100, alwaysEjectOneEndpoint: true}}",
	"healthCheck: {active: {type: TCP}}",
	"healthCheck: {active: {type: TCP, tcp: {send: {type: Text, text: a}, receive: {type: Binary, binary: AAEC}}}}",
	"healthCheck: {active: {type: TCP, timeout: 1ms, interval: 1ms, initialJitter: 0s, unhealthyThreshold: 1, healthyThreshold: 1}}",
	"healthCheck: {active: {type: TCP, timeout: 876000h, interval: 876000h, initialJitter: 876000h, unhealthyThreshold: 4294967295, healthyThreshold: 4294967295}}",
	"healthCheck: {active: {type: GRPC}}",
	`healthCheck: {active: {type: GRPC, grpc: {service: "a\nb"}}}`,
	"healthCheck: {active: {type: HTTP, http: {path: /, expectedStatuses: [100, 599], retriableStatuses: [100, 599]}}}",
	"healthCheck: {active: {type: HTTP, http: {path: /, expectedStatuses: [200], retriableStatuses: [200]}}}",
	`healthCheck: {active: {type: HTTP, http: {path: "/ä \t", hostname: ""}}}`,
	`healthCheck: {active: {type: HTTP, http: {path: "/", hostname: "a\u000bb"}}}`,
	"healthCheck: {active: {type: HTTP, http: {path: /, requestBody: {type: Text, text: a}}}}",
	"healthCheck: {active: {type: HTTP, http: {path: /, method: TRACE, requestBody: {type: Text, text: a}}}}",
	"healthCheck: {active: {type: HTTP, http: {path: /, method: OPTIONS, requestBody: {type: Text, text: a}, expectedResponse: {type: Text, text: b}}}}",
	"healthCheck: {active: {type: HTTP, http: {path: /, method: HEAD, expectedResponse: {type: Text, text: b}}}}",
	"http2: {}",
	"http2: {initialStreamWindowSize: 65535, initialConnectionWindowSize: 65535, maxConcurrentStreams: 1, onInvalidMessage: TerminateStream}",
	"http2: {initialStreamWindowSize: 2147483647, initialConnectionWindowSize: 2147483647, maxConcurrentStreams: 2147483647}",
	"http2: {connectionKeepalive: {}}",
	"http2: {connectionKeepalive: {interval: 1ms, timeout: 1ms, idleInterval: 1ms, intervalJitter: 0}}",
	"http2: {connectionKeepalive: {interval: 876000h, timeout: 876000h, idleInterval: 876000h, intervalJitter: 100}}",
	"loadBalancer: {type: LeastRequest, slowStart: {window: 1ms}}",
	"loadBalancer: {type: RoundRobin, slowStart: {window: 876000h}}",
	"proxyProtocol: {version: V1}",
	"proxyProtocol: {version: V2}",
}

// TestWhatIsNoFaultEnvoyTakes: one cluster that it refuses would be a route without its server.
func TestWhatIsNoFaultEnvoyTakes(t *testing.T) {
	t.Parallel()
	var sound []string
	for i, text := range edges {
		var s egv1alpha1.ClusterSettings
		if err := yaml.UnmarshalStrict([]byte(text), &s); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, use := range []upstream.Use{{}, {HTTP2: true}, {DNS: true}} {
			if len(upstream.Check("settings", &s, use)) == 0 {
				sound = append(sound, clusterOf(t, fmt.Sprintf("c%d-%v-%v", i, use.HTTP2, use.DNS), &s, use))
			}
		}
	}
	if len(sound) < len(edges) {
		t.Errorf("only %d of %d are without a fault", len(sound), len(edges))
	}
	check := func(clusters []string) error {
		output, err := envoytest.Check(t, `{"static_resources": {"clusters": [`+strings.Join(clusters, ",")+`]}}`)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		return nil
	}
	if check(sound) == nil {
		return
	}
	for _, one := range sound {
		if err := check([]string{one}); err != nil {
			t.Errorf("%s\n%v", one, err)
		}
	}
}

// clusterOf is the cluster of a server with these settings, as JSON.
func clusterOf(t *testing.T, name string, s *egv1alpha1.ClusterSettings, use upstream.Use) string {
	t.Helper()
	backend := &gatewayapi.Backend{DNS: use.DNS, Endpoints: []gatewayapi.Endpoint{{Address: "localhost", Port: 80}}}
	if !use.DNS {
		backend.Endpoints[0].Address = "127.0.0.1"
	}
	made, _ := envoy.ServerCluster(&policy.Server{Name: name, Backend: backend, Settings: s}, use.HTTP2)
	cluster := new(clusterv3.Cluster)
	if err := proto.Unmarshal(made.Body, cluster); err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

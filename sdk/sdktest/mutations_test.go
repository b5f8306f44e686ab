package sdktest_test

import (
	"fmt"
	"net/http"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// mutationCases are header mutations and the rules about them.
func mutationCases() (all []conform) {
	long := make([]string, 0, 220)
	for i := range 110 {
		long = append(long, fmt.Sprintf("x-%d", i), "v")
	}
	valueOf := func(v *corev3.HeaderValue) *extprocv3.HeaderMutation {
		return &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{{Header: v}}}
	}
	action := func(a corev3.HeaderValueOption_HeaderAppendAction) *extprocv3.HeaderMutation {
		return &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{{
			Header: &corev3.HeaderValue{Key: "x-old", RawValue: []byte("new")}, AppendAction: a,
		}}}
	}
	mutations := []struct {
		name string
		m    *extprocv3.HeaderMutation
	}{
		{"set", setting("x-old", "new")},
		{"append", setting("+x-old", "new")},
		{"set of a new one", setting("x-new", "new")},
		{"remove", setting("-x-old", "")},
		{"remove, then set", setting("-x-old", "", "x-old", "new")},
		{"append_action APPEND_IF_EXISTS_OR_ADD", action(corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)},
		{"append_action ADD_IF_ABSENT", action(corev3.HeaderValueOption_ADD_IF_ABSENT)},
		{"append_action OVERWRITE_IF_EXISTS", action(corev3.HeaderValueOption_OVERWRITE_IF_EXISTS)},
		{"value in place of raw_value", valueOf(&corev3.HeaderValue{Key: "x-old", Value: "new"})},
		{"value and raw_value", valueOf(&corev3.HeaderValue{Key: "x-old", Value: "new", RawValue: []byte("new")})},
		{"an empty value", setting("x-old", "")},
		{"a byte beyond ASCII", setting("x-old", "\xff\xfe")},
		{"a line break", setting("x-old", "a\r\nx-evil: b")},
		{"a name that is none", setting("x old", "a")},
		{"upper case", setting("X-Old", "new")},
		{"host", setting("host", "evil.example")},
		{":authority", setting(":authority", "evil.example")},
		{":method", setting(":method", "PUT")},
		{":scheme", setting(":scheme", "https")},
		{":path", setting(":path", "/new?q=1")},
		{"removal of :path", setting("-:path", "")},
		{"removal of host", setting("-host", "")},
		{"x-envoy-*", setting("x-envoy-original-path", "/")},
		{"110 of them", setting(long...)},
		{"61 KiB", setting("x-large", strings.Repeat("v", 61<<10))},
	}
	rules := []struct {
		name string
		sdktest.Rules
	}{
		{"no rules", sdktest.Rules{}},
		{"allow_all_routing", sdktest.Rules{AllowAllRouting: true}},
		{"allow_envoy", sdktest.Rules{AllowEnvoy: true}},
		{"disallow_system", sdktest.Rules{DisallowSystem: true}},
		{"disallow_all", sdktest.Rules{DisallowAll: true}},
		{"disallow_all, allow_expression x-o.*", sdktest.Rules{DisallowAll: true, AllowExpression: "x-o.*"}},
		{"disallow_expression x-o.*", sdktest.Rules{DisallowExpression: "x-o.*"}},
		{"disallow_is_error", sdktest.Rules{DisallowIsError: true}},
	}
	for _, rule := range rules {
		for i, m := range mutations {
			if i > 5 && i < 14 && rule.name != "no rules" || i > 22 && rule.name != "no rules" {
				continue
			}
			all = append(all, conform{
				group: "Header mutations", name: m.name + ", " + rule.name,
				processor: script{"request_headers": say(requestHeaders(&common{HeaderMutation: m.m}))}.processor(),
				filter:    sdktest.Filter{Mutations: rule.Rules},
				request:   sdktest.Request{Header: http.Header{"X-Old": {"a", "b"}}},
			})
		}
	}
	for _, m := range []struct {
		name string
		m    *extprocv3.HeaderMutation
	}{
		{"set-cookie twice", setting("+set-cookie", "a=b", "+set-cookie", "c=d")},
		{":status", setting(":status", "202")},
		{":status that is none", setting(":status", "42")},
		{":status of four digits", setting(":status", "2000")},
		{"removal of :status", setting("-:status", "")},
		{"content-length", setting("content-length", "99")},
		{"transfer-encoding", setting("transfer-encoding", "chunked")},
		{"connection headers", setting("connection", "keep-alive", "keep-alive", "timeout=5", "proxy-connection", "close", "te", "gzip")},
	} {
		all = append(all, conform{
			group: "Header mutations", name: "of a response: " + m.name,
			processor: script{"response_headers": say(responseHeaders(&common{HeaderMutation: m.m}))}.processor(),
			request:   sdktest.Request{Upstream: sdktest.Response{Header: sized(2), Body: []string{"ok"}}},
		})
	}
	for _, s := range sides {
		answer := requestTrailers
		if s.name == "response" {
			answer = responseTrailers
		}
		for _, m := range modes {
			r := with(s.name, contents()[4], sdktest.Together)
			all = append(all, conform{
				group: "Header mutations", name: "of " + s.name + " trailers, " + m.name,
				processor: script{s.trailers: say(answer(setting("x-trailer", "no", "x-more", "yes")))}.processor(),
				filter:    m.filter(), request: r,
			})
		}
	}
	return all
}

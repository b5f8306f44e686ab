package policytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// recorded reads CheckRequests of ext_authz as JSON: one, several one after another, or a list. They
// expect nothing.
func recorded(text []byte) ([]Case, error) {
	var all []Case
	decoder := json.NewDecoder(bytes.NewReader(text))
	for {
		var value json.RawMessage
		err := decoder.Decode(&value)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		list := []json.RawMessage{value}
		if value[0] == '[' {
			if err := json.Unmarshal(value, &list); err != nil {
				return nil, err
			}
		}
		for _, one := range list {
			check := &authv3.CheckRequest{}
			if err := protojson.Unmarshal(one, check); err != nil {
				return nil, fmt.Errorf("record %d isn't a CheckRequest: %w", len(all)+1, err)
			}
			c, err := fromCheck(check)
			if err != nil {
				return nil, fmt.Errorf("record %d: %w", len(all)+1, err)
			}
			c.Name = fmt.Sprintf("%d: %s %s%s", len(all)+1, c.Request.Method, check.GetAttributes().GetRequest().GetHttp().GetHost(), withoutQuery(check.GetAttributes().GetRequest().GetHttp().GetPath()))
			all = append(all, c)
		}
	}
}

// withoutQuery keeps what may be a token out of names, which are printed.
func withoutQuery(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}

func fromCheck(check *authv3.CheckRequest) (Case, error) {
	attributes := check.GetAttributes()
	http := attributes.GetRequest().GetHttp()
	if http == nil {
		return Case{}, errors.New("attributes.request.http is missing")
	}
	scheme := http.GetScheme()
	if scheme == "" {
		scheme = "http"
	}
	at := attributes.GetDestination().GetAddress().GetSocketAddress()
	if at.GetPortValue() == 0 {
		return Case{}, errors.New("attributes.destination.address has no port: which listener took it isn't known")
	}
	address := at.GetAddress()
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	c := Case{Request: Request{
		Method: http.GetMethod(), URL: fmt.Sprintf("%s://%s:%d%s", scheme, address, at.GetPortValue(), http.GetPath()),
		Headers: map[string]Texts{"host": {http.GetHost()}}, From: attributes.GetSource().GetAddress().GetSocketAddress().GetAddress(),
		Body: http.GetBody(), HTTP2: http.GetProtocol() == "HTTP/2",
	}}
	if raw := http.GetRawBody(); len(raw) > 0 {
		c.Request.Body = string(raw)
	}
	for name, value := range http.GetHeaders() {
		c.header(name, value)
	}
	for _, h := range http.GetHeaderMap().GetHeaders() {
		c.header(h.GetKey(), headerValue(h))
	}
	return c, nil
}

func headerValue(h *core.HeaderValue) string {
	if len(h.GetRawValue()) > 0 {
		return string(h.GetRawValue())
	}
	return h.GetValue()
}

// header keeps what the client sent: the recording has Envoy's own additions too.
func (c *Case) header(name, value string) {
	own := []string{"host", "content-length", "x-forwarded-proto", "x-request-id", "x-forwarded-for"}
	if strings.HasPrefix(name, ":") || strings.HasPrefix(name, "x-gatehouse-") || strings.HasPrefix(name, "x-envoy-") || slices.Contains(own, name) {
		return
	}
	c.Request.Headers[name] = append(c.Request.Headers[name], value)
}

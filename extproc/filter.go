package extproc

import (
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// selfDescription is the key of initial metadata by which the filter's configuration tells what the
// protocol doesn't, such as "v=1; override; timeout=2s; max-timeout=10s; untyped=ns1,ns2"; in
// observability mode, where it doesn't tell the body modes, also "request-body=STREAMED;
// response-body=STREAMED". No client reaches initial metadata.
const selfDescription = "x-gatehouse-extproc"

// WithFilter describes the filters of all streams, for configurations that can't be made to describe
// themselves by initial metadata x-gatehouse-extproc; where they do, that counts. A description that
// promises too much makes Envoy fail exchanges: it ignores an override that it doesn't allow.
func WithFilter(info exchange.FilterInfo) Option {
	info.Described = true
	return option(func(s *Server) { s.filter = info })
}

// described is describe, which it remembers: most streams come from one filter.
func (s *Server) described(text string) (exchange.FilterInfo, bool) {
	latest := s.latest.Load()
	if latest == nil || latest.text != text {
		latest = &description{text: text}
		latest.info, latest.ok = describe(text)
		s.latest.Store(latest)
	}
	return latest.info, latest.ok
}

// description is a text and what describe made of it.
type description struct {
	text string
	info exchange.FilterInfo
	ok   bool
}

// describe reads a self-description. Of a version that is not known nothing is believed, and of what is
// malformed or unknown within one it is ignored: a description only widens.
func describe(text string) (info exchange.FilterInfo, ok bool) {
	parts := strings.Split(text, ";")
	if strings.TrimSpace(parts[0]) != "v=1" {
		return info, false
	}
	info.Described = true
	for _, part := range parts[1:] {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch key {
		case "override":
			info.Override = value == ""
		case "mutate-all":
			info.MutateAll = value == ""
		case "keep-alive":
			info.KeepAlive = value == ""
		case "trailers":
			info.Trailers = value == ""
		case "request-body":
			info.Request = observed(value)
		case "response-body":
			info.Response = observed(value)
		case "timeout":
			info.Timeout = positive(value)
		case "max-timeout":
			info.MaxTimeout = positive(value)
		case "untyped":
			info.Untyped = appendNames(info.Untyped, value)
		case "typed":
			info.Typed = appendNames(info.Typed, value)
		}
	}
	return info, true
}

func appendNames(to []string, list string) []string {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			to = append(to, name)
		}
	}
	return to
}

// observed is a body mode of observability mode, which has no others.
func observed(mode string) exchange.BodyMode {
	if mode == exchange.BodyStreamed.String() {
		return exchange.BodyStreamed
	}
	return exchange.BodyNone
}

func positive(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}
	return max(d, 0)
}

// learn sets what is known of the filter, from the stream's first message.
func (s *stream) learn(m *message) {
	s.filter = s.server.filter
	if text, ok := (*initial)(s).Extension(selfDescription); ok {
		if info, ok := s.server.described(text); ok {
			s.filter = info
		}
	}
	if m.observability {
		// Envoy doesn't tell the modes then.
		s.auto.sides[requestSide].mode, s.auto.sides[responseSide].mode = bodyMode(s.filter.Request), bodyMode(s.filter.Response)
		return
	}
	request, response := m.config.request, m.config.response
	s.filter.Request, s.filter.Response = exchange.BodyMode(request), exchange.BodyMode(response)
	// Envoy ignores overrides where either body is full duplex, and where bodies don't wait for answers.
	s.overrides = s.filter.Override && m.config.present && !m.config.noWait &&
		!request.duplex() && !response.duplex()
	s.noWait = m.config.noWait
}

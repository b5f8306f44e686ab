package extproc

import (
	"context"
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

var _ exchange.Host = (*stream)(nil)

// Next implements [exchange.Host].
func (s *stream) Next(ctx context.Context) (*exchange.Response, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.leave()
	if s.nexted {
		return nil, exchange.ErrNextTwice
	}
	if err := s.next(ctx); err != nil {
		return nil, err
	}
	return s.response, nil
}

// Finish implements [exchange.Host].
func (s *stream) Finish(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.leave()
	if s.response == nil {
		if err := s.next(ctx); err != nil {
			return err
		}
	}
	return s.release()
}

// Reply implements [exchange.Host].
func (s *stream) Reply(r exchange.Reply) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.leave()
	if s.released {
		return exchange.ErrResponseStarted
	}
	s.reply(&r)
	return nil
}

// SetMetadata implements [exchange.Host].
func (s *stream) SetMetadata(namespace, key string, value any) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.leave()
	// Encoded now, so that a value that can't be sent is the caller's error and not the answer's.
	if _, err := wire.AppendStruct(nil, map[string]any{namespace: map[string]any{key: value}}); err != nil {
		return fmt.Errorf("metadata %s.%s: %w", namespace, key, err)
	}
	if s.metadata == nil {
		s.metadata = map[string]any{}
	}
	fields, ok := s.metadata[namespace].(map[string]any)
	if !ok {
		fields = map[string]any{}
		s.metadata[namespace] = fields
	}
	fields[key] = value
	return nil
}

// Metadata implements [exchange.Host].
func (s *stream) Metadata(namespace string) map[string]any {
	return readMetadata(s.contexts, namespace)
}

// Attribute implements [exchange.Host].
func (s *stream) Attribute(name string) (string, bool) { return s.attributes.get(name) }

// OnComplete implements [exchange.Host].
func (s *stream) OnComplete(fn func(exchange.Outcome)) {
	if !s.done {
		s.hooks = append(s.hooks, fn)
	}
}

// begin is enter for the methods that need a living exchange.
func (s *stream) begin() error {
	if err := s.enter(); err != nil {
		return err
	}
	var err error
	switch {
	case s.auto.replied:
		err = exchange.ErrDone
	case s.ended:
		err = exchange.ErrEnded
	default:
		return nil
	}
	s.leave()
	return err
}

// next releases the request and waits for the response.
func (s *stream) next(ctx context.Context) error {
	if err := s.releaseRequest(); err != nil {
		return err
	}
	s.nexted = true
	return s.awaitResponse(ctx)
}

// release answers the headers that are still held.
func (s *stream) release() error {
	if err := s.releaseRequest(); err != nil {
		return err
	}
	return s.releaseResponse()
}

func (s *stream) releaseRequest() error {
	if s.auto.owes(requestSide) != requestHeaders {
		return nil
	}
	e := edits{header: &s.request.Header}
	if edited, reroute := s.request.PathEdit(); edited {
		e.path, e.reroute = s.request.Path(), reroute
		if e.path == "" {
			return fmt.Errorf("%w: empty path", exchange.ErrBadEdit)
		}
	}
	return s.answer(requestHeaders, &e)
}

func (s *stream) releaseResponse() error {
	if s.response == nil || s.released {
		return nil
	}
	if s.auto.owes(responseSide) == responseHeaders {
		e := edits{header: &s.response.Header}
		if s.response.StatusEdited() {
			e.status = s.response.Status()
		}
		if err := s.answer(responseHeaders, &e); err != nil {
			return err
		}
	}
	s.released = true
	return nil
}

// answer sends the answer to a headers message.
func (s *stream) answer(k kind, e *edits) error {
	out, err := appendHeadersAnswer(s.out[:0], k, e)
	if err == nil && len(s.metadata) > 0 {
		out, err = appendMetadata(out, s.metadata)
	}
	s.out = out
	if err != nil {
		return err
	}
	s.metadata = nil
	s.send()
	s.auto.answered(k.side())
	return nil
}

// reply sends an ImmediateResponse, after which Envoy takes nothing. In observability mode it takes
// nothing anyway.
func (s *stream) reply(r *exchange.Reply) {
	s.outcome.Reply, s.outcome.Status = r, r.Status()
	if s.auto.mute {
		return
	}
	s.out = appendReply(s.out[:0], r, s.server.name)
	if len(s.metadata) > 0 {
		if out, err := appendMetadata(s.out, s.metadata); err == nil {
			s.out = out
		}
	}
	s.send()
	s.auto.replied = true
}

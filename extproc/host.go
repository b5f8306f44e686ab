package extproc

import (
	"context"
	"fmt"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

var _ exchange.Host = (*stream)(nil)

// Next implements [exchange.Host].
func (s *stream) Next(ctx context.Context, want exchange.Want) (*exchange.Response, error) {
	if err := s.beginOutside(); err != nil {
		return nil, err
	}
	defer s.leave()
	if s.nexted {
		return nil, s.prevented(exchange.ErrNextTwice)
	}
	s.want, s.reading = want, ctx
	if err := s.next(ctx); err != nil {
		return nil, err
	}
	return s.response, nil
}

// Finish implements [exchange.Host].
func (s *stream) Finish(ctx context.Context) error {
	if err := s.beginOutside(); err != nil {
		return err
	}
	defer s.leave()
	if s.response == nil || !s.nexted {
		if err := s.next(ctx); err != nil {
			return err
		}
	}
	if err := s.releaseResponse(); err != nil || s.want == 0 {
		return err
	}
	return s.awaitEnd(ctx)
}

// Filter implements [exchange.Host].
func (s *stream) Filter() exchange.FilterInfo {
	info := s.filter
	info.Untyped, info.Typed = slices.Clone(info.Untyped), slices.Clone(info.Typed)
	return info
}

// Base implements [exchange.Host].
func (s *stream) Base() exchange.Host { return s }

// Reply implements [exchange.Host].
func (s *stream) Reply(r exchange.Reply) error {
	if err := s.beginOutside(); err != nil {
		return err
	}
	defer s.leave()
	if s.started || s.flows[responseSide].released {
		return s.prevented(exchange.ErrResponseStarted)
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
	if s.filter.Described && !slices.Contains(s.filter.Untyped, namespace) {
		return s.prevented(unmet("metadata namespace " + namespace))
	}
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
		err = s.prevented(exchange.ErrDone)
	case s.ended:
		err = exchange.ErrEnded
	default:
		return nil
	}
	s.leave()
	return err
}

// beginOutside is begin for the methods that move messages, which a body's function can't do while it
// handles one.
func (s *stream) beginOutside() error {
	err := s.begin()
	if err == nil && s.staged {
		err = s.prevented(errInside)
		s.leave()
	}
	return err
}

// prevented counts what isn't sent.
func (s *stream) prevented(err error) error {
	s.outcome.Prevented++
	return err
}

// next releases the request and waits for the response.
func (s *stream) next(ctx context.Context) error {
	if err := s.releaseRequest(true); err != nil {
		return err
	}
	s.nexted = true
	return s.awaitResponse(ctx)
}

// release lets go of the headers that are still held.
func (s *stream) release() error {
	if s.broken != nil {
		return s.broken
	}
	if err := s.releaseRequest(false); err != nil {
		return err
	}
	return s.releaseResponse()
}

// answer answers the message that k says is owed one.
func (s *stream) answer(k kind, e *edits) error {
	if s.auto.owes(k.side()) != k {
		return nil // observability mode, or replied
	}
	e.all = s.filter.MutateAll
	out, err := appendAnswer(s.out[:0], k, e)
	if err == nil && len(s.metadata) > 0 {
		out, err = appendMetadata(out, s.metadata)
	}
	if err == nil && e.override != nil {
		out = appendOverride(out, *e.override)
	}
	out = append(out, s.merged...)
	s.out = out
	if err != nil {
		return err
	}
	s.metadata, s.merged = nil, nil
	s.outcome.Edits += e.count()
	s.answered(k.side())
	return nil
}

// reply sends an ImmediateResponse, after which Envoy takes nothing. In observability mode it takes
// nothing anyway.
func (s *stream) reply(r *exchange.Reply) {
	s.outcome.Reply, s.outcome.Status = r, r.Status()
	if s.auto.mute {
		return
	}
	s.settle(requestSide)
	s.settle(responseSide)
	s.out = appendReply(s.out[:0], r, s.server.name, s.filter.MutateAll)
	if len(s.metadata) > 0 {
		if out, err := appendMetadata(s.out, s.metadata); err == nil {
			s.out = out
		}
	}
	s.out = append(s.out, s.merged...)
	s.send()
	s.auto.replied = true
}

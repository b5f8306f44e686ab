package exchange

// Body is one direction's body.
type Body struct {
	buffered  []byte
	truncated bool
	present   bool
}

// BufferedBody is a body the host has whole, or (truncated) a prefix of it. For hosts and tests.
func BufferedBody(data []byte, truncated bool) Body {
	return Body{buffered: data, truncated: truncated, present: true}
}

// Bytes returns the whole body, at most limit bytes of it: a longer one, and one of which the host has
// only a prefix, is [ErrTooLarge]; a body the host never received is [ErrNeeds].
func (b *Body) Bytes(limit int) ([]byte, error) {
	switch {
	case !b.present:
		return nil, ErrNeeds
	case b.truncated, len(b.buffered) > limit:
		return nil, ErrTooLarge
	}
	return b.buffered, nil
}

// Empty reports whether the message is known to have no body: its headers came with the end of the
// stream, or the host has the body and it holds no byte.
func (b *Body) Empty() bool { return b.present && !b.truncated && len(b.buffered) == 0 }

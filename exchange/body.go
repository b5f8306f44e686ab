package exchange

import (
	"bytes"
	"io"
	"slices"
)

// DefaultBodyLimit is what [Body.Read] holds without [Body.Limit], in bytes.
const DefaultBodyLimit = 1 << 20

// Body is one direction's body. Untouched, it passes unchanged. It belongs to the goroutine of its
// Exchange. Read and Bytes hold it, Observe watches it pass, Set and Transform rewrite it; a proxy whose
// configuration allows none of that gives [ErrNeeds], from the call or, where that returns nothing, as
// the failure verdict. Edits are sent by an [Exchange] only: an Authorizer's change nothing.
type Body struct {
	buffered  []byte
	truncated bool
	present   bool

	host     BodyHost
	detached bool // host is a view
	empty    bool
	read     int // how far Read has come
	limit    int
	err      error // of an Observe or Transform over a body that is there whole
}

// A BodyHost is a host's side of a [Body] that streams. For hosts.
type BodyHost interface {
	// Hold keeps the body back until at least n bytes or its end have come. The bytes are those held so
	// far, valid until the next call; end says that there are no more.
	Hold(n int) (held []byte, end bool, err error)
	Set(p []byte)
	Observe(fn func(src io.Reader) error)
	Transform(fn func(dst io.Writer, src io.Reader) error)
}

// BufferedBody is a body the host has whole, or (truncated) a prefix of it. For hosts and tests.
func BufferedBody(data []byte, truncated bool) Body {
	return Body{buffered: data, truncated: truncated, present: true}
}

// StreamedBody is a body that h carries; empty says that the message is known to have none. For hosts.
func StreamedBody(h BodyHost, empty bool) Body { return Body{host: h, empty: empty} }

// Read holds: what was read, and all that follows it, goes on only when the headers are released by
// Next, Finish or the return of Process, so that io.ReadAll followed by a Deny leaks nothing. Reading a
// part is fine, the rest flows after the release.
//
// Errors: [ErrTooLarge] past Limit, [ErrNeeds], [ErrResponseStarted] after the release or when an
// answer came before the request was complete, [ErrEnded], [ErrDone].
func (b *Body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	limit := b.limit
	if limit == 0 {
		limit = DefaultBodyLimit
	}
	held, end, err := b.hold(b.read + 1)
	switch {
	case err != nil:
		return 0, err
	case b.read >= limit && len(held) > limit:
		return 0, ErrTooLarge
	case b.read >= len(held) && end:
		return 0, io.EOF
	}
	n := copy(p, held[b.read:min(len(held), limit)])
	b.read += n
	return n, nil
}

// Bytes holds the whole body and returns it: at most limit bytes of it, a longer one is [ErrTooLarge]
// and so is one of which the host has only a prefix. The slice must not be changed, and is valid until
// the next call of a method of the Exchange. Errors are those of [Body.Read].
func (b *Body) Bytes(limit int) ([]byte, error) {
	if b.host == nil && b.truncated {
		return nil, ErrTooLarge
	}
	held, _, err := b.hold(limit + 1)
	if err == nil && len(held) > limit {
		err = ErrTooLarge
	}
	if err != nil {
		return nil, err
	}
	return slices.Clip(held), nil
}

// Limit sets how many bytes Read may hold; the default is [DefaultBodyLimit].
func (b *Body) Limit(n int) { b.limit = n }

// Empty reports whether the message is known to have no body: its headers came with the end of the
// stream, or the host has the body and it holds no byte.
func (b *Body) Empty() bool {
	return b.empty || b.present && !b.truncated && len(b.buffered) == 0
}

// Set replaces the whole body; what arrives of the old one is discarded. p is copied. The content-length
// is corrected. Answers that can't have a body, to HEAD and with status 204 or 304, make it [ErrBadEdit]
// when the response is released.
func (b *Body) Set(p []byte) {
	p = bytes.Clone(p)
	b.detach()
	b.read = 0
	if b.host != nil {
		b.host.Set(p)
		return
	}
	b.buffered, b.truncated, b.present = p, false, true
}

// Observe runs fn over the bytes as they pass. fn is a coroutine of the exchange: it starts at the first
// chunk, never runs concurrently with Process or another fn, and while it blocks outside of src the
// whole exchange waits. It may use the Exchange's values and SetMetadata, not what holds, releases or
// replies. If it returns early the rest passes; an error is the verdict. A message without a body
// doesn't start it. Several compose, with Transform's, in the order of registration.
func (b *Body) Observe(fn func(src io.Reader) error) {
	b.detach()
	if b.host != nil {
		b.host.Observe(fn)
		return
	}
	if b.present && b.err == nil {
		b.err = fn(bytes.NewReader(b.buffered))
	}
}

// Transform replaces the bytes by those that fn writes. What is said of Observe's fn holds for this one;
// if it returns early the rest of the body is discarded. The content-length is corrected
// where the proxy holds the whole body, and else removed.
func (b *Body) Transform(fn func(dst io.Writer, src io.Reader) error) {
	b.detach()
	if b.host != nil {
		b.host.Transform(fn)
		return
	}
	if b.present && b.err == nil {
		var out bytes.Buffer
		b.err = fn(&out, bytes.NewReader(b.buffered))
		b.buffered = out.Bytes()
	}
}

// View is a second body over the same bytes, for somebody who may read but not edit: Read, Bytes, Limit and
// Empty are b's; Observe, Transform and Set first hold the whole, up to [DefaultBodyLimit], and then work on
// what is theirs alone. For hosts.
func (b *Body) View() Body {
	return Body{host: view{b}, empty: b.Empty(), detached: true}
}

// view hands out what another body holds.
type view struct{ body *Body }

func (v view) Hold(n int) ([]byte, bool, error)                 { return v.body.hold(n) }
func (view) Set([]byte)                                         {}
func (view) Observe(func(src io.Reader) error)                  {}
func (view) Transform(func(dst io.Writer, src io.Reader) error) {}

// detach makes a view a body that is there whole, on which edits work.
func (b *Body) detach() {
	if !b.detached {
		return
	}
	held, end, err := b.host.Hold(DefaultBodyLimit + 1)
	if err == nil && len(held) > DefaultBodyLimit {
		err = ErrTooLarge
	}
	if err != nil {
		b.err = err
	}
	b.buffered, b.truncated, b.present = bytes.Clone(held), !end, err == nil
	b.host, b.detached = nil, false
}

// Rewind has Read begin again. For hosts that hand one body to several processors.
func (b *Body) Rewind() { b.read = 0 }

// Err is the error of an Observe's or Transform's fn over a body that no host streams. For hosts.
func (b *Body) Err() error { return b.err }

func (b *Body) hold(n int) ([]byte, bool, error) {
	switch {
	case b.host != nil:
		return b.host.Hold(n)
	case !b.present:
		return nil, false, ErrNeeds
	case b.truncated && n > len(b.buffered):
		return nil, false, ErrTooLarge
	}
	return b.buffered, true, nil
}

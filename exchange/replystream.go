package exchange

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

const (
	// replyChunk is how much of a reply is collected before it becomes a stream.
	replyChunk = 64 << 10
	// MaxReply is how much of a reply is collected where it can't be a stream, in bytes.
	MaxReply = 1 << 20
)

// A ReplyBody takes the body of a reply whose headers are out. It is used by one goroutine at a time. For
// hosts.
type ReplyBody interface {
	Write(p []byte) (int, error)
	// Close ends the reply, with trailers if there are any. A reply that is not closed is reset.
	Close(trailer http.Header) error
}

// ReplyStream answers in place of the upstream with a body of any size, written as it is made. The
// response ends when fn returns; an error or a panic of fn resets it, or, if nothing of it has been sent,
// is the verdict. After ReplyStream there is nothing left to do but return.
//
// A small reply (64 KiB, without a Flush) is one message, as by Reply. A larger one is streamed: in Envoy
// only before the request is released, and only where both body modes are NONE or FULL_DUPLEX_STREAMED.
// Elsewhere up to [MaxReply] bytes are collected, and more is [ErrNeeds]. While a reply is streamed there
// is no deadline; ctx ends when the client has gone.
//
// w is as in package net/http, with trailers (http.TrailerPrefix, or announced) where the reply is
// streamed, and without 1xx and Hijack. It is an [http.Flusher] and belongs to fn.
func (x *Exchange) ReplyStream(fn func(w http.ResponseWriter) error) error {
	w := NewReplyWriter(x, http.Header{})
	return w.End(fn(w))
}

// ReplyWriter makes a reply of what an [http.Handler] writes; [Exchange.ReplyStream] says how. It is used by
// one goroutine at a time. For adapters.
type ReplyWriter struct {
	// Collect has the reply collected: nothing is sent before End.
	Collect bool

	x       *Exchange
	header  http.Header
	code    int // 0 before WriteHeader
	buffer  []byte
	body    ReplyBody // once it is a stream
	unmet   error     // why it can't be one
	err     error     // of a Write
	trailer []string  // announced
}

// NewReplyWriter returns a ReplyWriter whose Header is header.
func NewReplyWriter(x *Exchange, header http.Header) *ReplyWriter {
	return &ReplyWriter{x: x, header: header}
}

// Header implements [http.ResponseWriter].
func (w *ReplyWriter) Header() http.Header { return w.header }

// Begun reports whether WriteHeader or Write was called.
func (w *ReplyWriter) Begun() bool { return w.code != 0 }

// WriteHeader implements [http.ResponseWriter]. Later calls, and those with 1xx, do nothing.
func (w *ReplyWriter) WriteHeader(code int) {
	if w.code != 0 || code >= 100 && code < 200 {
		return
	}
	w.code = code
	for _, line := range w.header.Values("Trailer") {
		for name := range strings.SplitSeq(line, ",") {
			w.trailer = append(w.trailer, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
}

// Write implements [http.ResponseWriter].
func (w *ReplyWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case w.code == http.StatusNoContent, w.code == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case w.err != nil:
		return 0, w.err
	case w.body != nil:
		return w.write(p)
	}
	if len(w.buffer)+len(p) > replyChunk && w.open() {
		return w.write(p)
	}
	if len(w.buffer)+len(p) > MaxReply {
		if w.unmet == nil {
			w.unmet = ErrNeeds
		}
		w.err = fmt.Errorf("%w: a reply of more than %d bytes", w.unmet, MaxReply)
		return 0, w.err
	}
	w.buffer = append(w.buffer, p...)
	return len(p), nil
}

func (w *ReplyWriter) write(p []byte) (n int, err error) {
	n, w.err = w.body.Write(p)
	return n, w.err
}

// Flush implements [http.Flusher]: it makes the reply a stream, if it can be one.
func (w *ReplyWriter) Flush() {
	w.WriteHeader(http.StatusOK)
	if w.body == nil {
		w.open()
	}
}

// open begins the stream and sends what was collected.
func (w *ReplyWriter) open() bool {
	if w.unmet != nil || w.Collect || w.err != nil || w.x.Request.Method() == http.MethodHead {
		return false
	}
	body, err := w.x.host.OpenReply(&Reply{Code: w.code, Header: w.lines()})
	if err != nil {
		w.unmet = err
		return false
	}
	w.body = body
	if len(w.buffer) > 0 {
		_, _ = w.write(w.buffer)
		w.buffer = nil
	}
	return true
}

// lines are the headers without trailers and what says of the body how long it is.
func (w *ReplyWriter) lines() http.Header {
	out := http.Header{}
	for name, values := range w.header {
		if name != "Content-Length" && name != "Transfer-Encoding" && name != "Connection" && name != "Trailer" && !w.isTrailer(name) {
			out[name] = slices.Clone(values)
		}
	}
	return out
}

func (w *ReplyWriter) isTrailer(name string) bool {
	return strings.HasPrefix(name, http.TrailerPrefix) || slices.Contains(w.trailer, name)
}

func (w *ReplyWriter) trailers() http.Header {
	out := http.Header{}
	for name, values := range w.header {
		if w.isTrailer(name) {
			out[strings.TrimPrefix(name, http.TrailerPrefix)] = values
		}
	}
	return out
}

// End ends the reply, or with an error resets it. It returns what Process should return.
func (w *ReplyWriter) End(err error) error {
	if err == nil {
		err = w.err
	}
	if err != nil {
		return err // a stream that isn't closed is reset
	}
	w.WriteHeader(http.StatusOK)
	trailers := w.trailers()
	if len(trailers) > 0 && w.body == nil && !w.open() {
		return fmt.Errorf("%w: a reply with trailers", ErrNeeds)
	}
	switch {
	case w.err != nil:
		return w.err
	case w.body != nil:
		return w.body.Close(trailers)
	}
	return w.x.Reply(Reply{Code: w.code, Header: w.lines(), Body: w.buffer})
}

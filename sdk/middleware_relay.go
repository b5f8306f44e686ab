package sdk

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
)

// relayBuffer is how much of a body goes through another writer at a time.
const relayBuffer = 32 << 10

// deliver writes the response to the middleware's own writer. Until that writes the headers, the body is
// held; then it flows.
func (h *hosted) deliver(w http.ResponseWriter, resp *Response) {
	h.writer.become(relaying)
	if h.writer.begun() {
		return // the middleware hasn't waited
	}
	w.WriteHeader(resp.Status())
	if !h.other {
		return
	}
	flush := flusher(w, resp)
	buffer := make([]byte, relayBuffer)
	for consumed := 0; ; {
		if h.writer.is(written) && h.flowing() == nil {
			if !h.start(consumed) {
				return
			}
		}
		n, err := h.readResponse(buffer)
		consumed += n
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				h.unwritten(err)
				return
			}
			flush()
		}
		if err != nil {
			return
		}
	}
}

// unwritten notes that the middleware's writer hasn't taken a piece of the body. That it doesn't wait any
// longer is its decision, as long as nothing has been sent.
func (h *hosted) unwritten(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.conduit == nil && h.nextCtx.Err() != nil:
		h.gone = err
	case errors.Is(err, ErrTooLarge):
		h.fail(errHeld)
	default:
		h.fail(err)
	}
}

// errHeld is no ErrTooLarge, which as a verdict blames the request.
var errHeld = fmt.Errorf("%w: more of a response's body is held than HoldLimit allows", ErrNeeds)

// flusher returns what to call after each piece: events, and bodies of unknown length, must not wait for
// the next one.
func flusher(w http.ResponseWriter, resp *Response) func() {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("content-type"))
	if media != "text/event-stream" && resp.Header.Has("content-length") {
		return func() {}
	}
	control := http.NewResponseController(w)
	return func() { _ = control.Flush() } // most writers can't
}

// readResponse reads the body, held or flowing. Its errors need no more than an end of the reading.
func (h *hosted) readResponse(p []byte) (int, error) {
	if c := h.flowing(); c != nil {
		return c.read(p)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return 0, ErrDone
	}
	h.response.Body.Limit(h.limit)
	n, err := h.response.Body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		h.whole = true
	case err != nil && h.nextCtx.Err() != nil && errors.Is(err, h.nextCtx.Err()):
		h.gone = err
	case errors.Is(err, ErrTooLarge):
		h.fail(errHeld)
	case err != nil:
		h.fail(err)
	}
	return n, err
}

func (h *hosted) flowing() *conduit {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conduit
}

// start releases the response with the headers that the writer has written, and lets the body flow. Of it
// so much has been consumed.
func (h *hosted) start(consumed int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over || h.err != nil || h.nextCtx.Err() != nil { // then what was written is the middleware's own answer
		return false
	}
	h.editResponse()
	h.conduit = newConduit()
	w := h.writer
	w.mu.Lock()
	out := w.out
	w.out = nil
	w.mu.Unlock()
	h.conduit.start(h.ctx, h.x, h.response, consumed, out)
	return true
}

// editResponse makes the writer's status and headers those of the response. mu must be held.
func (h *hosted) editResponse() {
	w := h.writer
	w.mu.Lock()
	code := w.code
	w.mu.Unlock()
	if code != 0 && code != h.response.Status() {
		h.response.SetStatus(code)
	}
	editHeader(&h.response.Header, w.header)
}

// end does what is left when the middleware has returned.
func (h *hosted) end() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.conduit != nil {
		return h.conduit.end(h.err)
	}
	w := h.writer
	switch {
	case h.err != nil:
		return h.err
	case w.begun():
		return w.reply.End(nil)
	case h.response == nil && !h.called:
		w.WriteHeader(http.StatusOK) // as a server does
		return w.reply.End(nil)
	case h.response == nil:
		return h.gone
	case h.other && !h.whole:
		return h.replace()
	}
	h.editResponse()
	if h.other || h.wanted && len(w.out) > 0 && bodyAllowed(h.response.Status()) {
		h.response.Body.Set(w.out)
	}
	return nil
}

// bodyAllowed reports whether such a response may have a body (RFC 9110 section 6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// abort ends what goes on, for middleware that panics.
func (h *hosted) abort() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.conduit != nil {
		_ = h.conduit.end(ErrDone)
	}
}

// replace answers with what the middleware has written in place of a response that it hasn't waited for.
func (h *hosted) replace() error {
	w := h.writer
	if !w.is(written) {
		return errors.Join(h.gone, ErrNeeds)
	}
	return &Reply{Code: w.code, Header: w.header, Body: w.out}
}

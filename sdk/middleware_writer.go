package sdk

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// hostedWriter is the ResponseWriter of the middleware. What is written without a response from next is a
// reply; what another writer writes of one is its body. Its own state has its own lock: middleware that
// answers while next still runs must not wait for it.
type hostedWriter struct {
	hosted *hosted
	header http.Header

	mu    sync.Mutex
	state writerState
	code  int
	out   []byte // of a response's body, before it flows
	reply *exchange.ReplyWriter
}

type writerState uint8

const (
	idle     writerState = iota // nothing is known
	replying                    // the middleware answers
	passing                     // the response's headers are written, by next
	relaying                    // next writes to another writer, which may come here
	written                     // and has written the headers
)

func newHostedWriter(h *hosted) *hostedWriter {
	return &hostedWriter{hosted: h, header: http.Header{}}
}

// Header implements [http.ResponseWriter].
func (w *hostedWriter) Header() http.Header { return w.header }

// begun reports whether the middleware has begun to answer by itself.
func (w *hostedWriter) begun() bool { return w.is(replying) }

func (w *hostedWriter) is(state writerState) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state == state
}

// pass is next's writing of the headers.
func (w *hostedWriter) pass() { w.become(passing) }

func (w *hostedWriter) become(state writerState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == idle {
		w.state = state
	}
}

// WriteHeader implements [http.ResponseWriter].
func (w *hostedWriter) WriteHeader(code int) {
	if code >= 100 && code < 200 && code != http.StatusSwitchingProtocols {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeHeader(code)
}

func (w *hostedWriter) writeHeader(code int) {
	switch w.state {
	case idle:
		w.state = replying
		w.reply = exchange.NewReplyWriter(w.hosted.x, w.header)
		w.reply.WriteHeader(code)
	case relaying:
		w.state, w.code = written, code
	}
}

// Write implements [http.ResponseWriter].
func (w *hostedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.writeHeader(http.StatusOK)
	switch w.state {
	case replying:
		defer w.mu.Unlock()
		return w.answer(p)
	case passing:
		w.mu.Unlock()
		h := w.hosted
		h.mu.Lock()
		defer h.mu.Unlock()
		h.fail(fmt.Errorf("%w has written to a response that passes", errNextInvalid))
		return 0, h.err
	}
	w.mu.Unlock()
	return w.relay(p)
}

// answer writes to the reply. It is one message if next was called: the Exchange may be in use.
func (w *hostedWriter) answer(p []byte) (int, error) {
	h := w.hosted
	if h.mu.TryLock() {
		defer h.mu.Unlock()
		w.reply.Collect = h.called
	} else {
		w.reply.Collect = true
	}
	return w.reply.Write(p)
}

// relay takes a piece of the response's body.
func (w *hostedWriter) relay(p []byte) (int, error) {
	if c := w.hosted.flowing(); c != nil {
		return c.write(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.out)+len(p) > w.hosted.limit+replyReserve {
		return 0, ErrTooLarge
	}
	w.out = append(w.out, p...)
	return len(p), nil
}

// replyReserve is how much larger than what it was made of a body may be before it flows.
const replyReserve = 64 << 10

// Flush implements [http.Flusher] for replies; a response that passes is never kept back.
func (w *hostedWriter) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeHeader(http.StatusOK)
	h := w.hosted
	if w.state != replying || !h.mu.TryLock() {
		return
	}
	defer h.mu.Unlock()
	if !h.called {
		w.reply.Flush()
	}
}

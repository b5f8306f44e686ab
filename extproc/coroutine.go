package extproc

import (
	"fmt"
	"io"
	"iter"
	"runtime/debug"
	"unsafe"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// stage runs one function over a body as a coroutine of the goroutine that serves the stream: it runs
// inside push only, until it wants more input than there is, so that nothing is concurrent and a panic
// surfaces where the chunk that caused it is answered.
type stage struct {
	stream  *stream
	fn      func(dst io.Writer, src io.Reader) error
	observe bool // what comes in goes on; fn can't write

	resume  func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
	in      string
	eof     bool // in is the last input
	out     []byte
	done    bool // fn has returned
	stopped bool
	err     error
}

// push runs fn over data and gives what comes out of it to emit, in pieces of about maxChunk.
func (g *stage) push(data string, end bool, emit func(string) error) error {
	g.in, g.eof = data, end
	for !g.done && (g.in != "" || g.eof) {
		if err := g.run(); err != nil {
			return err
		}
		if err := g.flush(emit); err != nil {
			return err
		}
	}
	g.in = "" // of a fn that has returned
	if g.observe && data != "" {
		return emit(data)
	}
	return nil
}

// flush gives what fn has written to emit, which is done with it when it returns: it copies, or has another
// function read it to its end.
func (g *stage) flush(emit func(string) error) error {
	if len(g.out) == 0 {
		return nil
	}
	err := emit(unsafe.String(unsafe.SliceData(g.out), len(g.out))) //nolint:gosec // G103: nobody writes before emit returns
	g.out = g.out[:0]
	return err
}

// run lets fn go on until it waits for input, has written a chunk, or returns.
func (g *stage) run() error {
	s := g.stream
	if g.resume == nil {
		g.resume, g.stop = iter.Pull(g.body)
	}
	s.staged = true
	s.leave() // the time is the processor's
	_, waiting := g.resume()
	s.staged = false
	if !s.reenter() {
		s.awaitSweeper()
		return errSlow
	}
	if !waiting {
		g.done = true
	}
	return g.err
}

func (g *stage) body(yield func(struct{}) bool) {
	defer func() {
		if p := recover(); p != nil {
			g.stream.logPanicOf(p, debug.Stack())
			g.err = errPanic
		}
	}()
	g.yield = yield
	if err := g.fn(g, g); err != nil {
		g.err = fmt.Errorf("body: %w", err)
	}
}

// Read implements [io.Reader] for fn.
func (g *stage) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for g.in == "" && !g.eof {
		if !g.wait() {
			return 0, exchange.ErrEnded
		}
	}
	if g.in == "" {
		return 0, io.EOF
	}
	n := copy(p, g.in)
	g.in = g.in[n:]
	return n, nil
}

// Write implements [io.Writer] for fn.
func (g *stage) Write(p []byte) (int, error) {
	if g.stopped {
		return 0, exchange.ErrEnded
	}
	written := len(p)
	for len(g.out)+len(p) >= maxChunk {
		room := maxChunk - len(g.out)
		g.out, p = append(g.out, p[:room]...), p[room:]
		if !g.wait() {
			return 0, exchange.ErrEnded
		}
	}
	g.out = append(g.out, p...)
	return written, nil
}

func (g *stage) wait() bool {
	if g.stopped || !g.yield(struct{}{}) {
		g.stopped = true
		return false
	}
	return true
}

// end has fn return if it still waits: the exchange is over.
func (g *stage) end() {
	if g.stop != nil && !g.done {
		g.done = true
		g.stop()
	}
}

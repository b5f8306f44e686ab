package sdk

import (
	"context"
	"errors"
	"io"
)

// conduit turns a body's function inside out. The middleware writes and reads the response's body in the
// middle of its own code, and goes on writing after next has returned; the engine runs a function over it,
// in the goroutine that pumps. So the pump gets a goroutine of its own, and the function does what the
// middleware asks for. Never do both run.
type conduit struct {
	asks     chan ask
	done     chan struct{} // closed when the exchange has finished
	finished error         // then
}

type ask struct {
	write, read []byte // one of them
	close       bool
	err         error // with close
	answer      chan<- answer
}

type answer struct {
	n   int
	err error
}

func newConduit() *conduit { return &conduit{asks: make(chan ask), done: make(chan struct{})} }

// start begins to pump. The function skips what was consumed and begins with out, which was made of it.
func (c *conduit) start(ctx context.Context, x *Exchange, resp *Response, consumed int, out []byte) {
	go func() {
		defer close(c.done)
		resp.Body.Transform(func(dst io.Writer, src io.Reader) error {
			if _, err := io.CopyN(io.Discard, src, int64(consumed)); err != nil {
				return err
			}
			if _, err := dst.Write(out); err != nil {
				return err
			}
			return c.obey(dst, src)
		})
		c.finished = x.Finish(ctx)
	}()
}

// obey does what is asked until the middleware is done, or the exchange: then the engine has the function
// go on once more, so that it returns.
func (c *conduit) obey(dst io.Writer, src io.Reader) error {
	for {
		var a ask
		select {
		case a = <-c.asks:
		case <-c.done:
			return ErrEnded
		}
		var got answer
		switch {
		case a.close:
			return a.err
		case a.read != nil:
			got.n, got.err = src.Read(a.read)
		default:
			got.n, got.err = dst.Write(a.write)
		}
		a.answer <- got
	}
}

func (c *conduit) ask(a ask) (int, error) {
	answers := make(chan answer, 1)
	a.answer = answers
	select {
	case c.asks <- a:
	case <-c.done:
		return 0, errors.Join(ErrEnded, c.finished)
	}
	select {
	case got := <-answers:
		return got.n, got.err
	case <-c.done: // the exchange has ended in the middle of it
		return 0, errors.Join(ErrEnded, c.finished)
	}
}

func (c *conduit) read(p []byte) (int, error) { return c.ask(ask{read: p}) }

func (c *conduit) write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return c.ask(ask{write: p})
}

// end ends the body, or with an error the exchange, and returns how that went.
func (c *conduit) end(err error) error {
	select {
	case c.asks <- ask{close: true, err: err}:
	case <-c.done:
	}
	<-c.done
	return errors.Join(err, c.finished)
}

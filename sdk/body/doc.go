// Package body has what processors do to bodies as they pass: decompress and compress, read server-sent
// events, JSON lines and multipart bodies, rewrite JSON in place. All of it streams, in memory that doesn't
// grow with the body, and is made for [exchange.Body.Transform] and [exchange.Body.Observe]:
//
//	func main() {
//		hide, err := body.RewriteJSON(body.ReplaceJSON("/customer/iban", []byte(`"***"`)))
//		if err != nil {
//			panic(err)
//		}
//		sdk.Main(hiding(hide))
//	}
//
//	func hiding(hide body.Func) sdk.Processor {
//		return sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
//			x.Request.Header.Del("range") // a part of a document can't be searched
//			body.AcceptKnown(x.Request)   // else the upstream may compress in a way that can't be undone
//			resp, err := x.Next(ctx, sdk.EditBody)
//			if err != nil {
//				return err
//			}
//			kind, _, _ := strings.Cut(resp.Header.Get("content-type"), ";")
//			if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
//				return nil // passes as it is
//			}
//			return body.EditResponse(resp, body.Limit{}, hide)
//		})
//	}
//
// The response is decompressed for hide and compressed again as it was.
//
// A Func never starts a goroutine: it runs as a coroutine of its exchange, which reads the next chunk
// only when the last one has gone. That is the back-pressure.
//
// What is too large is [exchange.ErrTooLarge], as a verdict 413. What a client sent in a broken form is a
// 400 where a function says so, else the failure verdict.
package body

import (
	"errors"
	"io"
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// A Func is what Transform takes: it reads src and writes dst until src has ended. Those of this package
// may be used for any number of bodies, concurrently.
type Func = func(dst io.Writer, src io.Reader) error

var (
	// ErrCoding indicates a content-encoding that this package doesn't know.
	ErrCoding = errors.New("unknown content-encoding")
	// ErrCorrupt indicates a compressed body that can't be decoded to its end.
	ErrCorrupt = errors.New("compressed body is corrupt")
	// ErrSyntax indicates a body that isn't what it should be, JSON for one.
	ErrSyntax = errors.New("malformed body")
)

// BlameClient makes fn's ErrCorrupt and ErrSyntax the answer 400 to the client who sent the body.
func BlameClient(fn Func) Func {
	return func(dst io.Writer, src io.Reader) error {
		err := fn(dst, src)
		if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrSyntax) {
			reply := exchange.Deny(http.StatusBadRequest, "malformed request body")
			reply.Cause = err
			return reply
		}
		return err
	}
}

// Cap passes at most limit bytes; a longer body is [exchange.ErrTooLarge]. It bounds what passes, where
// [exchange.Body.Limit] bounds what is held.
func Cap(limit int64) Func {
	return func(dst io.Writer, src io.Reader) error {
		return pump(dst, &capped{src: src, left: limit}, nil)
	}
}

type capped struct {
	src  io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, exchange.ErrTooLarge
	}
	return n, err
}

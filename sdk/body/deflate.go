package body

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
)

// deflateReader reads zlib's format, or, as browsers do, the same without its frame: that is told by the first
// two bytes, which in a frame are a multiple of 31 (RFC 1950 section 2.2).
type deflateReader struct {
	in     *bufio.Reader
	framed io.ReadCloser
	bare   io.ReadCloser
	now    io.Reader
}

func newDeflateReader() *deflateReader {
	return &deflateReader{in: bufio.NewReader(nothing), bare: flate.NewReader(nothing)}
}

var errMore = errors.New("deflate: something follows the end")

func (r *deflateReader) reset(src io.Reader) error {
	r.in.Reset(src)
	head, err := r.in.Peek(2)
	switch {
	case len(head) == 1 && err == io.EOF: //nolint:errorlint // Peek's own
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case head[0]&0x0f != 8 || (uint(head[0])<<8|uint(head[1]))%31 != 0:
		r.now = r.bare
		return r.bare.(flate.Resetter).Reset(r.in, nil) //nolint:forcetypeassert // flate says so
	}
	if r.framed == nil {
		r.framed, err = zlib.NewReader(r.in)
	} else {
		err = r.framed.(zlib.Resetter).Reset(r.in, nil) //nolint:forcetypeassert // zlib says so
	}
	r.now = r.framed
	return err
}

// Read implements [io.Reader].
func (r *deflateReader) Read(p []byte) (int, error) {
	n, err := r.now.Read(p)
	if err == io.EOF {
		switch _, after := r.in.ReadByte(); {
		case after == nil:
			err = errMore
		case after != io.EOF:
			err = after
		}
	}
	return n, err
}

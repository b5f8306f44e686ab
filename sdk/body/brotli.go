package body

import (
	"io"

	"github.com/andybalholm/brotli"
)

// brotliReader reads brotli in chunks of any size. The library takes a body whose last bits come in a
// chunk of a few bytes for one with something after its end: it finishes such chunks from a buffer of its
// own, and takes what is in the buffer for too much (reader.go asks for buffer_length == 0). Small chunks
// are therefore given to it byte by byte, and its complaint about the last byte of a body is ignored.
type brotliReader struct {
	*brotli.Reader

	in   trickle
	over bool // the complaint was ignored once
}

func newBrotliReader() *brotliReader { return &brotliReader{Reader: brotli.NewReader(nothing)} }

func (r *brotliReader) reset(src io.Reader) error {
	r.in, r.over = trickle{src: src}, false
	return r.Reset(&r.in)
}

// Read implements [io.Reader].
func (r *brotliReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err.Error() == "brotli: excessive input" && r.in.single && !r.over {
		r.over, err = true, nil
	}
	return n, err
}

// trickle reads chunks of up to 16 bytes one byte at a time. The library's buffer holds half of that.
type trickle struct {
	src    io.Reader
	small  [16]byte
	rest   []byte
	err    error // that came with rest
	single bool  // the last byte of a chunk was read on its own
}

// Read implements [io.Reader].
func (t *trickle) Read(p []byte) (int, error) {
	if len(t.rest) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		n, err := t.src.Read(p)
		if n == 0 || n > len(t.small) {
			t.single, t.err = false, err
			return n, err
		}
		t.rest, t.err = append(t.small[:0], p[:n]...), err
	}
	p[0] = t.rest[0]
	t.rest = t.rest[1:]
	t.single = len(t.rest) == 0
	return 1, nil
}

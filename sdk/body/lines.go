package body

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// DefaultItem is the size of an event or a line without another limit, in bytes.
const DefaultItem = 1 << 20

// Lines yields the lines of JSON Lines (also called NDJSON) without their ends, LF or CR LF, and without
// the empty ones; the last line may lack its end. A line is valid until the next. One above limit bytes
// (0 is DefaultItem) is [exchange.ErrTooLarge]; an error is yielded last.
func Lines(src io.Reader, limit int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		r := newLineReader(src, limit, false)
		for {
			line, err := r.next()
			if err == io.EOF { //nolint:errorlint // the reader's own
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			line = bytes.TrimSuffix(line, []byte{'\r'})
			if len(bytes.TrimSpace(line)) > 0 && !yield(line, nil) {
				return
			}
		}
	}
}

// JSONLines yields the values of JSON Lines, decoded. A line that is no JSON for a T is [ErrSyntax] with
// its number, and the last.
func JSONLines[T any](src io.Reader, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		n := 0
		for line, err := range Lines(src, limit) {
			var value T
			n++
			if err == nil {
				if fault := json.Unmarshal(line, &value); fault != nil {
					err = fmt.Errorf("%w: value %d: %w", ErrSyntax, n, fault)
				}
			}
			if !yield(value, err) || err != nil {
				return
			}
		}
	}
}

// lineReader cuts lines out of chunks. A line that lies within a chunk isn't copied.
type lineReader struct {
	src   io.Reader
	limit int
	cr    bool // a CR alone ends a line too

	buf    []byte
	chunk  []byte
	held   []byte // the begin of a line that went on in the next chunk
	skipLF bool   // of a CR LF whose line is out already
	ended  bool
}

func newLineReader(src io.Reader, limit int, cr bool) *lineReader {
	if limit <= 0 {
		limit = DefaultItem
	}
	return &lineReader{src: src, limit: limit, cr: cr, buf: make([]byte, 4<<10)}
}

// next returns a line, and io.EOF after the last. What stands after the last end of a line is a line if
// lines end by LF only; else the caller asks rest.
func (r *lineReader) next() ([]byte, error) {
	r.held = r.held[:0]
	for {
		if line, ok := r.cut(); ok {
			return r.line(line)
		}
		if len(r.held)+len(r.chunk) > r.limit {
			return nil, exchange.ErrTooLarge
		}
		r.held = append(r.held, r.chunk...)
		r.chunk = nil
		if r.ended {
			if len(r.held) == 0 || r.cr {
				return nil, io.EOF
			}
			return r.held, nil
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

func (r *lineReader) fill() error {
	n, err := r.src.Read(r.buf)
	r.chunk = r.buf[:n]
	if err == io.EOF {
		r.ended, err = true, nil
	}
	if r.skipLF && n > 0 {
		r.skipLF = false
		r.chunk = bytes.TrimPrefix(r.chunk, []byte{'\n'})
	}
	return err
}

// cut takes a line's remainder off the chunk.
func (r *lineReader) cut() ([]byte, bool) {
	ends := "\n"
	if r.cr {
		ends = "\r\n"
	}
	i := bytes.IndexAny(r.chunk, ends)
	if i < 0 {
		return nil, false
	}
	line, end := r.chunk[:i], r.chunk[i]
	r.chunk = r.chunk[i+1:]
	if end == '\r' {
		// The line is complete: waiting for an LF that may not come would hold an event back.
		if len(r.chunk) == 0 {
			r.skipLF = true
		}
		r.chunk = bytes.TrimPrefix(r.chunk, []byte{'\n'})
	}
	return line, true
}

func (r *lineReader) line(rest []byte) ([]byte, error) {
	if len(r.held)+len(rest) > r.limit {
		return nil, exchange.ErrTooLarge
	}
	if len(r.held) == 0 {
		return rest, nil
	}
	r.held = append(r.held, rest...)
	return r.held, nil
}

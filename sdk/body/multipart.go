package body

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"mime/multipart"
	"net/textproto"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// PartLimit bounds what is read of a multipart body. The zero value has the defaults.
type PartLimit struct {
	// Parts is how many there may be; 0 is DefaultParts, below 0 is no bound.
	Parts int
	// Header is the size of one part's header, in bytes; 0 is DefaultPartHeader.
	Header int
	// Bytes is how much of one part's body can be read; 0 is no bound, as nobody has to hold it. What is skipped
	// doesn't count.
	Bytes int64
}

// The bounds without others.
const (
	DefaultParts      = 1000
	DefaultPartHeader = 16 << 10
)

// ErrNotMultipart indicates a content-type that is no multipart one, or has no boundary.
var ErrNotMultipart = errors.New("no multipart content-type")

// A Part is one part of a multipart body (RFC 2046 section 5.1). It is valid, and its body can be read, until
// the next one is asked for; what wasn't read is skipped.
type Part struct {
	// Header are the part's lines, with canonical names.
	Header textproto.MIMEHeader

	part *multipart.Part
	left int64 // -1 is no bound
}

// FormName is the name in a content-disposition of form-data (RFC 7578 section 4.2), "" without one.
func (p *Part) FormName() string { return p.part.FormName() }

// FileName is the file's name in the content-disposition, without directories, "" without one.
func (p *Part) FileName() string { return p.part.FileName() }

// Read reads the part's body as it is on the wire: a content-transfer-encoding stays.
func (p *Part) Read(b []byte) (int, error) {
	n, err := p.part.Read(b)
	if p.left >= 0 {
		if p.left -= int64(n); p.left < 0 {
			return 0, exchange.ErrTooLarge
		}
	}
	return n, partFault(err)
}

// Parts yields the parts of a multipart body, such as a form's (multipart/form-data) or a batch's
// (multipart/mixed), each as it comes; contentType is the message's. A part that holds parts is read by
// another Parts over it.
//
// An error is yielded last: [ErrNotMultipart]; [ErrSyntax] for a body that ends before its last boundary, or
// whose parts have no proper header; [exchange.ErrTooLarge] past a limit. What a body function reads that way:
//
//	kind := x.Request.Header.Get("content-type")
//	x.Request.Body.Observe(func(src io.Reader) error {
//		for part, err := range body.Parts(src, kind, body.PartLimit{Bytes: 32 << 20}) {
//			if err != nil {
//				return err
//			}
//			if err := scan(part.FileName(), part); err != nil {
//				return err
//			}
//		}
//		return nil
//	})
//
// Observed parts have passed when they are judged; hold the body (read x.Request.Body itself) where none may.
func Parts(src io.Reader, contentType string, limit PartLimit) iter.Seq2[*Part, error] {
	return func(yield func(*Part, error) bool) {
		reader, err := newPartReader(src, contentType, limit)
		if err != nil {
			yield(nil, err)
			return
		}
		for {
			part, err := reader.next()
			if err == io.EOF { //nolint:errorlint // the reader's own
				return
			}
			if !yield(part, err) || err != nil {
				return
			}
		}
	}
}

type partReader struct {
	limit  PartLimit
	source *boundedSource
	parts  *multipart.Reader
	last   *multipart.Part
	n      int
}

func newPartReader(src io.Reader, contentType string, limit PartLimit) (*partReader, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"]
	// A boundary has 1 to 70 characters (RFC 2046 section 5.1.1).
	if err != nil || !strings.HasPrefix(kind, "multipart/") || boundary == "" || len(boundary) > 70 {
		return nil, ErrNotMultipart
	}
	if limit.Parts == 0 {
		limit.Parts = DefaultParts
	}
	if limit.Header == 0 {
		limit.Header = DefaultPartHeader
	}
	if limit.Bytes == 0 {
		limit.Bytes = -1
	}
	source := &boundedSource{src: src}
	return &partReader{limit: limit, source: source, parts: multipart.NewReader(source, boundary)}, nil
}

// next skips to the next part and reads its header.
func (r *partReader) next() (*Part, error) {
	if r.last != nil {
		_ = r.last.Close() // reads to its end; a fault comes again below
	}
	// Package multipart would collect 10 MiB of a header.
	r.source.left, r.source.bounded = r.limit.Header+readAhead, true
	part, err := r.parts.NextRawPart()
	r.source.bounded, r.last = false, part
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case err != nil:
		return nil, partFault(err)
	}
	if r.n++; r.limit.Parts > 0 && r.n > r.limit.Parts {
		return nil, exchange.ErrTooLarge
	}
	size := 0
	for name, values := range part.Header {
		for _, value := range values {
			size += len(name) + len(value) + len(": \r\n")
		}
	}
	if size > r.limit.Header {
		return nil, exchange.ErrTooLarge
	}
	return &Part{Header: part.Header, part: part, left: r.limit.Bytes}, nil
}

// partFault tells what is wrong with the body from what is wrong with its source.
func partFault(err error) error {
	var from *sourceError
	switch {
	case err == nil, err == io.EOF: //nolint:errorlint // the end of a part
		return err
	case errors.As(err, &from):
		return from.err
	case errors.Is(err, multipart.ErrMessageTooLarge), errors.Is(err, bufio.ErrBufferFull):
		return exchange.ErrTooLarge
	}
	return fmt.Errorf("%w: multipart: %w", ErrSyntax, err)
}

// readAhead is what package multipart may read of the part after its header.
const readAhead = 8 << 10

// boundedSource bounds what is read while there is no part to give it to, and marks the errors of a source,
// which package multipart passes on among its own.
type boundedSource struct {
	src     io.Reader
	left    int // where bounded
	bounded bool
}

type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

// Read implements [io.Reader].
func (s *boundedSource) Read(p []byte) (int, error) {
	if s.bounded && s.left <= 0 {
		return 0, &sourceError{exchange.ErrTooLarge}
	}
	n, err := s.src.Read(p)
	s.left -= n
	if err != nil && err != io.EOF {
		err = &sourceError{err}
	}
	return n, err
}

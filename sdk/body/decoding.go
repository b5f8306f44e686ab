package body

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// decoding reads src with one coding taken off, within the limits.
type decoding struct {
	src    io.Reader
	coding string
	limit  Limit

	from   source
	reader decompressor // nil before the first Read
	n      int64
	err    error
}

// source counts what a decompressor reads, and tells a failed read from what becomes of it there.
type source struct {
	src io.Reader
	n   int64
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.src.Read(p)
	s.n += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Read implements [io.Reader].
func (d *decoding) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.read(p)
	d.n += int64(n)
	if d.exceeds() { // also with the last bytes, which some decompressors give together with the end
		n, err = 0, exchange.ErrTooLarge
	}
	if err != nil {
		d.err = d.fault(err)
	}
	return n, d.err
}

func (d *decoding) read(p []byte) (int, error) {
	if d.reader == nil {
		d.from.src = d.src
		d.reader = decompressors[d.coding].Get().(decompressor) //nolint:forcetypeassert // the pools hold nothing else
		if err := d.reader.reset(&d.from); err != nil {
			return 0, err
		}
	}
	return d.reader.Read(p)
}

func (d *decoding) exceeds() bool {
	return d.limit.Bytes > 0 && d.n > d.limit.Bytes ||
		d.limit.Ratio > 0 && d.n > ratioFrom && d.n/d.limit.Ratio > d.from.n
}

// fault is what an error of the decompressor's stands for; io.EOF is the end.
func (d *decoding) fault(err error) error {
	ended := err == io.EOF //nolint:errorlint // decompressors end with the bare one
	switch {
	case d.from.err != nil:
		return d.from.err
	case ended, errors.Is(err, io.EOF) && d.from.n == 0, errors.Is(err, io.ErrUnexpectedEOF) && d.from.n == 0:
		return io.EOF // no body is no body in every coding
	case errors.Is(err, exchange.ErrTooLarge), errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return exchange.ErrTooLarge
	}
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, d.coding, err)
}

// close gives the decompressor back.
func (d *decoding) close() {
	if d.reader != nil {
		_ = d.reader.reset(nothing) // an error says that nothing is there
		decompressors[d.coding].Put(d.reader)
	}
}

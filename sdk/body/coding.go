package body

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// The content codings (RFC 9110 section 8.4.1, RFC 7932, RFC 8878).
const (
	Gzip   = "gzip"
	Brotli = "br"
	Zstd   = "zstd"
	// Deflate is zlib's format (RFC 1950). What is decoded may lack its frame, as some senders have it (RFC
	// 9110 section 8.4.1.2).
	Deflate = "deflate"
)

// known are all of them, as an accept-encoding says it.
const known = Gzip + ", " + Brotli + ", " + Zstd + ", " + Deflate

// codings splits a content-encoding's value into what was applied, in that order.
func codings(value string) ([]string, error) {
	var list []string
	for name := range strings.SplitSeq(value, ",") {
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "", "identity":
		case "x-gzip":
			list = append(list, Gzip)
		case Gzip, Brotli, Zstd, Deflate:
			list = append(list, name)
		default:
			return nil, fmt.Errorf("%w %q", ErrCoding, name)
		}
	}
	// Nobody compresses thrice for a good reason.
	if len(list) > 2 {
		return nil, fmt.Errorf("%w: %d codings", ErrCoding, len(list))
	}
	return list, nil
}

// maxWindow is what RFC 9659 allows the content coding zstd: more is memory for the sender's choosing.
const maxWindow = 8 << 20

// A decompressor is a reader that is used again. Each kind is synchronous: it reads in the goroutine that
// reads from it, as a coroutine demands.
type decompressor interface {
	io.Reader
	reset(src io.Reader) error
}

type (
	gzipReader struct{ gzip.Reader }
	zstdReader struct{ *zstd.Decoder }
)

func (r *gzipReader) reset(src io.Reader) error { return r.Reset(src) }
func (r *zstdReader) reset(src io.Reader) error { return r.Reset(src) }

// nothing is what pooled readers and writers refer to.
var nothing = strings.NewReader("")

var decompressors = map[string]*sync.Pool{
	Gzip:    {New: func() any { return new(gzipReader) }},
	Brotli:  {New: func() any { return newBrotliReader() }},
	Deflate: {New: func() any { return newDeflateReader() }},
	Zstd: {New: func() any {
		r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			panic(err) // of constant options
		}
		return &zstdReader{r}
	}},
}

// A compressor is a writer that is used again.
type compressor interface {
	io.WriteCloser
	Flush() error
	Reset(dst io.Writer)
}

// The levels are those for content that is made for one client: more would cost more time than it saves.
const (
	gzipLevel   = 5
	brotliLevel = 4
	brotliLog   = 18 // the window, 256 KiB
	zstdWindow  = 256 << 10
)

var compressors = map[string]*sync.Pool{
	Gzip: {New: func() any {
		w, err := gzip.NewWriterLevel(io.Discard, gzipLevel)
		if err != nil {
			panic(err) // of a constant level
		}
		return w
	}},
	Deflate: {New: func() any {
		w, err := zlib.NewWriterLevel(io.Discard, gzipLevel)
		if err != nil {
			panic(err) // of a constant level
		}
		return w
	}},
	Brotli: {New: func() any {
		return brotli.NewWriterOptions(io.Discard, brotli.WriterOptions{Quality: brotliLevel, LGWin: brotliLog})
	}},
	Zstd: {New: func() any {
		w, err := zstd.NewWriter(io.Discard, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow))
		if err != nil {
			panic(err) // of constant options
		}
		return w
	}},
}

// compress runs a coding. flush sends what there is with each chunk, for readers who wait for it.
func compress(dst io.Writer, src io.Reader, coding string, flush bool) error {
	pool := compressors[coding]
	w := pool.Get().(compressor) //nolint:forcetypeassert // the pools hold nothing else
	w.Reset(dst)
	defer func() {
		w.Reset(io.Discard)
		pool.Put(w)
	}()
	var each func() error
	if flush {
		each = w.Flush
	}
	if err := pump(w, src, each); err != nil {
		return err
	}
	return w.Close()
}

// buffers are as large as a chunk of Envoy's may be.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// pump copies without the ways around Read and Write that io.Copy takes: a WriteTo may read ahead.
func pump(dst io.Writer, src io.Reader, each func() error) error {
	buf := buffers.Get().(*[32 << 10]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer buffers.Put(buf)
	for {
		n, err := src.Read(buf[:])
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
			if each != nil {
				if err := each(); err != nil {
					return err
				}
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

package body_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

var everyCoding = []string{body.Gzip, body.Brotli, body.Zstd, body.Deflate}

// run returns what fn makes of in.
func run(fn body.Func, in io.Reader) (string, error) {
	var out bytes.Buffer
	err := fn(&out, in)
	return out.String(), err
}

func encoded(t testing.TB, text string, codings ...string) string {
	t.Helper()
	for _, coding := range codings {
		fn, err := body.Encoder(coding, false)
		if err != nil {
			t.Fatal(err)
		}
		if text, err = run(fn, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

func decoder(t testing.TB, encoding string, limit body.Limit) body.Func {
	t.Helper()
	fn, err := body.Decoder(encoding, limit)
	if err != nil {
		t.Fatal(err)
	}
	return fn
}

// prose compresses as text does.
func prose(size int) string {
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the quick brown fox jumps over a lazy dog while seven wizards vex bold gnomes")
	var b strings.Builder
	for b.Len() < size {
		fmt.Fprintf(&b, "%s %d ", words[r.IntN(len(words))], r.IntN(1000))
	}
	return b.String()[:size]
}

func TestWhatIsCompressedComesBack(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"gzip", "x-gzip", "br", "zstd", "GZip", "identity, br", "zstd, gzip", "br,zstd", "deflate", "gzip, Deflate", "", "identity"} {
		for _, size := range []int{0, 1, 20_000, 1 << 20} {
			text := prose(size)
			var codings []string
			for coding := range strings.SplitSeq(strings.ToLower(encoding), ",") {
				coding = strings.TrimPrefix(strings.TrimSpace(coding), "x-")
				if coding != "" && coding != "identity" {
					codings = append(codings, coding)
				}
			}
			packed := encoded(t, text, codings...)
			for name, src := range map[string]io.Reader{
				"at once":      strings.NewReader(packed),
				"in halves":    iotest.HalfReader(strings.NewReader(packed)),
				"end with all": iotest.DataErrReader(strings.NewReader(packed)),
			} {
				if got, err := run(decoder(t, encoding, body.Limit{}), src); err != nil || got != text {
					t.Errorf("%q, %d bytes %s: %d bytes, %v", encoding, size, name, len(got), err)
				}
			}
			if size > 1 && size < 1<<20 {
				if got, err := run(decoder(t, encoding, body.Limit{}), iotest.OneByteReader(strings.NewReader(packed))); err != nil || got != text {
					t.Errorf("%q, %d bytes one by one: %d bytes, %v", encoding, size, len(got), err)
				}
			}
		}
	}
}

func TestNoBodyIsNoBodyInEveryCoding(t *testing.T) {
	t.Parallel()
	for _, coding := range everyCoding {
		if got, err := run(decoder(t, coding, body.Limit{}), strings.NewReader("")); err != nil || got != "" {
			t.Errorf("%s: %q, %v", coding, got, err)
		}
	}
}

func TestMembersOneAfterTheOtherAreOneBody(t *testing.T) {
	t.Parallel()
	for _, coding := range []string{body.Gzip, body.Zstd} {
		got, err := run(decoder(t, coding, body.Limit{}), strings.NewReader(encoded(t, "one ", coding)+encoded(t, "two", coding)))
		if err != nil || got != "one two" {
			t.Errorf("%s: %q, %v", coding, got, err)
		}
	}
}

func TestCorruptBodiesAreFaults(t *testing.T) {
	t.Parallel()
	for _, coding := range everyCoding {
		packed := encoded(t, prose(10_000), coding)
		flipped := []byte(packed)
		for i := len(flipped) / 2; i < len(flipped)/2+8; i++ {
			flipped[i] ^= 0xff
		}
		for name, text := range map[string]string{
			"the half": packed[:len(packed)/2], "all but a byte": packed[:len(packed)-1], "one byte": packed[:1],
			"another format": "plain text, and quite a lot of it", "changed bytes": string(flipped), "more": packed + "and more",
		} {
			if got, err := run(decoder(t, coding, body.Limit{}), strings.NewReader(text)); !errors.Is(err, body.ErrCorrupt) {
				t.Errorf("%s, %s: %d bytes, %v", coding, name, len(got), err)
			}
		}
		// A decompressor that met a fault is good for the next body.
		if got, err := run(decoder(t, coding, body.Limit{}), strings.NewReader(packed)); err != nil || len(got) != 10_000 {
			t.Errorf("%s after faults: %d bytes, %v", coding, len(got), err)
		}
	}
}

// TestReadersAndWritersErrorsStayTheirs: an exchange that ended isn't a corrupt body.
func TestReadersAndWritersErrorsStayTheirs(t *testing.T) {
	t.Parallel()
	for _, coding := range everyCoding {
		packed := encoded(t, prose(1<<20), coding)
		gone := io.MultiReader(strings.NewReader(packed[:1000]), iotest.ErrReader(exchange.ErrEnded))
		if _, err := run(decoder(t, coding, body.Limit{}), gone); !errors.Is(err, exchange.ErrEnded) || errors.Is(err, body.ErrCorrupt) {
			t.Errorf("%s: a reader's error became %v", coding, err)
		}
		full := errors.New("full")
		if err := decoder(t, coding, body.Limit{})(failing{full}, strings.NewReader(packed)); !errors.Is(err, full) {
			t.Errorf("%s: a writer's error became %v", coding, err)
		}
		fn, err := body.Encoder(coding, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := fn(failing{full}, strings.NewReader(prose(1<<20))); !errors.Is(err, full) {
			t.Errorf("%s: a writer's error when compressing became %v", coding, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestBombsAreStopped(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("\x00", 8<<20)
	for _, coding := range everyCoding {
		bomb := encoded(t, zeros, coding)
		for name, c := range map[string]struct {
			limit body.Limit
			most  int // that may come out before the end
			ok    bool
		}{
			"by their ratio": {body.Limit{}, 1<<20 + 64<<10 + len(bomb)*body.DefaultRatio, false},
			"by their size":  {body.Limit{Bytes: 100_000, Ratio: -1}, 100_000 + 64<<10, false},
			"unless allowed": {body.Limit{Bytes: -1, Ratio: -1}, len(zeros), true},
			"nor all that":   {body.Limit{Bytes: 8 << 20, Ratio: 1 << 30}, len(zeros), true},
		} {
			got, err := run(decoder(t, coding, c.limit), strings.NewReader(bomb))
			if c.ok != (err == nil) || !c.ok && !errors.Is(err, exchange.ErrTooLarge) || len(got) > c.most {
				t.Errorf("%s, %s: %d bytes of %d, %v", coding, name, len(got), len(bomb), err)
			}
		}
		// A bomb in a bomb must not explode in the middle.
		if got, err := run(decoder(t, coding+", gzip", body.Limit{}), strings.NewReader(encoded(t, bomb, body.Gzip))); !errors.Is(err, exchange.ErrTooLarge) {
			t.Errorf("%s in gzip: %d bytes, %v", coding, len(got), err)
		}
	}
}

func TestCodingsThatNobodyKnows(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"compress", "gzip, rot13", "gzip, gzip, gzip", "gzip;q=1"} {
		if _, err := body.Decoder(encoding, body.Limit{}); !errors.Is(err, body.ErrCoding) {
			t.Errorf("%q: %v", encoding, err)
		}
	}
	if _, err := body.Encoder("identity", false); !errors.Is(err, body.ErrCoding) {
		t.Errorf("encoder: %v", err)
	}
}

// TestFlushedChunksArriveAtOnce: each chunk can be decoded before the next is there.
func TestFlushedChunksArriveAtOnce(t *testing.T) {
	t.Parallel()
	for _, coding := range everyCoding {
		fn, err := body.Encoder(coding, true)
		if err != nil {
			t.Fatal(err)
		}
		packed, packer := io.Pipe()
		chunks, feeder := io.Pipe()
		go func() { packer.CloseWithError(fn(packer, chunks)) }()
		out, sink := io.Pipe()
		go func() { sink.CloseWithError(decoder(t, coding, body.Limit{})(sink, packed)) }()
		for _, chunk := range []string{"data: one\n\n", "data: two\n\n", "data: three\n\n"} {
			if _, err := io.WriteString(feeder, chunk); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(chunk))
			if _, err := io.ReadFull(out, got); err != nil || string(got) != chunk {
				t.Errorf("%s: %q, %v", coding, got, err)
			}
		}
		_ = feeder.Close()
		if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
			t.Errorf("%s: rest %q, %v", coding, rest, err)
		}
	}
}

func TestCap(t *testing.T) {
	t.Parallel()
	for size, ok := range map[int]bool{0: true, 9: true, 10: true, 11: false, 100_000: false} {
		got, err := run(body.Cap(10), strings.NewReader(prose(size)))
		if ok != (err == nil) || ok && len(got) != size || !ok && (!errors.Is(err, exchange.ErrTooLarge) || len(got) > 10) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
	}
}

func TestTheClientIsBlamedForItsBody(t *testing.T) {
	t.Parallel()
	_, err := run(body.BlameClient(decoder(t, "gzip", body.Limit{})), strings.NewReader("no gzip at all"))
	var reply *exchange.Reply
	if !errors.As(err, &reply) || reply.Code != http.StatusBadRequest || !errors.Is(err, body.ErrCorrupt) {
		t.Errorf("corrupt: %v", err)
	}
	_, err = run(body.BlameClient(body.Cap(1)), strings.NewReader("too much"))
	if errors.As(err, &reply) && reply.Code == http.StatusBadRequest || !errors.Is(err, exchange.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

func FuzzDecoder(f *testing.F) {
	for i, coding := range everyCoding {
		f.Add([]byte(encoded(f, "hello, hello, hello", coding)), uint8(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, which uint8) {
		coding := everyCoding[int(which)%len(everyCoding)]
		limit := body.Limit{Bytes: 4 << 20}
		whole, err := run(decoder(t, coding, limit), bytes.NewReader(data))
		if err != nil && !errors.Is(err, body.ErrCorrupt) && !errors.Is(err, exchange.ErrTooLarge) {
			t.Fatalf("%s: %v", coding, err)
		}
		if len(whole) > 4<<20 {
			t.Fatalf("%s: %d bytes", coding, len(whole))
		}
		// How the body is cut into chunks changes nothing.
		pieces, err2 := run(decoder(t, coding, limit), iotest.OneByteReader(bytes.NewReader(data)))
		if (err == nil) != (err2 == nil) || err == nil && pieces != whole {
			t.Fatalf("%s: whole %d bytes, %v; in pieces %d bytes, %v", coding, len(whole), err, len(pieces), err2)
		}
	})
}

// TestDeflateWithoutItsFrame: some senders mean the bare format (RFC 9110 section 8.4.1.2).
func TestDeflateWithoutItsFrame(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 100, 20_000} {
		text := prose(size)
		var bare bytes.Buffer
		w, err := flate.NewWriter(&bare, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(w, text)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		if got, err := run(decoder(t, body.Deflate, body.Limit{}), iotest.OneByteReader(bytes.NewReader(bare.Bytes()))); err != nil || got != text {
			t.Errorf("%d bytes: %d bytes, %v", size, len(got), err)
		}
		for name, broken := range map[string]string{"cut": bare.String()[:bare.Len()-1], "more": bare.String() + "and more"} {
			if _, err := run(decoder(t, body.Deflate, body.Limit{}), strings.NewReader(broken)); !errors.Is(err, body.ErrCorrupt) {
				t.Errorf("%d bytes, %s: %v", size, name, err)
			}
		}
	}
}

package body_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

// TestALimitHoldsForTheLastBytesToo: some decompressors give them together with the end.
func TestALimitHoldsForTheLastBytesToo(t *testing.T) {
	t.Parallel()
	const text = "a hundred and some bytes, "
	for _, coding := range []string{body.Gzip, body.Brotli, body.Zstd, body.Deflate} {
		for _, size := range []int{1, 4, 4000} {
			plain := strings.Repeat(text, size)
			var packed bytes.Buffer
			encode, err := body.Encoder(coding, false)
			if err == nil {
				err = encode(&packed, strings.NewReader(plain))
			}
			if err != nil {
				t.Fatal(err)
			}
			for limit, want := range map[int]error{len(plain): nil, len(plain) - 1: exchange.ErrTooLarge} {
				decode, err := body.Decoder(coding, body.Limit{Bytes: int64(limit), Ratio: -1})
				if err != nil {
					t.Fatal(err)
				}
				var passed bytes.Buffer
				err = decode(&passed, io.MultiReader(bytes.NewReader(packed.Bytes())))
				if !errors.Is(err, want) || passed.Len() > limit {
					t.Errorf("%s: of %d bytes %d passed a limit of %d: %v", coding, len(plain), passed.Len(), limit, err)
				}
			}
		}
	}
}

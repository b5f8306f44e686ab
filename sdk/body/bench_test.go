package body_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

func BenchmarkTools(b *testing.B) {
	var document strings.Builder
	document.WriteString(`{"items":[`)
	for i := range 5000 {
		fmt.Fprintf(&document, `{"id":%d,"name":"item number %d","tags":["a","b"],"price":%d.50},`, i, i, i)
	}
	document.WriteString(`null],"secret":"swordfish"}`)
	rewrite := rewriter(b, body.ReplaceJSON("/secret", []byte(`null`)), body.ReplaceJSON("/items/7/name", []byte(`null`)))
	stream := strings.Repeat("id: 1\ndata: {\"choices\":[{\"delta\":{\"content\":\" word\"}}]}\n\n", 5000)
	events := func(_ io.Writer, src io.Reader) error {
		for _, err := range body.Events(src, 0) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	type tool struct {
		name string
		fn   body.Func
		in   string
		size int
	}
	tools := []tool{{"RewriteJSON", rewrite, document.String(), document.Len()}, {"Events", events, stream, len(stream)}}
	for _, coding := range everyCoding {
		text := prose(512 << 10)
		encode, err := body.Encoder(coding, false)
		if err != nil {
			b.Fatal(err)
		}
		tools = append(tools, tool{"Encode/" + coding, encode, text, len(text)},
			tool{"Decode/" + coding, decoder(b, coding, body.Limit{}), encoded(b, text, coding), len(text)})
	}
	for _, t := range tools {
		b.Run(t.name, func(b *testing.B) {
			b.SetBytes(int64(t.size))
			b.ReportAllocs()
			for b.Loop() {
				if err := t.fn(io.Discard, strings.NewReader(t.in)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

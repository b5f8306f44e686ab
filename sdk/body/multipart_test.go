package body_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

// form is a multipart body of two fields and a file, with its content-type.
func form(t testing.TB, file string) (text, contentType string) {
	t.Helper()
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	err := errors.Join(w.WriteField("name", "ada"), w.WriteField("empty", ""))
	part, err1 := w.CreateFormFile("upload", "../../etc/notes.txt")
	_, err2 := io.WriteString(part, file)
	if err := errors.Join(err, err1, err2, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String(), w.FormDataContentType()
}

// partsOf says what Parts yields: names and contents, and the error that ends it.
func partsOf(src io.Reader, contentType string, limit body.PartLimit) (seen string, err error) {
	var out strings.Builder
	for part, err := range body.Parts(src, contentType, limit) {
		if err != nil {
			return out.String(), err
		}
		text, err := io.ReadAll(part)
		fmt.Fprintf(&out, "%s|%s|%s;", part.FormName(), part.FileName(), text)
		if err != nil {
			return out.String(), err
		}
	}
	return out.String(), nil
}

func TestPartsOfAForm(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 5000, 200_000} {
		file := prose(size)
		text, kind := form(t, file)
		want := "name||ada;empty||;upload|notes.txt|" + file + ";"
		for name, src := range map[string]io.Reader{
			"at once": strings.NewReader(text), "in halves": iotest.HalfReader(strings.NewReader(text)),
			"one by one": iotest.OneByteReader(strings.NewReader(text)), "end with all": iotest.DataErrReader(strings.NewReader(text)),
		} {
			if got, err := partsOf(src, kind, body.PartLimit{}); err != nil || got != want {
				t.Errorf("%d bytes %s: %.100q, %v", size, name, got, err)
			}
		}
	}
}

func TestPartsOfOtherKinds(t *testing.T) {
	t.Parallel()
	const inner = "--in\r\nX: 1\r\n\r\ndeep\r\n--in--\r\n"
	const text = "preamble\r\n--b\r\nContent-Type: multipart/mixed; boundary=in\r\n\r\n" + inner + "\r\n--b\r\n\r\nno header\r\n--b--\r\nepilogue"
	var seen []string
	for part, err := range body.Parts(strings.NewReader(text), `Multipart/Mixed; boundary="b"`, body.PartLimit{}) {
		if err != nil {
			t.Fatal(err)
		}
		for deep, err := range body.Parts(part, part.Header.Get("Content-Type"), body.PartLimit{}) {
			if errors.Is(err, body.ErrNotMultipart) {
				rest, err := io.ReadAll(part)
				seen = append(seen, string(rest))
				if err != nil {
					t.Fatal(err)
				}
				continue
			}
			rest, err := io.ReadAll(deep)
			seen = append(seen, deep.Header.Get("X")+string(rest))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := strings.Join(seen, ","); got != "1deep,no header" {
		t.Error(got)
	}
}

func TestPartsThatArentReadAreSkipped(t *testing.T) {
	t.Parallel()
	text, kind := form(t, prose(100_000))
	n := 0
	for part, err := range body.Parts(strings.NewReader(text), kind, body.PartLimit{Bytes: 10}) {
		if err != nil || part.Header.Get("Content-Disposition") == "" {
			t.Fatal(part, err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d parts", n)
	}
}

func TestMalformedMultipart(t *testing.T) {
	t.Parallel()
	text, kind := form(t, prose(100))
	broken := errors.New("the connection broke")
	for name, c := range map[string]struct {
		text, kind string
		limit      body.PartLimit
		after      error // what the source ends with
		want       error
	}{
		"no multipart":           {text: text, kind: "application/json", want: body.ErrNotMultipart},
		"no content-type":        {text: text, want: body.ErrNotMultipart},
		"no boundary":            {text: text, kind: "multipart/form-data", want: body.ErrNotMultipart},
		"boundary too long":      {text: text, kind: "multipart/form-data; boundary=" + strings.Repeat("b", 71), want: body.ErrNotMultipart},
		"another boundary":       {text: text, kind: "multipart/form-data; boundary=another", want: body.ErrSyntax},
		"nothing":                {kind: kind, want: body.ErrSyntax},
		"cut in a part":          {text: text[:len(text)-80], kind: kind, want: body.ErrSyntax},
		"cut in a header":        {text: text[:80], kind: kind, want: body.ErrSyntax},
		"no last boundary":       {text: text[:strings.LastIndex(text, "\r\n--")], kind: kind, want: body.ErrSyntax},
		"header without a colon": {text: "--b\r\nx y\r\n\r\nz\r\n--b--\r\n", kind: "multipart/mixed; boundary=b", want: body.ErrSyntax},
		"too many parts":         {text: text, kind: kind, limit: body.PartLimit{Parts: 2}, want: exchange.ErrTooLarge},
		"too large a part":       {text: text, kind: kind, limit: body.PartLimit{Bytes: 99}, want: exchange.ErrTooLarge},
		"large enough":           {text: text, kind: kind, limit: body.PartLimit{Bytes: 100, Parts: 3}},
		"too large a header":     {text: text, kind: kind, limit: body.PartLimit{Header: 40}, want: exchange.ErrTooLarge},
		"a header without end":   {text: "--b\r\n" + strings.Repeat("x: y\r\n", 1<<20), kind: "multipart/mixed; boundary=b", want: exchange.ErrTooLarge},
		"a line without end":     {text: "--b\r\nx: " + strings.Repeat("y", 1<<20), kind: "multipart/mixed; boundary=b", want: exchange.ErrTooLarge},
		"a preamble without end": {text: strings.Repeat("x\r\n", 1<<20), kind: "multipart/mixed; boundary=b", want: exchange.ErrTooLarge},
		"a source that fails":    {text: text[:200], kind: kind, after: broken, want: broken},
	} {
		read := &counting{src: strings.NewReader(c.text)}
		src := io.Reader(read)
		if c.after != nil {
			src = io.MultiReader(src, iotest.ErrReader(c.after))
		}
		_, err := partsOf(src, c.kind, c.limit)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.HasSuffix(name, "without end") && read.n > 64<<10 {
			t.Errorf("%s: %d bytes were read", name, read.n)
		}
	}
}

type counting struct {
	src io.Reader
	n   int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.n += n
	return n, err
}

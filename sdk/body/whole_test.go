package body_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/sdk/body"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// TestTheProcessorOfThePackageComment: as it stands there it hides the value whichever way the document comes.
func TestTheProcessorOfThePackageComment(t *testing.T) {
	t.Parallel()
	hide, err := body.RewriteJSON(body.ReplaceJSON("/customer/iban", []byte(`"***"`)))
	if err != nil {
		t.Fatal(err)
	}
	const document, hidden = `{"customer":{"iban":"DE02"}}`, `{"customer":{"iban":"***"}}`
	var zipped bytes.Buffer
	encoder, err := body.Encoder(body.Gzip, false)
	if err == nil {
		err = encoder(&zipped, strings.NewReader(document))
	}
	if err != nil {
		t.Fatal(err)
	}
	unzip, err := body.Decoder(body.Gzip, body.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ kind, coding, sent, want string }{
		"JSON":            {"Application/JSON ; charset=utf-8; charset=utf-8", "", document, hidden},
		"compressed JSON": {"application/json", body.Gzip, zipped.String(), hidden},
		"text":            {"text/plain", "", document, document},
	} {
		answer := http.Header{"content-type": {c.kind}}
		if c.coding != "" {
			answer["content-encoding"] = []string{c.coding}
		}
		r := sdktest.Run(t, hiding(hide), sdktest.Recommended(), sdktest.Request{
			Header:   http.Header{"range": {"bytes=20-"}, "accept-encoding": {"dcb, gzip"}},
			Upstream: sdktest.Response{Header: answer, Body: []string{c.sent}},
		})
		got := r.Client.Body
		if c.coding != "" {
			var plain strings.Builder
			if err := unzip(&plain, strings.NewReader(got)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got = plain.String()
		}
		asked := r.Upstream.Header
		if got != c.want || asked.Get("range") != "" || asked.Get("accept-encoding") != "gzip" {
			t.Errorf("%s: %q\n%v", name, got, r)
		}
	}
}

// TestThePackageCommentHasTheExample, line by line.
func TestThePackageCommentHasTheExample(t *testing.T) {
	t.Parallel()
	const file = "example_whole_test.go"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	example, err := parser.ParseFile(files, file, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	comment, err := parser.ParseFile(files, "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, declared := range example.Decls {
		f, ok := declared.(*ast.FuncDecl)
		if !ok {
			continue
		}
		first, last := files.Position(f.Body.Lbrace), files.Position(f.Body.Rbrace)
		lines := strings.Split(string(text), "\n")[first.Line : last.Line-1]
		for i := range lines {
			lines[i] = "\t" + lines[i] // code is indented in a comment
		}
		if code := strings.Join(lines, "\n") + "\n"; !strings.Contains(comment.Doc.Text(), code) {
			t.Errorf("the package comment is without\n%s", code)
		}
	}
}

package body_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

func rewriter(t testing.TB, edits ...body.Edit) body.Func {
	t.Helper()
	fn, err := body.RewriteJSON(edits...)
	if err != nil {
		t.Fatal(err)
	}
	return fn
}

func TestJSONIsRewrittenInPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ pointer, in, want string }{
		{"/a", `{"a":1}`, `{"a":X}`},
		{"/a", " {\n  \"a\" : 1.50e+3 ,\t\"b\" : [ ] }\n", " {\n  \"a\" : X ,\t\"b\" : [ ] }\n"},
		{"/a", `{"b":{"a":1},"a":{"a":[1,{}]},"c":2}`, `{"b":{"a":1},"a":X,"c":2}`},
		{"/a/b", `{"a":{"b":"x","c":1},"b":2}`, `{"a":{"b":X,"c":1},"b":2}`},
		{"/a/b", `{"a":"b","b":1}`, `{"a":"b","b":1}`},
		{"/1", `[10,20,30]`, `[10,X,30]`},
		{"/1/0/k", `[0,[{"k":1},{"k":2}]]`, `[0,[{"k":X},{"k":2}]]`},
		{"/01", `[10,20]`, `[10,20]`},
		{"/-", `[10]`, `[10]`},
		{"/0", `{"0":1}`, `{"0":X}`},
		{"", ` {"a":1} `, ` X `},
		{"", `null`, `X`},
		{"/", `{"":1," ":2}`, `{"":X," ":2}`},
		{"/a~1b", `{"a/b":1}`, `{"a/b":X}`},
		{"/m~0n", `{"m~n":1}`, `{"m~n":X}`},
		{"/~01", `{"~1":1,"/":2}`, `{"~1":X,"/":2}`},
		// RFC 6901 section 5.
		{"/c%d", `{"c%d":1}`, `{"c%d":X}`},
		{`/k"l`, `{"k\"l":6}`, `{"k\"l":X}`},
		{`/i\j`, `{"i\\j":5}`, `{"i\\j":X}`},
		// No spelling of a name gets past an edit, and none of two alike.
		{"/a", `{"\u0061":1}`, `{"\u0061":X}`},
		{"/a", `{"a":1,"a":2}`, `{"a":X,"a":X}`},
		{"/😀", `{"\uD83D\uDE00":1}`, `{"\uD83D\uDE00":X}`},
		{"/\ufffd", `{"\ud800":1}`, `{"\ud800":X}`},
		{"/\ufffd\ufffd", `{"\ud800\ud800":1}`, `{"\ud800\ud800":X}`},
		{"/\ufffdn", `{"\ud800\u006e":1}`, `{"\ud800\u006e":X}`},
		{"/\ufffd\n", `{"\ud800\n":1}`, `{"\ud800\n":X}`},
		{"/ab", `{"abc":1,"a":2,"ab":3}`, `{"abc":1,"a":2,"ab":X}`},
		{"/e\u0301", `{"é":1}`, `{"é":1}`},
		{"/a", "", ""},
	} {
		in := strings.ReplaceAll(c.in, "X", `"new"`)
		for _, edit := range []body.Edit{
			body.ReplaceJSON(c.pointer, []byte(`"new"`)),
			body.MapJSON(c.pointer, 0, func([]byte) ([]byte, error) { return []byte(`"new"`), nil }),
		} {
			for name, src := range map[string]io.Reader{"at once": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in))} {
				got, err := run(rewriter(t, edit), src)
				if want := strings.ReplaceAll(c.want, "X", `"new"`); err != nil || got != want {
					t.Errorf("%s in %s %s: %s, %v", c.pointer, c.in, name, got, err)
				}
			}
		}
	}
}

func TestSeveralEdits(t *testing.T) {
	t.Parallel()
	double := func(v []byte) ([]byte, error) {
		n, err := strconv.Atoi(string(v))
		return strconv.AppendInt(nil, int64(2*n), 10), err
	}
	fn := rewriter(t, body.MapJSON("/a/0", 0, double), body.MapJSON("/a/1", 0, double), body.ReplaceJSON("/b/secret", []byte("null")))
	got, err := run(fn, strings.NewReader(`{"a":[1,2,3],"b":{"secret":{"deep":[true,false,null]},"open":1}}`))
	if want := `{"a":[2,4,3],"b":{"secret":null,"open":1}}`; err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
}

func TestWildcards(t *testing.T) {
	t.Parallel()
	x := []byte("0")
	for name, c := range map[string]struct {
		edits    []body.Edit
		in, want string
	}{
		"of an array":      {[]body.Edit{body.ReplaceJSON("/a/*/k", x).Wildcards()}, `{"a":[{"k":1},{"j":2},[{"k":3}]],"k":4}`, `{"a":[{"k":0},{"j":2},[{"k":3}]],"k":4}`},
		"of an object":     {[]body.Edit{body.ReplaceJSON("/*/k", x).Wildcards()}, `{"a":{"k":1},"*":{"k":2},"c":3}`, `{"a":{"k":0},"*":{"k":0},"c":3}`},
		"at the end":       {[]body.Edit{body.ReplaceJSON("/a/*", x).Wildcards()}, `{"a":[1,[2]],"b":[3]}`, `{"a":[0,0],"b":[3]}`},
		"not asked for":    {[]body.Edit{body.ReplaceJSON("/*", x)}, `{"a":1,"*":2}`, `{"a":1,"*":0}`},
		"one in a name":    {[]body.Edit{body.ReplaceJSON("/a*", x).Wildcards()}, `{"ab":1,"a*":2}`, `{"ab":1,"a*":0}`},
		"beside an edit":   {[]body.Edit{body.ReplaceJSON("/*", x).Wildcards(), body.ReplaceJSON("/b", []byte("9"))}, `{"a":1,"b":2}`, `{"a":0,"b":9}`},
		"beside a path":    {[]body.Edit{body.ReplaceJSON("/*/k", x).Wildcards(), body.ReplaceJSON("/a/j", []byte("9"))}, `{"a":{"k":1,"j":1},"b":{"k":1,"j":1}}`, `{"a":{"k":0,"j":9},"b":{"k":0,"j":1}}`},
		"beside an index":  {[]body.Edit{body.ReplaceJSON("/*/k", x).Wildcards(), body.ReplaceJSON("/1/k", []byte("9"))}, `[{"k":1},{"k":1}]`, `[{"k":0},{"k":9}]`},
		"two of them":      {[]body.Edit{body.ReplaceJSON("/*/b", x).Wildcards(), body.ReplaceJSON("/a/*", []byte("9")).Wildcards()}, `{"a":{"c":1,"d":1},"x":{"b":1,"c":1}}`, `{"a":{"c":9,"d":9},"x":{"b":0,"c":1}}`},
		"one after other":  {[]body.Edit{body.ReplaceJSON("/*/*/k", x).Wildcards(), body.ReplaceJSON("/a/1/k", []byte("9"))}, `{"a":[{"k":1},{"k":1}]}`, `{"a":[{"k":0},{"k":9}]}`},
		"a name and below": {[]body.Edit{body.ReplaceJSON("/*/k", x).Wildcards()}, `{"a\u0062":{"\u006b":1}}`, `{"a\u0062":{"\u006b":0}}`},
	} {
		if got, err := run(rewriter(t, c.edits...), strings.NewReader(c.in)); err != nil || got != c.want {
			t.Errorf("%s: %s, want %s, %v", name, got, c.want, err)
		}
	}
	if _, err := body.RewriteJSON(body.ReplaceJSON("/a/*", x).Wildcards(), body.ReplaceJSON("/a/b/c", x)); err == nil {
		t.Error("an edit within what a wildcard replaces")
	}
}

func TestMembersAreRemoved(t *testing.T) {
	t.Parallel()
	remove := func(pointers ...string) (edits []body.Edit) {
		for _, p := range pointers {
			edits = append(edits, body.RemoveJSON(p).Wildcards())
		}
		return edits
	}
	for _, c := range []struct {
		edits    []body.Edit
		in, want string
	}{
		{remove("/a"), `{"a":1}`, `{}`},
		{remove("/a"), ` { "a" : 1 } `, ` { } `},
		{remove("/a"), `{"a":1,"b":2}`, `{"b":2}`},
		{remove("/b"), `{"a":1,"b":[{}],"c":3}`, `{"a":1,"c":3}`},
		{remove("/c"), `{"a":1,"b":2,"c":"\"}"}`, `{"a":1,"b":2}`},
		{remove("/a"), `{"a":1,"b":2,"a":3}`, `{"b":2}`},
		{remove("/a", "/b"), `{"a":1,"b":2}`, `{}`},
		{remove("/x"), "{\n  \"a\": 1,\n  \"b\" : 2\n}", "{\n  \"a\": 1,\"b\" : 2}"},
		{remove("/x"), `{}`, `{}`},
		{remove("/a/x"), `{"a":{"x":1,"y":{"x":2}},"x":3}`, `{"a":{"y":{"x":2}},"x":3}`},
		{remove("/0"), `[1,2,3]`, `[2,3]`},
		{remove("/1"), `[1 , 2 , 3]`, `[1,3]`},
		{remove("/2", "/0"), `[1,[2],3]`, `[[2]]`},
		{remove("/*"), `[1,{"a":2},[3]]`, `[]`},
		{remove("/*/x"), `[{"x":1},{"y":2,"x":3},4]`, `[{},{"y":2},4]`},
		{append(remove("/x"), body.ReplaceJSON("/y/z", []byte("0"))), `{"x":1,"y":{"z":1}}`, `{"y":{"z":0}}`},
		{append(remove("/0"), body.ReplaceJSON("/1", []byte("0"))), `[1,2,3]`, `[0,3]`},
		{append(remove("/*"), body.ReplaceJSON("/y", []byte("0"))), `{"x":1,"y":2}`, `{"y":0}`},
	} {
		for name, src := range map[string]io.Reader{"at once": strings.NewReader(c.in), "byte by byte": iotest.OneByteReader(strings.NewReader(c.in))} {
			if got, err := run(rewriter(t, c.edits...), src); err != nil || got != c.want {
				t.Errorf("%s %s: %s, want %s, %v", c.in, name, got, c.want, err)
			}
		}
	}
	fn := rewriter(t, remove("/a")...)
	for _, in := range []string{`{"a":1`, `{"a":1,}`, `{,"a":1}`, `{"a" 1}`, `{"b":1 "a":2}`, `{"a":1]`, `{"b":1,`, `{"a":tru}`, `[1,]`} {
		if got, err := run(fn, strings.NewReader(in)); !errors.Is(err, body.ErrSyntax) {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	if _, err := run(fn, strings.NewReader(`{"`+strings.Repeat("x", 65<<10)+`":1}`)); !errors.Is(err, exchange.ErrTooLarge) {
		t.Errorf("a long name: %v", err)
	}
	if _, err := body.RewriteJSON(body.RemoveJSON("")); err == nil {
		t.Error("the whole document is removed")
	}
}

func TestPointersAndValuesThatAreNone(t *testing.T) {
	t.Parallel()
	for name, edits := range map[string][]body.Edit{
		"no slash":          {body.ReplaceJSON("a", []byte("1"))},
		"a tilde alone":     {body.ReplaceJSON("/a~", []byte("1"))},
		"a tilde and two":   {body.ReplaceJSON("/a~2", []byte("1"))},
		"no JSON":           {body.ReplaceJSON("/a", []byte("{"))},
		"nothing":           {body.ReplaceJSON("/a", nil)},
		"twice the same":    {body.ReplaceJSON("/a", []byte("1")), body.ReplaceJSON("/a", []byte("2"))},
		"one in the other":  {body.ReplaceJSON("/a", []byte("1")), body.ReplaceJSON("/a/b", []byte("2"))},
		"all and something": {body.ReplaceJSON("/b", []byte("1")), body.ReplaceJSON("", []byte("2"))},
	} {
		if _, err := body.RewriteJSON(edits...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMalformedJSON(t *testing.T) {
	t.Parallel()
	fn := rewriter(t, body.ReplaceJSON("/a", []byte("1")))
	for _, in := range []string{
		" ", "{", "}", "[", "[1", "[1,", "[1,]", "[,1]", "{,}", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{"a" 1}`, `{a:1}`, `{1:1}`,
		`{"a":}`, "1 2", "{} x", "tru", "truth", "nul", "True", "NaN", "01", "-", "-x", "1.", ".5", "1e", "1e+", "+1", "0x1", `"`, `"\`, `"\x"`, `"\u12"`,
		`"\u12x4"`, "\"\n\"", "\"\x00\"", `"a" "b"`, "\xef\xbb\xbf{}", "{\"a\":\"\\ud8", "[[[", strings.Repeat("[", 1001) + strings.Repeat("]", 1001),
	} {
		got, err := run(fn, strings.NewReader(in))
		if !errors.Is(err, body.ErrSyntax) {
			t.Errorf("%.20q: %q, %v", in, got, err)
		}
		if deep := strings.HasPrefix(in, "[[[["); json.Valid([]byte(in)) && !deep {
			t.Errorf("%q is valid", in)
		}
	}
	if _, err := run(fn, strings.NewReader(strings.Repeat("[", 1000)+strings.Repeat("]", 1000))); err != nil {
		t.Errorf("a thousand levels: %v", err)
	}
	for _, in := range []string{`{"x":`, `{"x":12`, `{"x":"abc`, `{"x":"\u00`, `{"x":tr`, `[1,2`, `{`} {
		if _, err := run(fn, io.MultiReader(strings.NewReader(in), iotest.ErrReader(exchange.ErrEnded))); !errors.Is(err, exchange.ErrEnded) {
			t.Errorf("%q, and the exchange has ended: %v", in, err)
		}
	}
}

func TestValuesThatAreMapped(t *testing.T) {
	t.Parallel()
	given := ""
	keep := body.MapJSON("/a", 10, func(v []byte) ([]byte, error) { given = string(v); return v, nil })
	if got, err := run(rewriter(t, keep), strings.NewReader(`{"a": [1, 2] }`)); err != nil || got != `{"a": [1, 2] }` || given != "[1, 2]" {
		t.Errorf("%q of %q, %v", got, given, err)
	}
	if _, err := run(rewriter(t, keep), strings.NewReader(`{"a":"123456789"}`)); !errors.Is(err, exchange.ErrTooLarge) {
		t.Errorf("a value past the limit: %v", err)
	}
	broken := body.MapJSON("/a", 0, func([]byte) ([]byte, error) { return []byte(`{"`), nil })
	if got, err := run(rewriter(t, broken), strings.NewReader(`{"a":1}`)); err == nil {
		t.Errorf("no JSON passed: %q", got)
	}
	refusing := body.MapJSON("/a", 0, func([]byte) ([]byte, error) { return nil, io.ErrClosedPipe })
	if _, err := run(rewriter(t, refusing), strings.NewReader(`{"a":1}`)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("an error became %v", err)
	}
}

// TestWhatWasReadGoesOnBeforeMoreIsAwaited: a slow sender's document isn't held back.
func TestWhatWasReadGoesOnBeforeMoreIsAwaited(t *testing.T) {
	t.Parallel()
	src, feeder := io.Pipe()
	out, sink := io.Pipe()
	fn := rewriter(t, body.ReplaceJSON("/secret", []byte("0")))
	go func() { sink.CloseWithError(fn(sink, src)) }()
	for in, want := range map[string]string{`{"log":["one",`: `{"log":["one",`} {
		if _, err := io.WriteString(feeder, in); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
			t.Errorf("%q, %v", got, err)
		}
	}
	go func() { _, _ = io.WriteString(feeder, `"two"],"secret":1}`); _ = feeder.Close() }()
	if rest, err := io.ReadAll(out); err != nil || string(rest) != `"two"],"secret":0}` {
		t.Errorf("%q, %v", rest, err)
	}
}

// edited is the same edit done on the decoded document. The token everything is a wildcard.
func edited(v any, tokens []string, value any) any {
	if len(tokens) == 0 {
		return value
	}
	if tokens[0] == everything {
		switch v := v.(type) {
		case map[string]any:
			for name, child := range v {
				v[name] = edited(child, tokens[1:], value)
			}
		case []any:
			for i, child := range v {
				v[i] = edited(child, tokens[1:], value)
			}
		}
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		if child, ok := v[tokens[0]]; ok {
			v[tokens[0]] = edited(child, tokens[1:], value)
		}
	case []any:
		if i, err := strconv.Atoi(tokens[0]); err == nil && i >= 0 && i < len(v) && strconv.Itoa(i) == tokens[0] {
			v[i] = edited(v[i], tokens[1:], value)
		}
	}
	return v
}

// removed is the document without what the tokens point to.
func removed(v any, tokens ...string) any {
	last := len(tokens) == 1
	switch v := v.(type) {
	case map[string]any:
		if child, ok := v[tokens[0]]; ok && last {
			delete(v, tokens[0])
		} else if ok {
			v[tokens[0]] = removed(child, tokens[1:]...)
		}
	case []any:
		i, err := strconv.Atoi(tokens[0])
		if err != nil || i < 0 || i >= len(v) || strconv.Itoa(i) != tokens[0] {
			return v
		}
		if last {
			return slices.Delete(v, i, i+1)
		}
		v[i] = removed(v[i], tokens[1:]...)
		return v
	}
	return v
}

const everything = "\x00any"

func decoded(t *testing.T, data []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", data, err)
	}
	return v
}

// FuzzRewriteJSON compares with decoding, editing and encoding.
func FuzzRewriteJSON(f *testing.F) {
	for _, in := range []string{
		`{"a":{"b":[1,2,{"c":null}]},"d":"\u00e9\ud83d\ude00"}`, `[1.5e-7,true,false]`, `{"a":1,"a":{"b":2}}`, `{"\u0061":{"b":1}}`, "", " ", `"\ud800"`,
	} {
		f.Add([]byte(in), "a", "b")
	}
	f.Add([]byte(`[[1,2],[3]]`), "0", "1")
	f.Fuzz(func(t *testing.T, data []byte, first, second string) {
		escape := strings.NewReplacer("~", "~0", "/", "~1").Replace
		fn := rewriter(t, body.ReplaceJSON(fmt.Sprintf("/%s/%s", escape(first), escape(second)), []byte(`"new"`)))
		got, err := run(fn, bytes.NewReader(data))
		pieces, err2 := run(fn, iotest.OneByteReader(bytes.NewReader(data)))
		if pieces != got && err == nil || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("at once %q, %v; in pieces %q, %v", got, err, pieces, err2)
		}
		// encoding/json makes U+FFFD of bytes that aren't UTF-8, which here pass.
		if !utf8.Valid(data) || !utf8.ValidString(first+second) || len(data) == 0 || err != nil && strings.Contains(err.Error(), "too deeply") {
			return
		}
		if valid := json.Valid(data); valid != (err == nil) {
			t.Fatalf("valid: %v, error: %v", valid, err)
		}
		if err != nil {
			return
		}
		want := edited(decoded(t, data), []string{first, second}, "new")
		if !reflect.DeepEqual(decoded(t, []byte(got)), want) {
			t.Fatalf("%s became %s, want %v", data, got, want)
		}
		thin := rewriter(t, body.RemoveJSON(fmt.Sprintf("/%s/%s", escape(first), escape(second))))
		got, err = run(thin, bytes.NewReader(data))
		want = removed(decoded(t, data), first, second)
		if pieces, err2 := run(thin, iotest.OneByteReader(bytes.NewReader(data))); err != nil || err2 != nil || pieces != got || !reflect.DeepEqual(decoded(t, []byte(got)), want) {
			t.Fatalf("removed: %s became %s, want %v, %v", data, got, want, err)
		}
		got, err = run(rewriter(t, body.ReplaceJSON("/*/"+escape(second), []byte(`"new"`)).Wildcards()), bytes.NewReader(data))
		if want := edited(decoded(t, data), []string{everything, second}, "new"); err != nil || second != "*" && !reflect.DeepEqual(decoded(t, []byte(got)), want) {
			t.Fatalf("everywhere: %s became %s, want %v, %v", data, got, want, err)
		}
	})
}

package body_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

func events(src io.Reader, limit int) (all []body.Event, err error) {
	for e, fault := range body.Events(src, limit) {
		if fault != nil {
			return all, fault
		}
		all = append(all, e)
	}
	return all, nil
}

// TestEventsAsABrowserSeesThem has the examples of WHATWG HTML section 9.2.6 and the cases of the
// web-platform-tests of eventsource (format-*.any.js).
func TestEventsAsABrowserSeesThem(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string][]body.Event{
		"":                                   nil,
		"data: YHOO\ndata: +2\ndata: 10\n\n": {{Data: "YHOO\n+2\n10"}},
		": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n": {{Data: "first event", ID: "1"}, {Data: "second event"}, {Data: " third event"}},
		"data\n\ndata\ndata\n\ndata:":                                    {{}, {Data: "\n"}},
		"data:test\n\ndata: test\n\n":                                    {{Data: "test"}, {Data: "test"}},
		"\xef\xbb\xbfdata:1\n\n\xef\xbb\xbfdata:2\n\ndata:3\n\n":         {{Data: "1"}, {Data: "3"}},
		"data:a\rdata:b\r\ndata:c\n\r\n":                                 {{Data: "a\nb\nc"}},
		"data:a\r\rdata:b\r\r":                                           {{Data: "a"}, {Data: "b"}},
		"data:a\r\n\r\ndata:b\r\n\r\n":                                   {{Data: "a"}, {Data: "b"}},
		"event:go\ndata:x\n\ndata:y\n\n":                                 {{Type: "go", Data: "x"}, {Data: "y"}},
		"event:go\n\ndata:y\n\n":                                         {{Data: "y"}},
		"id:1\n\ndata:y\n\n":                                             {{Data: "y", ID: "1"}},
		"id:1\ndata:x\n\nid:2\x00\ndata:y\n\n":                           {{Data: "x", ID: "1"}, {Data: "y", ID: "1"}},
		"retry:1500\ndata:x\n\nretry:1a\ndata:y\n\nretry:-1\ndata:z\n\n": {{Data: "x", Retry: 1500 * time.Millisecond}, {Data: "y"}, {Data: "z"}},
		"Data:x\n data:y\ndata :z\n:data:w\nunknown:v\n\n":               nil,
		"data:x\ndata:y":                                                 nil,
		"data:x\n":                                                       nil,
		"data:a:b: c\n\n":                                                {{Data: "a:b: c"}},
		"data:\x00\n\n":                                                  {{Data: "\x00"}},
	} {
		for name, src := range map[string]io.Reader{
			"at once": strings.NewReader(stream), "byte by byte": iotest.OneByteReader(strings.NewReader(stream)),
			"with the end": iotest.DataErrReader(strings.NewReader(stream)),
		} {
			if got, err := events(src, 0); err != nil || !slices.Equal(got, want) {
				t.Errorf("%q %s: %+v, %v", stream, name, got, err)
			}
		}
	}
}

func TestAnEventIsThereWithItsLastByte(t *testing.T) {
	t.Parallel()
	for _, stream := range []string{"data:x\n\n", "data:x\r\r", "data:x\r\n\r"} {
		out, in := io.Pipe()
		go func() { _, _ = io.WriteString(in, stream) }()
		for e, err := range body.Events(out, 0) {
			if err != nil || e.Data != "x" {
				t.Errorf("%q: %+v, %v", stream, e, err)
			}
			break // without another byte
		}
		_ = out.Close()
	}
}

func TestLimitsOfEvents(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string]int{
		"data:0123\n\n":                            1,
		"data:" + strings.Repeat("x", 100):         0,
		"data:0\n\n: " + strings.Repeat("x", 100):  1,
		strings.Repeat("data:0123\n", 10) + "\n":   0,
		strings.Repeat("data:0123\n\n", 10) + "\n": 10,
	} {
		got, err := events(strings.NewReader(stream), 16)
		if len(got) != want || (want == 0 || strings.Contains(stream, ": xx")) != errors.Is(err, exchange.ErrTooLarge) {
			t.Errorf("%.20q: %d events, %v", stream, len(got), err)
		}
	}
	if _, err := events(iotest.ErrReader(exchange.ErrEnded), 0); !errors.Is(err, exchange.ErrEnded) {
		t.Errorf("a reader's error became %v", err)
	}
}

func TestEventsAreRewritten(t *testing.T) {
	t.Parallel()
	fn := body.MapEvents(0, func(e body.Event, emit func(body.Event) error) error {
		switch e.Data {
		case "drop":
			return nil
		case "twice":
			if err := emit(e); err != nil {
				return err
			}
		case "fail":
			return io.ErrClosedPipe
		}
		e.Data = "<" + e.Data + ">"
		return emit(e)
	})
	got, err := run(fn, strings.NewReader(": ping\n\nevent: tick\nid: 7\nretry: 10\ndata: a\ndata: b\n\ndata: drop\n\nretry: 20\n\ndata: twice\n\n"))
	want := ": ping\n\nevent: tick\nid: 7\nretry: 10\ndata: <a\ndata: b>\n\nretry: 20\n\nid: 7\ndata: twice\n\nid: 7\ndata: <twice>\n\n"
	if err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := run(fn, strings.NewReader("data: fail\n\n")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("an error became %v", err)
	}
}

// TestNoFieldCanBeSmuggledIn: line ends in what a processor writes can't begin another field.
func TestNoFieldCanBeSmuggledIn(t *testing.T) {
	t.Parallel()
	e := body.Event{Type: "a\ndata: evil", ID: "1\r\n2", Data: "x\r\nevent: y\rid: z"}
	got, err := events(strings.NewReader(string(e.Append(nil))), 0)
	if want := (body.Event{Type: "adata: evil", ID: "12", Data: "x\nevent: y\nid: z"}); err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("data: x\r\nid: 1\r\n\r\nretry: 5\nevent: e\ndata\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		whole, err := events(strings.NewReader(stream), 1<<10)
		pieces, err2 := events(iotest.OneByteReader(strings.NewReader(stream)), 1<<10)
		if !slices.Equal(whole, pieces) || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Fatalf("whole %+v, %v; in pieces %+v, %v", whole, err, pieces, err2)
		}
		if err != nil {
			return
		}
		// What is written is read as it was, but for line ends that readers don't tell apart.
		var again []byte
		for _, e := range whole {
			again = e.Append(again)
		}
		back, err := events(strings.NewReader(string(again)), 4<<10)
		if err != nil || len(back) != len(whole) {
			t.Fatalf("%+v became %+v, %v", whole, back, err)
		}
		for i, e := range whole {
			if back[i].Data != e.Data || back[i].Type != e.Type || e.ID != "" && back[i].ID != e.ID || back[i].Retry != e.Retry {
				t.Fatalf("%+v became %+v", e, back[i])
			}
		}
	})
}

func TestJSONLines(t *testing.T) {
	t.Parallel()
	type item struct{ N int }
	for text, want := range map[string]string{
		"":                                       "[]",
		"{\"n\":1}\n{\"n\":2}\n":                 "[{1} {2}]",
		"{\"n\":1}\r\n\n  \n{\"n\":2}":           "[{1} {2}]",
		"{\"n\":1}\nnope\n{\"n\":3}":             "[{1}] malformed body: value 2: invalid character 'o' in literal null (expecting 'u')",
		"{\"n\":1} {\"n\":2}\n":                  "[] malformed body: value 1: invalid character '{' after top-level value",
		"{\"n\":1}\n" + strings.Repeat(" ", 100): "[{1}] body too large",
	} {
		for name, src := range map[string]io.Reader{"at once": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text))} {
			var got []item
			fault := ""
			for v, err := range body.JSONLines[item](src, 64) {
				if err != nil {
					fault = " " + err.Error()
					break
				}
				got = append(got, v)
			}
			if s := fmt.Sprint(got) + fault; s != want {
				t.Errorf("%q %s: %s", text, name, s)
			}
		}
	}
}

package body

import (
	"bytes"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Event is one server-sent event (WHATWG HTML, section 9.2 "Server-sent events").
type Event struct {
	// Type is the event's name; "" is what receivers call "message".
	Type string
	// Data are the data lines, joined by LF.
	Data string
	// ID is the last event ID: that of this event, or the latest before it.
	ID string
	// Retry is the reconnection time that stood with this event, 0 if none did.
	Retry time.Duration
}

// Events yields the events of a text/event-stream as a browser would see them: comments and unknown
// fields are skipped, an event without data isn't one, and what the stream ends in the middle of is
// dropped. Bytes that aren't UTF-8 are kept. An event above limit bytes (0 is DefaultItem) is
// [exchange.ErrTooLarge]; an error is yielded last. For [exchange.Body.Observe]:
//
//	resp.Body.Observe(func(src io.Reader) error {
//		for event, err := range body.Events(src, 0) {
//			if err != nil {
//				return err
//			}
//			count(event.Data)
//		}
//		return nil
//	})
func Events(src io.Reader, limit int) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		p := eventParser{lines: newLineReader(src, limit, true)}
		for {
			event, err := p.next()
			if err == io.EOF { //nolint:errorlint // the reader's own
				return
			}
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

type eventParser struct {
	lines  *lineReader
	begun  bool // past the first line, before which a byte order mark may stand
	lastID string

	event Event
	data  []byte
	some  bool // a data field stood here

	aside func(line []byte) error // gets what is part of the stream and of no event; may be nil
}

// next collects lines until one is empty.
func (p *eventParser) next() (Event, error) {
	for {
		line, err := p.lines.next()
		if err != nil {
			return Event{}, err
		}
		if !p.begun {
			p.begun = true
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if len(line) > 0 {
			if err := p.field(line); err != nil {
				return Event{}, err
			}
			continue
		}
		event, some := p.event, p.some
		event.Data, event.ID = string(p.data), p.lastID
		p.event, p.data, p.some = Event{}, p.data[:0], false
		if some {
			return event, nil
		}
		if p.aside != nil && event.Retry > 0 {
			if err := p.aside(strconv.AppendInt([]byte("retry: "), event.Retry.Milliseconds(), 10)); err != nil {
				return Event{}, err
			}
		}
	}
}

func (p *eventParser) field(line []byte) error {
	name, value, _ := bytes.Cut(line, []byte{':'})
	value = bytes.TrimPrefix(value, []byte{' '})
	switch string(name) {
	case "event":
		p.event.Type = string(value)
	case "data":
		if len(p.data)+len(value) >= p.lines.limit {
			return exchange.ErrTooLarge
		}
		if p.some {
			p.data = append(p.data, '\n')
		}
		p.data, p.some = append(p.data, value...), true
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			p.lastID = string(value)
		}
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			p.event.Retry = time.Duration(ms) * time.Millisecond
		}
	case "":
		if p.aside != nil {
			return p.aside(line) // a comment
		}
	}
	return nil
}

// Append writes the event as receivers read it, each line of Data in a field of its own.
func (e Event) Append(dst []byte) []byte {
	if e.Type != "" {
		dst = field(dst, "event", e.Type)
	}
	if e.ID != "" && strings.IndexByte(e.ID, 0) < 0 {
		dst = field(dst, "id", e.ID)
	}
	if e.Retry > 0 {
		dst = field(dst, "retry", strconv.FormatInt(e.Retry.Milliseconds(), 10))
	}
	for line := range strings.SplitSeq(breaks.Replace(e.Data), "\n") {
		dst = field(dst, "data", line)
	}
	return append(dst, '\n')
}

// breaks makes one LF of what receivers take for the end of a line.
var breaks = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// field drops what would end the line: a name or an id can't hold it.
func field(dst []byte, name, value string) []byte {
	dst = append(append(dst, name...), ": "...)
	for i := range len(value) {
		if c := value[i]; c != '\r' && c != '\n' {
			dst = append(dst, c)
		}
	}
	return append(dst, '\n')
}

// MapEvents rewrites a text/event-stream: each event is replaced by those that fn writes with emit, none
// drops it. Comments, which keep connections alive, and reconnection times pass. Each goes out as it
// comes. limit is that of [Events].
func MapEvents(limit int, fn func(e Event, emit func(Event) error) error) Func {
	return func(dst io.Writer, src io.Reader) error {
		var out []byte
		write := func() error {
			_, err := dst.Write(out)
			return err
		}
		emit := func(e Event) error {
			out = e.Append(out[:0])
			return write()
		}
		p := eventParser{lines: newLineReader(src, limit, true), aside: func(line []byte) error {
			out = append(append(out[:0], line...), "\n\n"...)
			return write()
		}}
		for {
			event, err := p.next()
			if err == io.EOF { //nolint:errorlint // the reader's own
				return nil
			}
			if err == nil {
				err = fn(event, emit)
			}
			if err != nil {
				return err
			}
		}
	}
}

package extproc

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// maxChunk is what one StreamedBodyResponse carries; Envoy's documentation asks for at most 64 KiB.
const maxChunk = 64 << 10

// edits is what an answer changes.
type edits struct {
	header   *exchange.Header
	path     string // :path if not ""
	status   int    // :status if not 0
	length   string // content-length if not ""
	reroute  bool
	replace  bool // the body, or the chunk, by body
	instead  bool // with the headers, in place of all that is still to come
	body     []byte
	override *override
	all      bool // the filter's rules allow edits of every header
}

// count is how much is changed.
func (e *edits) count() int {
	n := len(e.header.Edited())
	for _, changed := range [...]bool{e.path != "", e.status != 0, e.instead} {
		if changed {
			n++
		}
	}
	return n
}

// appendAnswer appends the ProcessingResponse to a message that is not a duplex body.
func appendAnswer(dst []byte, k kind, e *edits) ([]byte, error) {
	dst, answer := wire.Open(dst, k.answer())
	var err error
	if k.isTrailers() {
		dst, err = e.appendMutation(dst, 1)
		return wire.Close(dst, answer), err
	}
	dst, common := wire.Open(dst, 1)
	if e.instead {
		dst = wire.AppendVarint(dst, 1, 1) // CONTINUE_AND_REPLACE
	}
	if dst, err = e.appendMutation(dst, 2); err != nil {
		return dst, err
	}
	if e.replace {
		var mutation int
		dst, mutation = wire.Open(dst, 3)
		if len(e.body) > 0 {
			dst = wire.AppendBytes(dst, 1, e.body)
		} else {
			dst = wire.AppendVarint(dst, 2, 1)
		}
		dst = wire.Close(dst, mutation)
	}
	if e.reroute {
		dst = wire.AppendVarint(dst, 5, 1)
	}
	return wire.Close(wire.Close(dst, common), answer), nil
}

// appendMutation appends a HeaderMutation as field num, if there is something to change.
func (e *edits) appendMutation(dst []byte, num wire.Num) ([]byte, error) {
	edited := e.header.Edited()
	if len(edited) == 0 && e.path == "" && e.status == 0 && e.length == "" {
		return dst, nil
	}
	dst, mutation := wire.Open(dst, num)
	if e.path != "" {
		if !validValue(e.path) {
			return dst, fmt.Errorf("%w: :path", exchange.ErrBadEdit)
		}
		dst = wire.AppendHeader(dst, 1, wire.RawValue, ":path", e.path, wire.Overwrite)
	}
	if e.status != 0 {
		if e.status < 200 || e.status > 599 {
			return dst, fmt.Errorf("%w: status %d", exchange.ErrBadEdit, e.status)
		}
		dst = wire.AppendHeader(dst, 1, wire.RawValue, ":status", strconv.Itoa(e.status), wire.Overwrite)
	}
	for _, name := range edited {
		var err error
		if dst, err = appendEdit(dst, e.header, name, e.all); err != nil {
			return dst, err
		}
	}
	if e.length != "" {
		dst = wire.AppendHeader(dst, 1, wire.RawValue, "content-length", e.length, wire.Overwrite)
	}
	return wire.Close(dst, mutation), nil
}

// appendEdit appends the present lines of an edited name to a HeaderMutation, or its removal.
func appendEdit(dst []byte, header *exchange.Header, name string, all bool) ([]byte, error) {
	if !exchange.IsToken(name) {
		return dst, fmt.Errorf("%w: header name", exchange.ErrBadEdit)
	}
	lower := strings.ToLower(name)
	action := uint64(wire.Overwrite)
	for value := range header.Lines(name) {
		if !validValue(value) {
			return dst, fmt.Errorf("%w: header %s", exchange.ErrBadEdit, lower)
		}
		if err := refusedEdit(lower, value, false, all); err != nil {
			return dst, err
		}
		dst = wire.AppendHeader(dst, 1, wire.RawValue, lower, value, action)
		action = wire.Append
	}
	if action == wire.Overwrite {
		if err := refusedEdit(lower, "", true, all); err != nil {
			return dst, err
		}
		dst = wire.AppendString(dst, 2, lower)
	}
	return dst, nil
}

// appendPass appends the neutral answer to a message that is not a duplex body: it passes unchanged.
func appendPass(dst []byte, k kind) []byte {
	dst, answer := wire.Open(dst, k.answer())
	if !k.isTrailers() {
		dst = wire.AppendString(dst, 1, "") // an empty CommonResponse is CONTINUE
	}
	return wire.Close(dst, answer)
}

// appendEcho appends the answer that sends one piece of a duplex body on.
func appendEcho(dst []byte, m *message, piece string, last bool) []byte {
	dst, answer := wire.Open(dst, m.kind.answer())
	dst, common := wire.Open(dst, 1)
	dst, mutation := wire.Open(dst, 3)
	dst, streamed := wire.Open(dst, 3)
	dst = wire.AppendString(dst, 1, piece)
	if last && m.endOfStream {
		dst = wire.AppendVarint(dst, 2, 1)
	}
	if last && m.endEmpty {
		dst = wire.AppendVarint(dst, 3, 1)
	}
	if m.compressed {
		dst = wire.AppendVarint(dst, 4, 1)
	}
	dst = wire.Close(wire.Close(dst, streamed), mutation)
	return wire.Close(wire.Close(dst, common), answer)
}

// appendReply appends the ProcessingResponse with an ImmediateResponse. It can't fail: what of a reply
// can't be expressed is left out, the reply stands.
func appendReply(dst []byte, reply *exchange.Reply, detail string, all bool) []byte {
	dst, immediate := wire.Open(dst, 7)
	dst, status := wire.Open(dst, 1)
	dst = wire.AppendVarint(dst, 1, uint64(reply.Status()))
	dst = wire.Close(dst, status)
	dst, mutation := wire.Open(dst, 2)
	for _, name := range slices.Sorted(maps.Keys(reply.Header)) {
		action, lower := uint64(wire.Overwrite), strings.ToLower(name)
		for _, value := range reply.Header[name] {
			if inReply(lower, value, all) {
				dst = wire.AppendHeader(dst, 1, wire.RawValue, lower, value, action)
				action = wire.Append
			}
		}
	}
	dst = wire.Close(dst, mutation)
	if len(reply.Body) > 0 {
		dst = wire.AppendBytes(dst, 3, reply.Body)
	}
	if reply.GRPC != nil {
		var mark int
		dst, mark = wire.Open(dst, 4)
		dst = wire.AppendVarint(dst, 1, uint64(*reply.GRPC))
		dst = wire.Close(dst, mark)
	}
	if reply.Detail != "" {
		detail = reply.Detail
	}
	return wire.Close(wire.AppendString(dst, 5, plainDetail(detail)), immediate)
}

// appendReplyHeaders appends the ProcessingResponse that begins a streamed reply.
func appendReplyHeaders(dst []byte, reply *exchange.Reply, all bool) []byte {
	dst, streamed := wire.Open(dst, 11)
	dst, headers := wire.Open(dst, 1)
	dst, lines := wire.Open(dst, 1)
	dst = appendLine(dst, ":status", strconv.Itoa(reply.Status()))
	dst = appendLines(dst, reply.Header, all)
	return wire.Close(wire.Close(wire.Close(dst, lines), headers), streamed)
}

// appendReplyBody appends a piece of a streamed reply's body.
func appendReplyBody(dst, piece []byte, end bool) []byte {
	dst, streamed := wire.Open(dst, 11)
	dst, body := wire.Open(dst, 2)
	dst = wire.AppendBytes(dst, 1, piece)
	if end {
		dst = wire.AppendVarint(dst, 2, 1)
	}
	return wire.Close(wire.Close(dst, body), streamed)
}

// appendReplyTrailers appends the end of a streamed reply that has trailers.
func appendReplyTrailers(dst []byte, trailer http.Header, all bool) []byte {
	dst, streamed := wire.Open(dst, 11)
	dst, lines := wire.Open(dst, 3)
	dst = appendLines(dst, trailer, all)
	return wire.Close(wire.Close(dst, lines), streamed)
}

// appendLines appends the lines of a HeaderMap; what can't be expressed is left out.
func appendLines(dst []byte, header http.Header, all bool) []byte {
	for _, name := range slices.Sorted(maps.Keys(header)) {
		lower := strings.ToLower(name)
		for _, value := range header[name] {
			if inReply(lower, value, all) {
				dst = appendLine(dst, lower, value)
			}
		}
	}
	return dst
}

func appendLine(dst []byte, name, value string) []byte {
	dst, line := wire.Open(dst, 1)
	dst = wire.AppendString(dst, 1, name)
	dst = wire.AppendString(dst, 3, value)
	return wire.Close(dst, line)
}

// plainDetail keeps an access log's fields apart.
func plainDetail(text string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, text)
}

// appendMetadata appends the dynamic_metadata of a ProcessingResponse.
func appendMetadata(dst []byte, metadata map[string]any) ([]byte, error) {
	dst, mark := wire.Open(dst, 8)
	dst, err := wire.AppendStruct(dst, metadata)
	return wire.Close(dst, mark), err
}

func validValue(value string) bool { return !strings.ContainsAny(value, "\r\n\x00") }

// failureReply is the default failure verdict.
var failureReply = exchange.Reply{Code: http.StatusServiceUnavailable, Body: []byte("processor unavailable")}

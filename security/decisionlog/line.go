package decisionlog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxLine bounds one line in bytes. A longer one is written without input and result.
const maxLine = 256 << 10

// Event is one decision. Input and Result may be shared: nothing changes them.
type Event struct {
	Time      time.Time
	Took      time.Duration
	RequestID string // the proxy's, which access logs have too
	Input     ast.Value
	Result    ast.Value
	// Err is why there is no decision. Its text must hold nothing of the request.
	Err error
	// Cached tells that the decision is that of an earlier, equal request.
	Cached bool
}

// line encodes an event for one policy.
func (l *Logger) line(id string, e *Event) []byte {
	event := map[string]any{
		"decision_id": id, "timestamp": e.Time.UTC().Format(time.RFC3339Nano), "policy": l.policy, "path": l.path,
		"metrics": map[string]any{"timer_rego_query_eval_ns": e.Took.Nanoseconds()},
	}
	if e.RequestID != "" {
		event["request_id"] = e.RequestID
	}
	if e.Cached {
		event["cached"] = true
	}
	if e.Err != nil {
		event["error"] = map[string]any{"message": e.Err.Error()}
	}
	for name, value := range map[string]ast.Value{"input": e.Input, "result": e.Result} {
		if value == nil {
			continue
		}
		plain, err := ast.JSON(value)
		if err != nil {
			continue
		}
		event[name] = plain
	}
	erased := l.credentials.erase(event)
	for _, p := range l.mask {
		if p.erase(event) {
			erased = append(erased, p.String())
		}
	}
	if len(erased) > 0 {
		slices.Sort(erased)
		event["erased"] = erased
	}
	return encode(event)
}

func encode(event map[string]any) []byte {
	text, err := marshal(event)
	if err != nil || len(text) > maxLine {
		delete(event, "input")
		delete(event, "result")
		event["omitted"] = fmt.Sprintf("input and result: the line would be longer than %d bytes", maxLine)
		text, _ = marshal(event) // plain strings and numbers
	}
	return printable(text)
}

func marshal(event map[string]any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(event)
	return b.Bytes(), err
}

// printable escapes what JSON lets stand and a terminal obeys: DEL, the C1 controls, and the marks that turn
// the direction of text. They can only be inside strings.
func printable(line []byte) []byte {
	if !bytes.ContainsFunc(line, controls) {
		return line
	}
	out := make([]byte, 0, len(line)+64)
	for len(line) > 0 {
		c, size := utf8.DecodeRune(line)
		if controls(c) {
			out = fmt.Appendf(out, `\u%04x`, c)
		} else {
			out = append(out, line[:size]...)
		}
		line = line[size:]
	}
	return out
}

func controls(c rune) bool {
	return c >= 0x7f && c <= 0x9f || c >= 0x200e && c <= 0x200f || c >= 0x202a && c <= 0x202e || c >= 0x2066 && c <= 0x2069
}

package emulate

import (
	"errors"
	"slices"
	"strings"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"golang.org/x/net/http/httpguts"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// The connection manager's limits.
const (
	maxHeaders     = 100
	maxHeaderBytes = 60 << 10
)

func remove(h []link.Field, name string) []link.Field {
	return slices.DeleteFunc(h, func(f link.Field) bool { return f.Name == name })
}

// mutateBody applies the forms of a mutation that change a whole body; of others nothing happens.
func mutateBody(m *extprocv3.BodyMutation, p []byte) []byte {
	switch m := m.GetMutation().(type) {
	case *extprocv3.BodyMutation_Body:
		return slices.Clone(m.Body)
	case *extprocv3.BodyMutation_ClearBody:
		if m.ClearBody {
			return nil
		}
	}
	return p
}

func (d *direction) mutate(m *extprocv3.HeaderMutation, replacing bool) (err error) {
	d.fields, err = d.e.mutate(d.fields, m, replacing, d.stripsLength())
	return err
}

func (d *direction) mutateTrailers(m *extprocv3.HeaderMutation) (err error) {
	d.trailers, err = d.e.mutate(d.trailers, m, false, false)
	return err
}

// mutate applies m to h. Removals come first. What the rules forbid is skipped and counted, or an error if
// the rules say so.
func (e *Emulator) mutate(h []link.Field, m *extprocv3.HeaderMutation, replacing, keepLengthOff bool) ([]link.Field, error) {
	rejected := func(text string) ([]link.Field, error) {
		e.count("rejected_header_mutations")
		return h, errors.New(text)
	}
	if r, s := len(m.GetRemoveHeaders()), len(m.GetSetHeaders()); r > maxHeaders || s > maxHeaders {
		return rejected("header_mutation_operation_count_exceeds_limit")
	}
	rules := rules{e.filter.GetMutationRules()}
	for _, raw := range m.GetRemoveHeaders() {
		if !validName(raw) {
			return rejected("header_mutation_remove_contains_invalid_character")
		}
		name := strings.ToLower(raw)
		switch rules.check(opRemove, name, "") {
		case allowed:
			h = remove(h, name)
		case ignored:
			e.count("rejected_header_mutations")
		default:
			return rejected("header_mutation_remove_headers_failed")
		}
	}
	for _, option := range m.GetSetHeaders() {
		if option.GetHeader() == nil {
			continue
		}
		name := strings.ToLower(option.GetHeader().GetKey())
		if keepLengthOff && name == "content-length" {
			continue
		}
		value := string(option.GetHeader().GetRawValue()) // the field value is not read
		if !validName(name) || !validValue(value) {
			return rejected("header_mutation_set_contains_invalid_character")
		}
		appending := option.GetAppend().GetValue()
		op := opSet
		if _, exists := link.Get(h, name); appending && exists {
			op = opAppend
		}
		result := rules.check(op, name, value)
		if replacing && name == ":method" {
			result = allowed
		}
		switch result {
		case allowed:
			h = set(h, name, value, appending)
		case ignored:
			e.count("rejected_header_mutations")
		default:
			return rejected("header_mutation_set_headers_failed")
		}
	}
	size := 0
	for _, f := range h {
		size += len(f.Name) + len(f.Value)
	}
	if size > maxHeaderBytes || len(h) > maxHeaders {
		return rejected("header_mutation_result_exceeds_limit")
	}
	return h, nil
}

// set overwrites, in the place of the first line of that name, or appends.
func set(h []link.Field, name, value string, appending bool) []link.Field {
	if !appending {
		for i := range h {
			if h[i].Name == name {
				h[i].Value = value
				rest := remove(slices.Clone(h[i+1:]), name)
				return append(h[:i+1], rest...)
			}
		}
	}
	return append(h, link.Field{Name: name, Value: value})
}

func validName(name string) bool {
	name = strings.TrimPrefix(name, ":")
	return name != "" && httpguts.ValidHeaderFieldName(name)
}

func validValue(value string) bool { return !strings.ContainsAny(value, "\r\n\x00") }

package dialect

import (
	"fmt"
	"strings"
)

const modes = "spec.extProc[].processingMode"

// processing are the rows for Envoy's own spelling of ext_proc's ProcessingMode
// (envoy.extensions.filters.http.ext_proc.v3.ProcessingMode). Bodies come before headers, since SKIP for
// headers has to be written down only where a body is sent.
func processing() []Row {
	rows := make([]Row, 0, 1+2*4)
	rows = append(rows, Row{"EnvoyExtensionPolicy", modes, "requestHeaderMode, responseHeaderMode", "request, response", defaults})
	for _, direction := range []string{"request", "response"} {
		rows = append(rows,
			Row{"EnvoyExtensionPolicy", modes, direction + "BodyMode", direction + ".body", bodyMode(direction)},
			Row{"EnvoyExtensionPolicy", modes, direction + ".body", direction + ".body", bodyCase(direction)},
			Row{"EnvoyExtensionPolicy", modes, direction + "HeaderMode", direction, headerMode(direction)},
			Row{"EnvoyExtensionPolicy", modes, direction + "TrailerMode", direction + "Trailers", trailerMode(direction)},
		)
	}
	return rows
}

// defaults completes a mode in Envoy's spelling with Envoy's default for headers, which is to send
// them: who writes the fields of the message means the message. The canonical spelling has the opposite
// default.
func defaults(mode map[string]any) []note {
	spelt := false
	for _, field := range []string{"HeaderMode", "BodyMode", "TrailerMode"} {
		spelt = spelt || mode["request"+field] != nil || mode["response"+field] != nil
	}
	if !spelt {
		return nil
	}
	var notes []note
	for _, direction := range []string{"request", "response"} {
		field := direction + "HeaderMode"
		if mode[field] != nil || mode[direction] != nil {
			continue
		}
		mode[direction] = map[string]any{}
		notes = append(notes, note{message: fmt.Sprintf(
			"%s is absent, and Envoy's default is to send the headers; the canonical form is %s.%s: {}", field, modes, direction)})
	}
	return notes
}

// fold maps STREAMED, Streamed, FULL_DUPLEX_STREAMED, fullDuplexStreamed… to one spelling.
func fold(value any) string {
	text, _ := value.(string)
	return strings.ToUpper(strings.NewReplacer("_", "", "-", "").Replace(text))
}

// bodies maps folded values to canonical ones; "" is no body.
var bodies = map[string]string{
	"NONE": "", "STREAMED": "Streamed", "BUFFERED": "Buffered",
	"BUFFEREDPARTIAL": "BufferedPartial", "FULLDUPLEXSTREAMED": "FullDuplexStreamed",
}

func bodyMode(direction string) func(map[string]any) []note {
	field := direction + "BodyMode"
	return func(mode map[string]any) []note {
		given, ok := mode[field]
		if !ok {
			return nil
		}
		delete(mode, field)
		body, known := bodies[fold(given)]
		if !known {
			return fault(field, "must be NONE, STREAMED, BUFFERED, BUFFERED_PARTIAL or FULL_DUPLEX_STREAMED")
		}
		if body == "" {
			return accepted(field, fmt.Sprintf("%s.%s without body", modes, direction))
		}
		if !put(mode, []string{direction, "body"}, body) {
			return both(modes, field, direction+".body")
		}
		return accepted(field, fmt.Sprintf("%s.%s.body: %s", modes, direction, body))
	}
}

func bodyCase(direction string) func(map[string]any) []note {
	return func(mode map[string]any) []note {
		object, _ := mode[direction].(map[string]any)
		given, ok := object["body"].(string)
		if !ok {
			return nil
		}
		body, known := bodies[fold(given)]
		switch {
		case !known || body == given: // the check of the canonical form reports an unknown value
			return nil
		case body == "":
			delete(object, "body")
			return []note{{field: []any{direction, "body"}, message: "NONE is accepted; the canonical form is to leave the field out"}}
		}
		object["body"] = body
		return []note{{field: []any{direction, "body"}, message: "is accepted; the canonical form is " + body}}
	}
}

func headerMode(direction string) func(map[string]any) []note {
	field := direction + "HeaderMode"
	return func(mode map[string]any) []note {
		given, ok := mode[field]
		if !ok {
			return nil
		}
		delete(mode, field)
		canonical := direction + ": {}"
		switch fold(given) {
		case "SEND", "DEFAULT":
			if mode[direction] == nil {
				mode[direction] = map[string]any{}
			}
		case "SKIP":
			if mode[direction] == nil {
				return accepted(field, fmt.Sprintf("to leave %s.%s out", modes, direction))
			}
			if !put(mode, []string{direction, "skipHeaders"}, true) {
				return both(modes, field, direction+".skipHeaders")
			}
			canonical = direction + ".skipHeaders: true"
		default:
			return fault(field, "must be SEND, SKIP or DEFAULT")
		}
		return accepted(field, modes+"."+canonical)
	}
}

func trailerMode(direction string) func(map[string]any) []note {
	field, canonical := direction+"TrailerMode", direction+"Trailers"
	return func(mode map[string]any) []note {
		given, ok := mode[field]
		if !ok {
			return nil
		}
		delete(mode, field)
		send := fold(given) == "SEND"
		if !send && fold(given) != "SKIP" && fold(given) != "DEFAULT" {
			return fault(field, "must be SEND, SKIP or DEFAULT")
		}
		if !put(mode, []string{canonical}, send) {
			return both(modes, field, canonical)
		}
		return accepted(field, fmt.Sprintf("%s.%s: %t", modes, canonical, send))
	}
}

func accepted(field, canonical string) []note {
	return []note{{field: steps(field), message: "is accepted; the canonical form is " + canonical}}
}

func fault(field, message string) []note {
	return []note{{field: steps(field), message: message, fault: true}}
}

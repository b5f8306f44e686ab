package resource

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/gatehouse-proxy/gatehouse/translator/dialect"
)

// Decode reads one YAML document or JSON text, as [Split] returns them; a kind: List makes several
// objects. Lines count from the beginning of text. Whatever is wrong is kept in the Document and reported
// by the Builder that it is added to. Pure; text isn't kept.
func Decode(text []byte) *Document {
	document := &Document{}
	all, syntax := parse(text)
	if syntax != nil {
		document.broken = true
		if rest, ok := readablePart(text, *syntax); ok {
			all = append(all, rest)
		} else {
			document.faults = append(document.faults, *syntax)
		}
	}
	for _, one := range all {
		if one.value == nil && len(one.faults) == 0 { // nothing but comments
			continue
		}
		document.add(one, one.value, nil)
	}
	return document
}

// DecodeSecurityPolicy decodes the canonical JSON of a SecurityPolicy, such as two SecurityPolicy.JSON
// merged. It returns the first fault as the error.
func DecodeSecurityPolicy(text []byte) (*SecurityPolicy, error) {
	return decodeOne[*SecurityPolicy](text, "SecurityPolicy")
}

// DecodeEnvoyExtensionPolicy decodes the canonical JSON of an EnvoyExtensionPolicy, such as two
// EnvoyExtensionPolicy.JSON merged. It returns the first fault as the error.
func DecodeEnvoyExtensionPolicy(text []byte) (*EnvoyExtensionPolicy, error) {
	return decodeOne[*EnvoyExtensionPolicy](text, "EnvoyExtensionPolicy")
}

func decodeOne[T Object](text []byte, kind string) (object T, err error) {
	document := Decode(text)
	for _, f := range document.faults {
		return object, fmt.Errorf("%s", f.text())
	}
	if len(document.entries) != 1 {
		return object, fmt.Errorf("is not one %s", kind)
	}
	e := document.entries[0]
	for _, f := range e.faults {
		return object, fmt.Errorf("%s", f.text())
	}
	object, ok := e.object.(T)
	if !ok {
		return object, fmt.Errorf("is a %s, not a %s", e.key.Kind, kind)
	}
	return object, nil
}

// text is the finding without its place.
func (f finding) text() string {
	if f.field == "" {
		return f.message
	}
	return f.field + ": " + f.message
}

// add decodes one object, or each item of a list. at is the object's path in the parsed document.
func (d *Document) add(from parsed, value any, at path) {
	object, ok := value.(map[string]any)
	if !ok {
		d.faults = append(d.faults, from.faults...)
		d.faults = append(d.faults, finding{line: from.lineOf(at), message: "isn't a Kubernetes object; it needs apiVersion, kind and metadata"})
		return
	}
	if items, ok := object["items"].([]any); ok && object["kind"] == "List" {
		if len(from.faults) > 0 {
			d.faults = append(d.faults, from.faults...)
			from.faults = []finding{{line: from.lineOf(at), message: "is in a list with a fault"}}
		}
		for i, item := range items {
			d.add(from, item, at.to("items", i))
		}
		return
	}
	reader := &reader{from: from, at: at, line: from.lineOf(at)}
	reader.faults = append(reader.faults, from.faults...)
	reader.read(object, d)
}

// reader decodes one object.
type reader struct {
	from     parsed
	at       path
	line     int
	key      Key
	faults   []finding
	warnings []finding
}

func (r *reader) finding(field path, message string) finding {
	return finding{
		line: r.from.lineOf(r.at.to(field...)), key: r.key,
		field: field.String(), message: message,
	}
}

func (r *reader) fault(field path, format string, args ...any) {
	r.faults = append(r.faults, r.finding(field, fmt.Sprintf(format, args...)))
}

func (r *reader) read(object map[string]any, d *Document) {
	name, _ := object["kind"].(string)
	object, found := dialect.Rewrite(name, object)
	kind := r.identify(object, d)
	if kind == nil {
		if len(r.faults) > 0 {
			d.entries = append(d.entries, entry{key: r.key, line: r.line, faults: r.keyed()})
		}
		return
	}
	for _, f := range found {
		if f.Fault {
			r.fault(f.Path, "%s", f.Message)
		} else {
			r.warnings = append(r.warnings, r.finding(f.Path, f.Message))
		}
	}
	// Statuses are output: what an object had in the cluster it was copied from means nothing here.
	delete(object, "status")
	if kind.name == "Secret" {
		r.foldStringData(object)
	}
	if kind.targeted {
		r.misspeltTargets(object)
	}
	check := checker{fault: r.fault}
	check.value(object, kind.types, nil)
	if kind.targeted {
		r.emptySections(object)
	}
	e := entry{key: r.key, kind: kind, line: r.line}
	e.object = r.decode(kind, object)
	if r.from.cut { // what is missing may stand behind the syntax error, which is told
		r.faults = r.faults[:len(r.from.faults)]
	}
	if len(r.faults) > 0 && e.object != nil {
		e.invalid = r.reason()
	}
	if e.invalid != "" && !kind.targeted && !kind.routing {
		e.object = nil
	}
	setInvalid(e.object, e.invalid)
	d.unplaced = d.unplaced || e.invalid != "" && !kind.placed(object)
	if e.object != nil && kind.targeted {
		e.sum = digest(object)
		e.twin = sync.OnceValue(func() Object { return twin(kind, object, e.sum) })
	}
	e.faults, e.warnings = r.keyed(), r.warnings
	d.entries = append(d.entries, e)
}

// keyed returns the faults, all with the object's key.
func (r *reader) keyed() []finding {
	for i := range r.faults {
		r.faults[i].key = r.key
	}
	return r.faults
}

// reason is the text of Set.Invalid.
func (r *reader) reason() string {
	text := r.faults[0].text()
	if more := len(r.faults) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// decode makes the typed object. If that fails in spite of the check, or the object is faulty beyond
// repair, its metadata and targets are decoded alone.
func (r *reader) decode(kind *kind, object map[string]any) Object {
	text, err := json.Marshal(object)
	if err != nil {
		r.fault(nil, "can't be encoded: %v", err)
		return nil
	}
	typed, err := kind.decode(text)
	if err == nil {
		r.validate(typed)
		return typed
	}
	r.fault(nil, "can't be decoded: %s", strings.TrimPrefix(err.Error(), "json: "))
	if !kind.targeted {
		return nil
	}
	text, err = json.Marshal(targetsOnly(object))
	if err != nil {
		return nil
	}
	if typed, err = kind.decode(text); err != nil {
		return nil
	}
	return typed
}

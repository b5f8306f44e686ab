package dialect

import "fmt"

// move is for a field that is called otherwise, or is elsewhere.
func move(kind, at, from, to string) Row {
	return Row{kind, at, from, to, func(object map[string]any) []note {
		value, ok := take(object, split(from))
		if !ok {
			return nil
		}
		if !put(object, split(to), value) {
			return both(at, from, to)
		}
		return []note{{field: steps(from), message: "is accepted; the canonical form is " + join(at, to)}}
	}}
}

// both is the answer to a document that has the canonical field and another spelling of it: which of
// the two was meant can't be known.
func both(at, from, to string) []note {
	return []note{{
		field: steps(from), fault: true,
		message: fmt.Sprintf("contradicts %s, which is set too; remove %s", join(at, to), join(at, from)),
	}}
}

// wrap is for a field with a single object whose canonical form is a list under another name.
func wrap(kind, at, from, to string) Row {
	return Row{kind, at, from, to + "[0]", func(object map[string]any) []note {
		value, ok := object[from].(map[string]any)
		if !ok {
			return nil
		}
		if _, taken := object[to]; taken {
			return both(at, from, to)
		}
		delete(object, from)
		object[to] = []any{value}
		return []note{{field: steps(from), message: "is accepted; the canonical form is the list " + join(at, to)}}
	}}
}

// list is for a single object where the canonical form is a list.
func list(kind, at, field string) Row {
	return Row{kind, at, field, field + "[0]", func(object map[string]any) []note {
		value, ok := object[field].(map[string]any)
		if !ok {
			return nil
		}
		object[field] = []any{value}
		return []note{{field: steps(field), message: "is accepted as a single object; the canonical form is a list: put it below \"- \""}}
	}}
}

// duration is for integer seconds where the canonical form is a string with a unit.
func duration(kind, at, field string) Row {
	return Row{kind, at, field, field, func(object map[string]any) []note {
		seconds, ok := object[field].(int64)
		if !ok {
			return nil
		}
		text, ok := Duration(seconds)
		if !ok {
			return nil // the check of the canonical form reports it
		}
		object[field] = text
		return []note{{field: steps(field), message: fmt.Sprintf("is accepted as a number of seconds; the canonical form is %q", text)}}
	}}
}

// Duration writes seconds as a Gateway API Duration (GEP-2257), which has at most five digits a unit.
// It returns false for a negative number and for one that doesn't fit.
func Duration(seconds int64) (string, bool) {
	const most = 99999
	switch {
	case seconds < 0 || seconds/3600 > most:
		return "", false
	case seconds <= most:
		return fmt.Sprintf("%ds", seconds), true
	}
	text := fmt.Sprintf("%dh", seconds/3600)
	if minutes := seconds / 60 % 60; minutes != 0 {
		text += fmt.Sprintf("%dm", minutes)
	}
	if rest := seconds % 60; rest != 0 {
		text += fmt.Sprintf("%ds", rest)
	}
	return text, true
}

// invert is for a boolean whose canonical field means the opposite.
func invert(kind, at, from, to string) Row {
	return Row{kind, at, from, to, func(object map[string]any) []note {
		value, ok := object[from].(bool)
		if !ok {
			return nil
		}
		if _, taken := object[to]; taken {
			return both(at, from, to)
		}
		delete(object, from)
		object[to] = !value
		return []note{{field: steps(from), message: fmt.Sprintf("is accepted; the canonical form is %s: %t", join(at, to), !value)}}
	}}
}

// value is for one value of a field that has another canonical one.
func value(kind, at, field, from, to string) Row {
	return Row{kind, at, field, field, func(object map[string]any) []note {
		if object[field] != from {
			return nil
		}
		object[field] = to
		return []note{{field: steps(field), message: fmt.Sprintf("%s is accepted; the canonical form is %s", from, to)}}
	}}
}

func join(at, field string) string {
	if at == "" {
		return field
	}
	return at + "." + field
}

package snapshot

import (
	"encoding/json"
	"fmt"
)

// format is the version of the encoding. A reader refuses every other one: after an upgrade the source
// is asked, not an old file.
const format = 1

type file struct {
	Format   int
	Snapshot *Snapshot
}

// Encode serializes a snapshot, secrets included.
func Encode(s *Snapshot) ([]byte, error) { return json.Marshal(file{Format: format, Snapshot: s}) }

// Decode reads what [Encode] wrote. It refuses another format and a policy that isn't what its reference
// says.
func Decode(text []byte) (*Snapshot, error) {
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if f.Format != format || f.Snapshot == nil {
		return nil, fmt.Errorf("snapshot: format %d is not supported, only %d", f.Format, format)
	}
	for _, p := range f.Snapshot.Policies {
		if p.Spec == nil || p.Spec.Ref() != p.Ref {
			return nil, fmt.Errorf("snapshot: policy %s is damaged", p.Ref)
		}
	}
	return f.Snapshot, nil
}

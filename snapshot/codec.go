package snapshot

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// format is the version of the encoding. A reader refuses every other one: after an upgrade the source
// is asked, not an old file.
const format = 2

type file struct {
	Format   int
	Snapshot *Snapshot
	Data     config.Data // of all policies, once
}

// Encode serializes a snapshot, secrets included.
func Encode(s *Snapshot) ([]byte, error) {
	bare := *s
	bare.Policies = slices.Clone(s.Policies)
	data := config.Data{}
	for i := range bare.Policies {
		maps.Copy(data, bare.Policies[i].Data)
		bare.Policies[i].Data = nil
	}
	return json.Marshal(file{Format: format, Snapshot: &bare, Data: data})
}

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
	for i := range f.Snapshot.Policies {
		p := &f.Snapshot.Policies[i]
		if p.Spec == nil || p.Spec.Ref() != p.Ref {
			return nil, fmt.Errorf("snapshot: policy %s is damaged", p.Ref)
		}
		p.Data = f.Data.For(p.Spec)
	}
	return f.Snapshot, nil
}

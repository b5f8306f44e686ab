package config

import "fmt"

// Resolve returns the contents of a source. The error names the entry that isn't there, and never any
// contents. The bytes are shared and must not be changed.
func (d Data) Resolve(s Source) ([]byte, error) {
	if s.Ref == "" {
		return []byte(s.Inline), nil
	}
	if s.Inline != "" {
		return nil, fmt.Errorf("both inline text and a reference to %s are given", s.Ref)
	}
	contents, found := d[s.Ref]
	if !found {
		return nil, fmt.Errorf("%s isn't there; create it", s.Ref)
	}
	return contents, nil
}

// For picks the entries that a policy refers to.
func (d Data) For(p *Policy) Data {
	out := Data{}
	for source := range p.Sources {
		if contents, ok := d[source.Ref]; ok && source.Ref != "" {
			out[source.Ref] = contents
		}
	}
	return out
}

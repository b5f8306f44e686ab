package exchange

import (
	"reflect"
	"sync"
	"unsafe"
)

// Prepared is a verdict that many requests get, such as all that carry one token: hosts check and encode it
// once. It is safe for concurrent use.
type Prepared struct {
	verdict Verdict
	once    sync.Once
	form    any
}

// Prepare takes over v: its slices and its map, and all that they hold, must not be changed any more.
func Prepare(v Verdict) *Prepared {
	p := &Prepared{verdict: v}
	p.verdict.prepared = p
	return p
}

// Verdict returns the verdict for one more request. Whoever gets it may replace any of its fields, and must
// not change in place what they hold.
func (p *Prepared) Verdict() Verdict { return p.verdict }

// Form returns the result of the first build, a host's own form of everything in the verdict but ResponseSet
// and Reason. There is room for one host's. For hosts.
func (p *Prepared) Form(build func(v *Verdict) any) any {
	p.once.Do(func() { p.form = build(&p.verdict) })
	return p.form
}

// Prepared returns what v was made of. It is nil if a field other than ResponseSet and Reason has been
// replaced since, by a wrapper for one: then what was prepared says nothing of v. For hosts.
func (v *Verdict) Prepared() *Prepared {
	p := v.prepared
	if p == nil {
		return nil
	}
	of := &p.verdict
	if v.Allow != of.Allow || v.Reply != of.Reply || v.RecomputeRoute != of.RecomputeRoute || !sameMap(v.Metadata, of.Metadata) ||
		!sameSlice(v.Set, of.Set) || !sameSlice(v.Add, of.Add) || !sameSlice(v.Remove, of.Remove) {
		return nil
	}
	return p
}

// sameSlice compares by identity. The prepared verdict keeps its memory alive, so nothing else can be there.
func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && unsafe.SliceData(a) == unsafe.SliceData(b) //nolint:gosec // G103: nothing is read there
}

func sameMap(a, b map[string]any) bool {
	return len(a) == len(b) && reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
}

package exchange

import "time"

// Forward is the part of a [Host] that needs no thought in one that stands between a Processor and the
// Exchange To, such as a chain's: embed it.
type Forward struct{ To *Exchange }

// SetMetadata implements [Host].
func (f Forward) SetMetadata(namespace, key string, value any) error {
	return f.To.SetMetadata(namespace, key, value)
}

// Metadata implements [Host].
func (f Forward) Metadata(namespace string) map[string]any { return f.To.Metadata(namespace) }

// Attribute implements [Host].
func (f Forward) Attribute(name string) (string, bool) { return f.To.Attribute(name) }

// OnComplete implements [Host].
func (f Forward) OnComplete(fn func(Outcome)) { f.To.OnComplete(fn) }

// Filter implements [Host].
func (f Forward) Filter() FilterInfo { return f.To.Filter() }

// Deadline implements [Host].
func (f Forward) Deadline() (time.Time, bool) { return f.To.Deadline() }

// ExtendTimeout implements [Host].
func (f Forward) ExtendTimeout(d time.Duration) error { return f.To.ExtendTimeout(d) }

// Base implements [Host].
func (f Forward) Base() Host { return f.To.Base() }

// OpenReply implements [Host].
func (f Forward) OpenReply(r *Reply) (ReplyBody, error) { return f.To.host.OpenReply(r) }

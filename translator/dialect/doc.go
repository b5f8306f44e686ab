// Package dialect turns other spellings of manifests into the canonical ones of Gateway API, Envoy
// Gateway and Gatehouse. One table of rows drives it:
//
//	canonical, findings := dialect.Rewrite("SecurityPolicy", document)
//
// Most rows are written down (rows.go, processing.go); those that hold for every field of a Go type, such as
// integer seconds in place of a duration, are derived from the API's types (derived.go).
//
// The package is pure and safe for concurrent use.
package dialect

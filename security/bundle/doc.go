// Package bundle keeps OPA bundles fresh: archives of Rego modules and data documents, from a server or a
// file.
//
//	fetcher := bundle.NewFetcher(bundle.Options{})                  // one for the process
//	use, err := fetcher.Subscribe("team-a/api", spec, version, data, changed) // one for each policy and bundle
//	contents := use.Current()                                       // nil before the first good fetch
//
// A bundle is taken whole or not at all. Its signature is checked by OPA's own code before anything of it is
// parsed, its size is bounded packed and unpacked, and the last good one stays in force while its source is
// down or sends something worse.
package bundle

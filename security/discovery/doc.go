// Package discovery fetches what OpenID providers say about themselves (OpenID Connect Discovery 1.0) and keeps
// it fresh.
//
// A document is an input of whoever configures a login: [Fetcher.Want] says whose documents are needed and
// returns those that are there, and OnChange tells that others are. A document that can't be fetched or that
// is wrong changes nothing about the last good one.
package discovery

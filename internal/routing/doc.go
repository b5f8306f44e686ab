// Package routing tells which route Envoy takes for a request, without an Envoy: it reads the very
// resources that Envoy gets, so that whatever the translator does (twins, isolation, order) needs no
// second description.
//
//	table, err := routing.New(snapshot)
//	match, err := table.Match(&routing.Request{Port: 8080, Method: "GET", Authority: "a.example", Path: "/"})
//
// A condition that this package doesn't know is an error of the requests that meet it, never a guess.
package routing

// Package admin serves the two operator ports of a running gateway.
//
// The admin port shows Envoy's own admin API through a list of what is allowed, beside handlers of
// Gatehouse itself. Envoy's API was made for its operator alone: one GET-able page away it stops the
// process, drains it or changes its behaviour, so that nothing passes that isn't on the list. The
// metrics port shows Envoy's and Gatehouse's metrics on one page.
//
// Both are plain HTTP without credentials and belong on loopback. A web page that the operator has
// open in a browser on the same machine is the attacker to think of: it can send requests to loopback
// ports. See guard.
package admin

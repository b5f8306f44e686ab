package extproc

import (
	"fmt"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// refusedEdit is why an edit of a header isn't sent: Envoy would ignore it without a word, or take it and
// break the message. name is in lower case; all says that the filter's mutation_rules allow every header.
//
//   - host and x-envoy-* are ignored unless the rules allow them, and a removal of host always.
//   - Of the headers of a connection (RFC 9110 section 7.6.1) HTTP/1 sends some that the peer then obeys, and
//     HTTP/2 none. That there are trailers may be said by te, which gRPC demands.
//   - A content-length goes out as it is in body mode NONE and BUFFERED, whatever the body has, and nowhere
//     else. It can be removed, as the engine does by itself.
func refusedEdit(name, value string, remove, all bool) error {
	switch {
	case name == "host" && remove:
		return fmt.Errorf("%w: Envoy never removes host", exchange.ErrBadEdit)
	case name == "host", strings.HasPrefix(name, "x-envoy"):
		if all {
			return nil
		}
		return unmet("header " + name + ": Envoy ignores edits of it unless mutation_rules allow them" +
			` (allow_all_routing, allow_envoy, and "mutate-all" in initial metadata x-gatehouse-extproc)`)
	case remove:
		return nil
	case name == "content-length":
		return fmt.Errorf("%w: content-length follows from the body: leave it to Set or Transform", exchange.ErrBadEdit)
	case ofConnection(name), name == "te" && !strings.EqualFold(value, "trailers"):
		return fmt.Errorf("%w: %s belongs to a connection, which is Envoy's", exchange.ErrBadEdit, name)
	}
	return nil
}

// ofConnection reports whether a header says something of a connection, or of how a message is delimited in it.
func ofConnection(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// inReply reports whether a line of a reply is sent. Of the rest Envoy writes some by itself and ignores some.
func inReply(name, value string, all bool) bool {
	return exchange.IsToken(name) && validValue(value) && refusedEdit(name, value, false, all) == nil
}

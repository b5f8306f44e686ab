package extproc

// side is a direction of an exchange.
type side uint8

const (
	requestSide side = iota
	responseSide
)

// automaton knows what has arrived, what is owed for it, and whether the stream may be closed. It does
// no I/O. Each direction goes through
//
//	(nothing) ──headers──▶ open ──body…──▶ open ──body with end, or trailers──▶ ended
//	              └──────── headers with end ────────────────────────────────────▲
//
// and every arrival is appended to the direction's queue of unanswered messages. An answer takes the
// first of its queue and nothing else, so that none can be out of order, of the wrong kind, or too many.
// Full-duplex bodies are not in the queue: chunks go out between the headers' answer and the end.
type automaton struct {
	sides [2]direction
	// mute is observability mode: Envoy ignores answers, so there are none.
	mute bool
	// replied is set when an ImmediateResponse went out: Envoy takes nothing after it.
	replied bool
}

type direction struct {
	mode  bodyMode
	owed  []kind
	ended bool // Envoy's side
	// bodiless is set when the headers carried the end, closed when the end of a full-duplex body is
	// answered, by a chunk with the end, by trailers, or by the headers of a message without a body.
	bodiless, closed bool
}

// configure takes the modes from the stream's first message, whatever its phase. They are the effective
// ones of the route. Envoy leaves them out in observability mode.
func (a *automaton) configure(m *message) {
	a.mute = m.observability
	a.sides[requestSide].mode = m.config.request
	a.sides[responseSide].mode = m.config.response
}

// arrive notes a message. It returns false for one that must be dropped unanswered: a body chunk after
// the direction's end, which in full duplex would be appended to a finished body
// (envoyproxy/envoy#46237).
func (a *automaton) arrive(m *message) bool {
	d := &a.sides[m.kind.side()]
	duplexBody := m.kind.isBody() && d.mode.duplex()
	if d.ended && duplexBody {
		return false
	}
	if !duplexBody && !a.mute { // those are answered by as many chunks as it takes
		d.owed = append(d.owed, m.kind)
	}
	if m.kind.isHeaders() {
		d.bodiless = m.endOfStream
	}
	if m.endOfStream || m.endEmpty || m.kind.isTrailers() {
		d.ended = true
	}
	return true
}

// owes returns the kind of message that an answer in that direction is for now.
func (a *automaton) owes(s side) kind {
	if owed := a.sides[s].owed; len(owed) > 0 && !a.mute && !a.replied {
		return owed[0]
	}
	return noMessage
}

// answered takes the first message off the queue.
func (a *automaton) answered(s side) {
	d := &a.sides[s]
	if k := d.owed[0]; k.isTrailers() || k.isHeaders() && d.bodiless {
		d.closed = true
	}
	if len(d.owed) == 1 {
		d.owed = d.owed[:0] // keeps the array
		return
	}
	d.owed = d.owed[1:]
}

// mayClose reports whether an OK close loses no byte. Full-duplex directions must have ended, the
// response's also when it hasn't begun yet: it may be under way already, and Envoy drops what it sent
// to a stream that closes. In all other modes Envoy keeps what it sent until it is answered and lets it
// pass unchanged.
func (a *automaton) mayClose() bool {
	if a.mute || a.replied {
		return true
	}
	for i := range a.sides {
		if d := &a.sides[i]; d.mode.duplex() && (!d.closed || len(d.owed) > 0) {
			return false
		}
	}
	return true
}

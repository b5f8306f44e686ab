package extproc

import (
	"io"
	"strconv"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// flow is one direction's body on its way through the engine:
//
//	Envoy ──▶ stages[:level] ──▶ held ──▶ stages[level:] ──▶ Envoy
//
// While the direction is held everything stops at held; then held goes first, and the rest follows.
type flow struct {
	stream *stream
	side   side
	stages []*stage
	set    []byte // what the first stage, a Set, replaces the body by

	holding bool
	riding  bool // the headers are answered, and their edits go with the answer to the body
	level   int
	held    []byte
	heldEnd bool

	prompts  bool // Envoy has sent a chunk and sends the trailers, if they are there, only when that is answered
	released bool // the processor has let go of the headers
	bodiless bool // the end came with the headers, or the body was replaced with them
	sized    bool // the message had a content-length
	ended    bool // the stages have seen the end
	unmet    error
}

func (f *flow) direction() *direction { return &f.stream.auto.sides[f.side] }

func (f *flow) headers() kind { return requestHeaders + kind(f.side) }
func (f *flow) body() kind    { return requestBody + kind(f.side) }
func (f *flow) trailer() kind { return requestTrailers + kind(f.side) }

// observes and transforms say what the stages that the header answer leaves in place need.
func (f *flow) observes() bool { return len(f.stages) > 0 && !f.bodiless && !f.replaces() }

func (f *flow) transforms() bool {
	if f.bodiless || f.replaces() {
		return false
	}
	for _, g := range f.stages {
		if !g.observe {
			return true
		}
	}
	return false
}

// replaces says that the new body goes with the answer to the headers (CONTINUE_AND_REPLACE): it doesn't
// depend on the old one, of which nothing has been sent.
func (f *flow) replaces() bool {
	if f.set == nil || f.holding && !f.bodiless {
		return false
	}
	mode := f.direction().mode
	return f.bodiless || !mode.duplex() && mode != modeBuffered && !f.stream.noWait
}

// flowing says that an OK close would cut off what a processor asked to see.
func (f *flow) flowing() bool { return len(f.stages) > 0 && !f.bodiless && !f.ended }

// Set implements [exchange.BodyHost].
func (f *flow) Set(p []byte) {
	if f.bodiless && !f.released {
		// What came before never runs, or ran over a body that is replaced now.
		f.stages, f.level, f.held = nil, 0, nil
	}
	if len(f.stages) == 0 && f.held == nil {
		f.set = append([]byte{}, p...)
	}
	f.add(&stage{fn: func(dst io.Writer, _ io.Reader) error {
		_, err := dst.Write(p)
		return err
	}})
}

// Observe implements [exchange.BodyHost].
func (f *flow) Observe(fn func(src io.Reader) error) {
	f.add(&stage{observe: true, fn: func(_ io.Writer, src io.Reader) error { return fn(src) }})
}

// Transform implements [exchange.BodyHost].
func (f *flow) Transform(fn func(dst io.Writer, src io.Reader) error) { f.add(&stage{fn: fn}) }

func (f *flow) add(g *stage) {
	s := f.stream
	switch {
	case s.done, f.unmet != nil:
	case f.released:
		f.unmet = unmet("the body has been released")
	case f.side == responseSide && s.want&exchange.EditBody == 0 && (!g.observe || s.want&exchange.ObserveBody == 0):
		f.unmet = unmet("Next was not told")
	default:
		g.stream = s
		f.stages = append(f.stages, g)
	}
}

// push runs data through stages[from:to] into sink.
func (f *flow) push(from, to int, data string, end bool, sink func(string) error) error {
	if from == to {
		if data == "" {
			return nil
		}
		return sink(data)
	}
	err := f.stages[from].push(data, end, func(out string) error { return f.push(from+1, to, out, false, sink) })
	if err == nil && end {
		err = f.push(from+1, to, "", true, sink)
	}
	return err
}

// take handles a body message, which the automaton has taken note of.
func (f *flow) take(m *message) error {
	d := f.direction()
	end := d.ended || d.mode == modeBuffered // one message is all, whatever it says of the end
	if f.side == requestSide {
		f.stream.outcome.RequestBytes += int64(len(m.body))
	} else {
		f.stream.outcome.ResponseBytes += int64(len(m.body))
	}
	switch {
	case f.holding:
		if d.mode == modeBufferedPartial && !end {
			return exchange.ErrTooLarge
		}
		return f.keep(m.body, end)
	case len(f.stages) == 0:
		f.stream.pass(m)
		return nil
	case d.mode.duplex():
		return f.forward(0, m.body, end)
	}
	return f.answerBody(0, m.body, end, nil)
}

func (f *flow) keep(data string, end bool) error {
	f.heldEnd = f.heldEnd || end
	return f.push(0, f.level, data, end, func(out string) error {
		f.held = append(f.held, out...)
		return nil
	})
}

// forward sends a full-duplex body on. The end goes out only once it has come in: Envoy hangs if trailers
// follow an end of ours.
func (f *flow) forward(from int, data string, end bool) error {
	f.ended = f.ended || end
	if err := f.push(from, len(f.stages), data, end, f.chunk); err != nil {
		return err
	}
	if f.prompts && !end {
		f.stream.sendChunk(f.body(), "", false)
	}
	f.prompts = false
	if end && f.stream.auto.owes(f.side) != f.trailer() {
		f.stream.sendChunk(f.body(), "", true)
	}
	return nil
}

func (f *flow) chunk(data string) error {
	f.prompts = false
	for len(data) > maxChunk {
		f.stream.sendChunk(f.body(), data[:maxChunk], false)
		data = data[maxChunk:]
	}
	f.stream.sendChunk(f.body(), data, false)
	return nil
}

// answerBody answers a body message of a mode with one answer to each; e are edits that ride in it.
func (f *flow) answerBody(from int, data string, end bool, e *edits) error {
	out, err := f.through(from, data, end)
	if err != nil {
		return err
	}
	if e == nil {
		e = &edits{header: new(exchange.Header)}
	}
	if f.rewritten() {
		e.replace, e.body = true, out
		if f.sized && f.direction().mode == modeBuffered {
			e.length = strconv.Itoa(len(out))
		}
	}
	return f.stream.answer(f.body(), e)
}

// through runs data through stages[from:] and returns what comes out.
func (f *flow) through(from int, data string, end bool) ([]byte, error) {
	f.ended = f.ended || end
	var out []byte
	err := f.push(from, len(f.stages), data, end, func(piece string) error {
		out = append(out, piece...)
		return nil
	})
	return out, err
}

// rewritten says that the body may not be what came in.
func (f *flow) rewritten() bool {
	for _, g := range f.stages {
		if !g.observe {
			return true
		}
	}
	return false
}

// takeTrailers handles trailers, which also end the body.
func (f *flow) takeTrailers() error {
	switch {
	case f.holding:
		return f.keep("", true)
	case !f.flowing():
	case f.direction().mode.duplex():
		if err := f.forward(0, "", true); err != nil {
			return err
		}
	default:
		tail, err := f.through(0, "", true)
		if err != nil {
			return err
		}
		if len(tail) > 0 {
			return unmet("trailers leave no place for the rest of the body")
		}
	}
	return f.answerTrailers()
}

func (f *flow) answerTrailers() error {
	header := new(exchange.Header)
	if f.side == requestSide && f.stream.request != nil {
		header = &f.stream.request.Trailer
	} else if f.side == responseSide && f.stream.response != nil {
		header = &f.stream.response.Trailer
	}
	return f.stream.answer(f.trailer(), &edits{header: header})
}

// end has all coroutines return.
func (f *flow) end() {
	for _, g := range f.stages {
		g.end()
	}
}

package extproc

import (
	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// kind is what a ProcessingRequest carries; the values are the field numbers of its oneof.
type kind uint8

const (
	noMessage        kind = 0
	requestHeaders   kind = 2
	responseHeaders  kind = 3
	requestBody      kind = 4
	responseBody     kind = 5
	requestTrailers  kind = 6
	responseTrailers kind = 7
)

func (k kind) side() side       { return side(k & 1) }
func (k kind) isHeaders() bool  { return k == requestHeaders || k == responseHeaders }
func (k kind) isBody() bool     { return k == requestBody || k == responseBody }
func (k kind) isTrailers() bool { return k == requestTrailers || k == responseTrailers }

// answer is the field number of the answer in ProcessingResponse.
func (k kind) answer() wire.Num { return wire.Num(k) - 1 }

// message is what is read of a ProcessingRequest. Its strings are pieces of the received text and may
// be kept. The flow-control and drain fields of newer protocol versions are skipped.
type message struct {
	raw           string // the whole
	kind          kind
	lines         []exchange.Field
	memory        []exchange.Field // for the next lines
	body          string
	endOfStream   bool
	endEmpty      bool // end_of_stream_without_message of gRPC mode
	compressed    bool // grpc_message_compressed of gRPC mode
	metadata      string
	attributes    string
	observability bool
	config        protocolConfig
}

type protocolConfig struct {
	present           bool
	request, response bodyMode
	noWait            bool
}

// bodyMode is ProcessingMode.BodySendMode.
type bodyMode uint32

const (
	modeNone bodyMode = iota
	modeStreamed
	modeBuffered
	modeBufferedPartial
	modeFullDuplex
	modeGRPC
)

// duplex modes have no one-to-one answers: the server sends its own chunks, or the body is lost.
func (m bodyMode) duplex() bool { return m == modeFullDuplex || m == modeGRPC }

// parse reads a ProcessingRequest. Repeated fields merge, and of a oneof the last member counts, as in
// generated code.
func (m *message) parse(text string) error {
	*m = message{memory: m.memory}
	r := wire.Read(text)
	for r.Next() {
		switch r.Tag {
		case 2<<3 | wire.Len, 3<<3 | wire.Len:
			m.turn(kind(r.Tag >> 3))
			r.Sub(m.headers)
		case 4<<3 | wire.Len, 5<<3 | wire.Len:
			m.turn(kind(r.Tag >> 3))
			r.Sub(m.data)
		case 6<<3 | wire.Len, 7<<3 | wire.Len:
			m.turn(kind(r.Tag >> 3))
			r.Sub(m.trailers)
		case 8<<3 | wire.Len:
			m.metadata += r.Bytes // concatenation is what merging means on the wire
		case 9<<3 | wire.Len:
			r.Sub(m.attribute)
		case 10<<3 | wire.Varint:
			m.observability = r.Number != 0
		case 11<<3 | wire.Len:
			m.config.present = true
			r.Sub(m.config.parse)
		}
	}
	return r.Err()
}

// turn makes k the member of the oneof that is set.
func (m *message) turn(k kind) {
	if m.kind == k {
		return
	}
	m.kind = k
	m.lines, m.body, m.endOfStream, m.endEmpty, m.compressed = nil, "", false, false, false
}

// headers reads an HttpHeaders.
func (m *message) headers(text string) error {
	r := wire.Read(text)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | wire.Len:
			r.Sub(m.headerMap)
		case 3<<3 | wire.Varint:
			m.endOfStream = r.Number != 0
		}
	}
	return r.Err()
}

// trailers reads an HttpTrailers.
func (m *message) trailers(text string) error {
	r := wire.Read(text)
	for r.Next() {
		if r.Tag == 1<<3|wire.Len {
			r.Sub(m.headerMap)
		}
	}
	return r.Err()
}

func (m *message) headerMap(text string) (err error) {
	if m.lines == nil {
		if m.lines, m.memory = m.memory, nil; m.lines == nil {
			m.lines = make([]exchange.Field, 0, 24)
		}
	}
	m.lines, err = wire.AppendHeaderMap(m.lines, text)
	return err
}

// data reads an HttpBody.
func (m *message) data(text string) error {
	r := wire.Read(text)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | wire.Len:
			m.body = r.Bytes
		case 2<<3 | wire.Varint:
			m.endOfStream = r.Number != 0
		case 3<<3 | wire.Varint:
			m.endEmpty = r.Number != 0
		case 4<<3 | wire.Varint:
			m.compressed = r.Number != 0
		}
	}
	return r.Err()
}

func (c *protocolConfig) parse(text string) error {
	r := wire.Read(text)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | wire.Varint:
			c.request = bodyMode(r.Number)
		case 2<<3 | wire.Varint:
			c.response = bodyMode(r.Number)
		case 3<<3 | wire.Varint:
			c.noWait = r.Number != 0
		}
	}
	return r.Err()
}

// attribute reads an entry of the attributes map, which Envoy keys by the filter's name.
func (m *message) attribute(text string) error {
	key, value, err := wire.MessageEntry(text)
	if key == "envoy.filters.http.ext_proc" {
		m.attributes = value // the last entry of a key counts
	}
	return err
}

package policytest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gatehouse-proxy/gatehouse/internal/routing"
)

// frameSize is what every receiver takes (RFC 9113 section 4.2), window what it takes before it says more
// (section 6.9.2).
const (
	frameSize = 16384
	window    = 65535
)

// stream is the only one of a connection by HTTP/2.
type stream struct {
	framer *http2.Framer
	body   []byte
	// What the receiver takes of this stream and of the connection; initial is what streams begin with.
	own, shared, initial int
	answer               answer
	done                 bool
}

// sendHTTP2 sends a request as the first stream of a connection. A reset is an answer without a status.
func sendHTTP2(conn io.ReadWriter, r *routing.Request, body []byte) (*answer, error) {
	s := &stream{framer: http2.NewFramer(conn, conn), body: body, own: window, shared: window, initial: window}
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	err := s.framer.WriteSettings()
	if err == nil {
		err = s.writeHeader(r)
	}
	for err == nil && !s.done {
		if err = s.writeBody(); err == nil {
			err = s.read()
		}
	}
	// A request may be an error of the connection (RFC 9113 section 5.4.1), and an answer may come before the
	// request's end.
	closed := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	if err != nil && s.answer.status == 0 && !closed {
		return nil, err
	}
	return &s.answer, nil
}

func (s *stream) writeHeader(r *routing.Request) error {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	scheme := map[bool]string{true: "https", false: "http"}[r.TLS]
	fields := make([]hpack.HeaderField, 0, 4+len(r.Header))
	fields = append(fields, hpack.HeaderField{Name: ":method", Value: r.Method}, hpack.HeaderField{Name: ":scheme", Value: scheme},
		hpack.HeaderField{Name: ":authority", Value: r.Authority}, hpack.HeaderField{Name: ":path", Value: r.Path})
	for _, f := range r.Header {
		fields = append(fields, hpack.HeaderField{Name: f.Name, Value: f.Value})
	}
	for _, f := range fields {
		if err := encoder.WriteField(f); err != nil {
			return err
		}
	}
	first := true
	for chunk := range slices.Chunk(block.Bytes(), frameSize) {
		var err error
		last := block.Len() <= frameSize
		block.Next(len(chunk))
		if first {
			err = s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: chunk, EndStream: len(s.body) == 0, EndHeaders: last})
		} else {
			err = s.framer.WriteContinuation(1, last, chunk)
		}
		if first = false; err != nil {
			return err
		}
	}
	return nil
}

// writeBody sends as much as the receiver takes now.
func (s *stream) writeBody() error {
	for len(s.body) > 0 {
		n := min(len(s.body), frameSize, s.own, s.shared)
		if n <= 0 {
			return nil
		}
		chunk := s.body[:n]
		s.body, s.own, s.shared = s.body[n:], s.own-n, s.shared-n
		if err := s.framer.WriteData(1, len(s.body) == 0, chunk); err != nil {
			return err
		}
	}
	return nil
}

// read takes one frame.
func (s *stream) read() error {
	frame, err := s.framer.ReadFrame()
	if err != nil {
		return err
	}
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		return s.settings(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			return s.framer.WritePing(true, f.Data)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			s.shared += int(f.Increment)
		} else {
			s.own += int(f.Increment)
		}
	case *http2.MetaHeadersFrame:
		s.header(f)
		s.done = f.StreamEnded()
	case *http2.DataFrame:
		if s.done = f.StreamEnded(); s.done || f.Length == 0 {
			return nil
		}
		if err := s.framer.WriteWindowUpdate(0, f.Length); err != nil {
			return err
		}
		return s.framer.WriteWindowUpdate(1, f.Length)
	case *http2.RSTStreamFrame:
		s.done = true
	case *http2.GoAwayFrame:
		s.done = f.LastStreamID < 1 || f.ErrCode != http2.ErrCodeNo
	}
	return nil
}

func (s *stream) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if size, ok := f.Value(http2.SettingInitialWindowSize); ok {
		s.own, s.initial = s.own+int(size)-s.initial, int(size)
	}
	return s.framer.WriteSettingsAck()
}

// header takes the response's header or its trailers; what only informs is passed over.
func (s *stream) header(f *http2.MetaHeadersFrame) {
	status, _ := strconv.Atoi(f.PseudoValue("status"))
	if status >= 100 && status < 200 {
		return
	}
	first := s.answer.status == 0
	if first {
		s.answer.status, s.answer.header = status, http.Header{}
	}
	for _, field := range f.RegularFields() {
		if first {
			s.answer.header.Add(field.Name, field.Value)
		}
		if field.Name == "grpc-status" {
			s.answer.grpcStatus = field.Value
		}
	}
}

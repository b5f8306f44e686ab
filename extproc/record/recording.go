package record

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"golang.org/x/tools/txtar"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Frame is a message of a stream: one of the two.
type Frame struct {
	Request  *extprocv3.ProcessingRequest
	Response *extprocv3.ProcessingResponse
}

// Recording is a stream, in the order in which the processor's server saw it.
type Recording struct {
	// Comment is text for people.
	Comment string
	// Metadata is the stream's initial metadata, without what gRPC itself sends.
	Metadata map[string][]string
	Frames   []Frame
	// Code is how the processor ended the stream.
	Code codes.Code
}

// String names the frame: "> request_headers" for what the filter sent, "< request_headers" for an answer.
func (f Frame) String() string {
	if f.Request != nil {
		return "> " + member(f.Request.ProtoReflect(), "request")
	}
	return "< " + member(f.Response.ProtoReflect(), "response")
}

// member is the name of the member of a oneof that is set; "message" if none is.
func member(m protoreflect.Message, oneof protoreflect.Name) string {
	if field := m.WhichOneof(m.Descriptor().Oneofs().ByName(oneof)); field != nil {
		return string(field.Name())
	}
	return "message"
}

// Format is the recording as text, which [Parse] reads. The same recording gives the same text.
func (r *Recording) Format() ([]byte, error) {
	archive := txtar.Archive{Comment: []byte(r.Comment)}
	var metadata bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		for _, value := range r.Metadata[key] {
			fmt.Fprintf(&metadata, "%s: %s\n", key, value)
		}
	}
	if metadata.Len() > 0 {
		archive.Files = append(archive.Files, txtar.File{Name: "metadata", Data: metadata.Bytes()})
	}
	for _, f := range r.Frames {
		var m proto.Message = f.Response
		if f.Request != nil {
			m = f.Request
		}
		text, err := marshal(m)
		if err != nil {
			return nil, err
		}
		archive.Files = append(archive.Files, txtar.File{Name: f.String(), Data: text})
	}
	archive.Files = append(archive.Files, txtar.File{Name: "end", Data: []byte(r.Code.String() + "\n")})
	return txtar.Format(&archive), nil
}

// Parse reads what Format has written, or a person. The error names the section that can't be read.
func Parse(text []byte) (*Recording, error) {
	archive := txtar.Parse(text)
	out := &Recording{Comment: string(archive.Comment), Metadata: map[string][]string{}}
	ended := false
	for i, file := range archive.Files {
		fault := func(err error) error { return fmt.Errorf("section %d, %s: %w", i+1, file.Name, err) }
		switch {
		case ended:
			return nil, fault(errors.New("comes after the end"))
		case file.Name == "metadata":
			for line := range strings.Lines(string(file.Data)) {
				key, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
				if !ok {
					return nil, fault(fmt.Errorf("%q isn't \"key: value\"", line))
				}
				out.Metadata[key] = append(out.Metadata[key], value)
			}
		case file.Name == "end":
			if err := out.Code.UnmarshalJSON([]byte(`"` + codeName(strings.TrimSpace(string(file.Data))) + `"`)); err != nil {
				return nil, fault(err)
			}
			ended = true
		default:
			f, err := parseFrame(file)
			if err != nil {
				return nil, fault(err)
			}
			out.Frames = append(out.Frames, f)
		}
	}
	if !ended {
		return nil, errors.New("the section \"end\" is missing")
	}
	return out, nil
}

func parseFrame(file txtar.File) (f Frame, err error) {
	switch {
	case strings.HasPrefix(file.Name, "> "):
		f.Request = new(extprocv3.ProcessingRequest)
		err = unmarshal(file.Data, f.Request)
	case strings.HasPrefix(file.Name, "< "):
		f.Response = new(extprocv3.ProcessingResponse)
		err = unmarshal(file.Data, f.Response)
	default:
		return f, errors.New("is none of metadata, \"> message\", \"< message\" and end")
	}
	if err == nil && f.String() != file.Name {
		err = fmt.Errorf("holds %s", f)
	}
	return f, err
}

// codeName turns DeadlineExceeded into DEADLINE_EXCEEDED, which is what codes.Code reads.
func codeName(text string) string {
	if text == "OK" {
		return text
	}
	var out strings.Builder
	for i, c := range text {
		if i > 0 && c >= 'A' && c <= 'Z' {
			out.WriteByte('_')
		}
		out.WriteRune(c)
	}
	name := strings.ToUpper(out.String())
	if name == "CANCELED" {
		return "CANCELLED" // the one that gRPC spells in two ways
	}
	return name
}

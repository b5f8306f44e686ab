package sdktest_test

import (
	"errors"
	"io"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

type (
	incoming = extprocv3.ProcessingRequest
	outgoing = extprocv3.ProcessingResponse
	process  = grpc.BidiStreamingServer[incoming, outgoing]
	common   = extprocv3.CommonResponse
)

// errClose in place of an answer closes the stream with OK.
var errClose = errors.New("close")

// script answers by kind of message. What isn't listed gets a neutral answer: empty, or the chunk itself
// where the mode is full duplex.
type script map[string]func(m *incoming) ([]*outgoing, error)

// processor makes a script a processor; onlyOnce answers each kind as listed only the first time.
func (s script) processor() sdktest.Script {
	return func(stream process) error {
		var config *extprocv3.ProtocolConfiguration
		done := map[string]bool{}
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if c := m.GetProtocolConfig(); c != nil {
				config = c
			}
			if m.GetObservabilityMode() {
				continue
			}
			kind := kindOf(m)
			answers := []*outgoing{neutral(m, config)}
			if listed := s[kind]; listed != nil && !done[kind] {
				done[kind] = true
				if answers, err = listed(m); errors.Is(err, errClose) {
					return nil
				} else if err != nil {
					return err
				}
			}
			for _, a := range answers {
				if a == nil {
					continue
				}
				if d := a.GetOverrideMessageTimeout().AsDuration(); d < 0 {
					time.Sleep(-d) // a pause of the script's
					continue
				}
				if o := a.GetModeOverride(); o != nil && config != nil {
					config = &extprocv3.ProtocolConfiguration{RequestBodyMode: o.GetRequestBodyMode(), ResponseBodyMode: o.GetResponseBodyMode()}
				}
				if err := stream.Send(a); err != nil {
					return err
				}
			}
		}
	}
}

func kindOf(m *incoming) string {
	r := m.ProtoReflect()
	field := r.WhichOneof(r.Descriptor().Oneofs().ByName("request"))
	if field == nil {
		return ""
	}
	return string(field.Name())
}

// modesOf is the configuration of a processor in that mode.
func modesOf(m mode) *extprocv3.ProtocolConfiguration {
	body := extprocfilterv3.ProcessingMode_BodySendMode(m.BodyMode)
	return &extprocv3.ProtocolConfiguration{RequestBodyMode: body, ResponseBodyMode: body}
}

// neutral changes nothing.
func neutral(m *incoming, config *extprocv3.ProtocolConfiguration) *outgoing {
	const duplex = extprocfilterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	body := func(b *extprocv3.HttpBody, mode extprocfilterv3.ProcessingMode_BodySendMode) *common {
		if mode == duplex {
			return chunkOf(string(b.GetBody()), b.GetEndOfStream())
		}
		return &common{}
	}
	switch r := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return requestHeaders(nil)
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		return responseHeaders(nil)
	case *extprocv3.ProcessingRequest_RequestBody:
		return requestBody(body(r.RequestBody, config.GetRequestBodyMode()))
	case *extprocv3.ProcessingRequest_ResponseBody:
		return responseBody(body(r.ResponseBody, config.GetResponseBodyMode()))
	case *extprocv3.ProcessingRequest_RequestTrailers:
		return requestTrailers(nil)
	}
	return responseTrailers(nil)
}

// The answers, by what they answer.

func requestHeaders(r *common) *outgoing {
	return &outgoing{Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{Response: r}}}
}

func responseHeaders(r *common) *outgoing {
	return &outgoing{Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{Response: r}}}
}

func requestBody(r *common) *outgoing {
	return &outgoing{Response: &extprocv3.ProcessingResponse_RequestBody{RequestBody: &extprocv3.BodyResponse{Response: r}}}
}

func responseBody(r *common) *outgoing {
	return &outgoing{Response: &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: &extprocv3.BodyResponse{Response: r}}}
}

func requestTrailers(m *extprocv3.HeaderMutation) *outgoing {
	return &outgoing{Response: &extprocv3.ProcessingResponse_RequestTrailers{RequestTrailers: &extprocv3.TrailersResponse{HeaderMutation: m}}}
}

func responseTrailers(m *extprocv3.HeaderMutation) *outgoing {
	return &outgoing{Response: &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extprocv3.TrailersResponse{HeaderMutation: m}}}
}

func immediate(code int, body string, set ...string) *outgoing {
	r := &extprocv3.ImmediateResponse{Body: []byte(body), Details: "said no"}
	if code != 0 {
		r.Status = &typev3.HttpStatus{Code: typev3.StatusCode(code)}
	}
	if len(set) > 0 {
		r.Headers = setting(set...)
	}
	return &outgoing{Response: &extprocv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: r}}
}

// streamedHeaders begins a reply in parts, streamedBody and streamedTrailers go on with it.
func streamedHeaders(end bool, h ...string) *outgoing {
	return streamedReply(&extprocv3.StreamedImmediateResponse{Response: &extprocv3.StreamedImmediateResponse_HeadersResponse{
		HeadersResponse: &extprocv3.HttpHeaders{Headers: headerMap(h...), EndOfStream: end},
	}})
}

func streamedBody(text string, end bool) *outgoing {
	return streamedReply(&extprocv3.StreamedImmediateResponse{Response: &extprocv3.StreamedImmediateResponse_BodyResponse{
		BodyResponse: &extprocv3.StreamedBodyResponse{Body: []byte(text), EndOfStream: end},
	}})
}

func streamedTrailers(h ...string) *outgoing {
	return streamedReply(&extprocv3.StreamedImmediateResponse{Response: &extprocv3.StreamedImmediateResponse_TrailersResponse{
		TrailersResponse: headerMap(h...),
	}})
}

func streamedReply(r *extprocv3.StreamedImmediateResponse) *outgoing {
	return &outgoing{Response: &extprocv3.ProcessingResponse_StreamedImmediateResponse{StreamedImmediateResponse: r}}
}

func headerMap(h ...string) *corev3.HeaderMap {
	out := new(corev3.HeaderMap)
	for i := 0; i < len(h); i += 2 {
		out.Headers = append(out.Headers, &corev3.HeaderValue{Key: h[i], RawValue: []byte(h[i+1])})
	}
	return out
}

// setting overwrites headers; a name that begins with + is appended, with - removed.
func setting(h ...string) *extprocv3.HeaderMutation {
	out := new(extprocv3.HeaderMutation)
	for i := 0; i < len(h); i += 2 {
		name, value := h[i], h[i+1]
		if rest, ok := strings.CutPrefix(name, "-"); ok {
			out.RemoveHeaders = append(out.RemoveHeaders, rest)
			continue
		}
		rest, appending := strings.CutPrefix(name, "+")
		out.SetHeaders = append(out.SetHeaders, &corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: rest, RawValue: []byte(value)}, Append: wrapperspb.Bool(appending), //nolint:staticcheck // what Envoy reads
		})
	}
	return out
}

func wholeOf(text string) *common {
	return &common{BodyMutation: &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_Body{Body: []byte(text)}}}
}

func clearing() *common {
	return &common{BodyMutation: &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_ClearBody{ClearBody: true}}}
}

func chunkOf(text string, end bool) *common {
	return &common{BodyMutation: &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_StreamedResponse{
		StreamedResponse: &extprocv3.StreamedBodyResponse{Body: []byte(text), EndOfStream: end},
	}}}
}

func replacing(r *common) *common {
	out := proto.CloneOf(r)
	out.Status = extprocv3.CommonResponse_CONTINUE_AND_REPLACE
	return out
}

// say answers with those messages.
func say(answers ...*outgoing) func(*incoming) ([]*outgoing, error) {
	return func(*incoming) ([]*outgoing, error) { return answers, nil }
}

// quit ends the stream.
func quit(err error) func(*incoming) ([]*outgoing, error) {
	return func(*incoming) ([]*outgoing, error) { return nil, err }
}

// slowly answers after a pause.
func slowly(pause time.Duration, then func(*incoming) ([]*outgoing, error)) func(*incoming) ([]*outgoing, error) {
	return func(m *incoming) ([]*outgoing, error) {
		time.Sleep(pause)
		return then(m)
	}
}

func clearingNot() *extprocv3.BodyMutation {
	return &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_ClearBody{}}
}

func ifAbsent(name, value string) *extprocv3.HeaderMutation {
	return &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{{
		Header: &corev3.HeaderValue{Key: name, RawValue: []byte(value)}, AppendAction: corev3.HeaderValueOption_ADD_IF_ABSENT,
	}}}
}

func structOf(fields map[string]any) *structpb.Struct {
	out, err := structpb.NewStruct(fields)
	if err != nil {
		panic(err)
	}
	return out
}

func metadataOf(ns, key, value string) map[string]*structpb.Struct {
	return map[string]*structpb.Struct{ns: structOf(map[string]any{key: value})}
}

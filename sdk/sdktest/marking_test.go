package sdktest_test

import (
	"errors"
	"io"

	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// eachTime answers headers as listed, and each part of a body by the part in brackets.
type eachTime map[string]*outgoing

func (e eachTime) processor(m mode, name string) sdktest.Script {
	return func(stream process) error {
		for {
			in, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			out := e[kindOf(in)]
			switch r := in.GetRequest().(type) {
			case *extprocv3.ProcessingRequest_RequestBody:
				out = requestBody(bracketed(m, name, r.RequestBody))
			case *extprocv3.ProcessingRequest_ResponseBody:
				out = responseBody(bracketed(m, name, r.ResponseBody))
			}
			if out == nil {
				out = neutral(in, &extprocv3.ProtocolConfiguration{RequestBodyMode: extprocfilterv3.ProcessingMode_BodySendMode(m.BodyMode)})
			}
			if err := stream.Send(out); err != nil {
				return err
			}
		}
	}
}

// bracketed is what is in b with the name's first letter around each part.
func bracketed(m mode, name string, b *extprocv3.HttpBody) *common {
	text := string(b.GetBody())
	if text != "" {
		text = name[:1] + "(" + text + ")"
	}
	if m.BodyMode == sdktest.FullDuplex {
		return chunkOf(text, b.GetEndOfStream())
	}
	return wholeOf(text)
}

package sdktest

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/extproc/record"
)

// replayPatience is how long a processor may take for one answer in a replay.
const replayPatience = 10 * time.Second

// Replay plays the filter's side of a recorded stream (package extproc/record) to processor, and fails the
// test unless it answers as recorded, message by message and in that order. redactor must be the one that the
// recording was made with: answers go through it before they are compared. What was redacted is redacted
// for the processor too, so that a recording with a credential in it replays its absence.
//
// With the environment variable SDKTEST_UPDATE=1 it writes the file anew, with the answers that come.
func Replay(t testing.TB, processor any, path string, redactor record.Redactor) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := record.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	played, err := replay(t.Context(), handlerOf(t, processor), recorded)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	redactor.Apply(played)
	got, err := played.Format()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("SDKTEST_UPDATE") == "1" {
		if err := os.WriteFile(path, got, 0o600); err != nil { //nolint:gosec // the file that the test names
			t.Fatal(err)
		}
		return
	}
	redactor.Apply(recorded)
	want, err := recorded.Format()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: the processor doesn't answer as recorded (SDKTEST_UPDATE=1 writes what it answers)\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// replay plays r to the processor; what it returns has the answers that came.
func replay(ctx context.Context, handle handler, r *record.Recording) (*record.Recording, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	server.RegisterService(service(handle), nil)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	connection, err := grpc.NewClient("passthrough:processor", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }()
	stream, err := extprocv3.NewExternalProcessorClient(connection).Process(metadata.NewOutgoingContext(ctx, r.Metadata))
	if err != nil {
		return nil, err
	}
	p := &player{stream: stream, answers: make(chan *extprocv3.ProcessingResponse, len(r.Frames)+1), over: make(chan error, 1)}
	go p.receive()
	return p.play(r)
}

// player is the filter's side of a replay.
type player struct {
	stream  grpc.BidiStreamingClient[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]
	answers chan *extprocv3.ProcessingResponse
	over    chan error // the stream's end
}

func (p *player) receive() {
	defer close(p.answers)
	for {
		m, err := p.stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			p.over <- err
			return
		}
		p.answers <- m
	}
}

// play sends what was recorded, and waits for an answer where there was one.
func (p *player) play(r *record.Recording) (*record.Recording, error) {
	out := &record.Recording{Comment: r.Comment, Metadata: maps.Clone(r.Metadata)}
	for _, f := range r.Frames {
		if f.Request != nil {
			out.Frames = append(out.Frames, record.Frame{Request: proto.CloneOf(f.Request)})
			_ = p.stream.Send(f.Request) // a processor that has ended the stream is found out below
			continue
		}
		if more, err := p.note(out); err != nil {
			return nil, err
		} else if !more {
			break
		}
	}
	_ = p.stream.CloseSend()
	for more := true; more; { // what it sends beyond
		var err error
		if more, err = p.note(out); err != nil {
			return nil, err
		}
	}
	out.Code = status.Code(<-p.over)
	return out, nil
}

// note adds the next answer to out; more is false at the end of the stream.
func (p *player) note(out *record.Recording) (more bool, err error) {
	m, err := p.next()
	if m == nil || err != nil {
		return false, err
	}
	out.Frames = append(out.Frames, record.Frame{Response: m})
	return true, nil
}

// next is the next answer, nil at the end of the stream.
func (p *player) next() (*extprocv3.ProcessingResponse, error) {
	timer := time.NewTimer(replayPatience)
	defer timer.Stop()
	select {
	case m := <-p.answers:
		return m, nil
	case <-timer.C:
		return nil, errors.New("the processor sends no answer where one was recorded, and doesn't end its stream")
	}
}

// Recording is the exchange's last stream as a recording, to be kept and replayed; nil if there was none.
func (r *Result) Recording() *record.Recording {
	out := &record.Recording{Metadata: map[string][]string{}}
	for _, f := range r.frames {
		switch {
		case f.closed:
			out.Code = f.code
		case f.request != nil:
			out.Frames = append(out.Frames, record.Frame{Request: proto.CloneOf(f.request)})
		default:
			out.Frames = append(out.Frames, record.Frame{Response: proto.CloneOf(f.response)})
		}
	}
	if len(out.Frames) == 0 {
		return nil
	}
	out.Metadata["x-gatehouse-extproc"] = []string{r.description}
	if r.description == "" {
		delete(out.Metadata, "x-gatehouse-extproc")
	}
	return out
}

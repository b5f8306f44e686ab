// Package xds is a delta ADS server for one data plane. Its reason to exist is order: resources go out
// one a message, what is referred to before what refers to it, removals last, so that no request meets
// a half-applied configuration and a refusal names exactly one resource.
//
// Several Envoys may be connected (one that is being replaced and its successor); each stream keeps its
// own account of what was sent.
package xds

import (
	"errors"
	"log/slog"
	"strings"
	"sync"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// Rejection is a resource version that Envoy refused, in Envoy's own words.
type Rejection struct {
	Type    snapshot.Type
	Name    string
	Version string
	Message string
}

// Server publishes snapshots. All methods are safe for concurrent use.
type Server struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	log      *slog.Logger
	onReject func(Rejection)

	mu       sync.Mutex
	current  *world
	streams  map[*stream]struct{}
	rejected map[resourceID]string
	changed  chan struct{} // closed and replaced whenever a stream's state may have changed
}

type resourceID struct {
	kind          snapshot.Type
	name, version string
}

// NewServer returns a server without a snapshot: connected Envoys wait. onReject may be nil; it is
// called from a stream's goroutine.
func NewServer(log *slog.Logger, onReject func(Rejection)) *Server {
	if onReject == nil {
		onReject = func(Rejection) {}
	}
	return &Server{
		log: log, onReject: onReject,
		streams: map[*stream]struct{}{}, rejected: map[resourceID]string{}, changed: make(chan struct{}),
	}
}

// Register adds the service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discovery.RegisterAggregatedDiscoveryServiceServer(r, s)
}

// Publish makes snap what every Envoy should run. It returns at once; streams that are still sending an
// older one go on from where they are.
func (s *Server) Publish(snap *snapshot.Snapshot) {
	s.mu.Lock()
	s.current = &world{snap: snap}
	streams := make([]*stream, 0, len(s.streams))
	for st := range s.streams {
		streams = append(streams, st)
	}
	s.forget(s.current)
	s.mu.Unlock()
	for _, st := range streams {
		st.wake()
	}
}

// forget drops rejections of versions that nobody asks for any more. The caller holds mu.
func (s *Server) forget(w *world) {
	for id := range s.rejected {
		if r, ok := w.resource(id.kind, id.name); !ok || r.Version != id.version {
			delete(s.rejected, id)
		}
	}
}

// Synced reports whether at least one Envoy is connected and every connected one has answered for all
// of snap that it asked for. Refused resources count as answered.
func (s *Server) Synced(snap *snapshot.Snapshot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.current.snap != snap || len(s.streams) == 0 {
		return false
	}
	for st := range s.streams {
		if st.synced != s.current {
			return false
		}
	}
	return true
}

// Changed returns a channel that is closed at the next change of what Synced or Connected return.
func (s *Server) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Connected returns the number of Envoys.
func (s *Server) Connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// Rejections lists the resources of the current snapshot that Envoy refused.
func (s *Server) Rejections() []Rejection {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Rejection, 0, len(s.rejected))
	for id, text := range s.rejected {
		all = append(all, Rejection{Type: id.kind, Name: id.name, Version: id.version, Message: text})
	}
	return all
}

func (s *Server) latest() *world {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

func (s *Server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) isRejected(id resourceID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, yes := s.rejected[id]
	return yes
}

// maxWords bounds what is kept of a refusal.
const maxWords = 600

// brief keeps Envoy's reason. Where a field breaks a rule of its proto Envoy appends the whole resource,
// and that may hold seals and credentials.
func brief(words string) string {
	words, _, _ = strings.Cut(words, " | ")
	words = strings.Join(strings.Fields(words), " ")
	if len(words) > maxWords {
		words = strings.ToValidUTF8(words[:maxWords], "") + "…"
	}
	return words
}

func (s *Server) reject(id resourceID, text string) {
	text = brief(text)
	s.mu.Lock()
	s.rejected[id] = text
	s.mu.Unlock()
	s.log.Error("Envoy refused a resource; its last good version stays in force",
		"type", id.kind, "name", id.name, "error", text)
	s.onReject(Rejection{Type: id.kind, Name: id.name, Version: id.version, Message: text})
}

// DeltaAggregatedResources serves one Envoy.
func (s *Server) DeltaAggregatedResources(rpc discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	st := newStream(s, rpc)
	s.mu.Lock()
	s.streams[st] = struct{}{}
	s.notify()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, st)
		s.notify()
		s.mu.Unlock()
	}()
	return st.run()
}

// StreamAggregatedResources refuses the state-of-the-world variant: it can't name the resource of a
// refusal.
func (s *Server) StreamAggregatedResources(discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return errors.New("only delta ADS is served: set api_type DELTA_GRPC in ads_config")
}

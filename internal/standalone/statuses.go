package standalone

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/internal/xds"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/discovery"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// ControllerNames are the controllers whose GatewayClasses a stand-alone gateway serves.
func ControllerNames() []string {
	return []string{translator.ControllerName, translator.EnvoyGatewayControllerName}
}

// Statuses renders what can be known from files alone. facts are conditions beside those of the
// translation, such as what compiling the policies has shown.
func Statuses(set *resource.Set, problems []resource.Problem, result *translator.Result, facts []status.Condition) []kubestatus.Object {
	return render(set, problems, result, facts, nil)
}

func render(set *resource.Set, problems []resource.Problem, result *translator.Result, facts []status.Condition, generations map[resource.Key]int64) []kubestatus.Object {
	conditions := append(append([]status.Condition(nil), result.Conditions...), facts...)
	return kubestatus.Render(kubestatus.Input{
		Set: set, Problems: problems, Conditions: status.Sort(conditions), Listeners: result.Listeners,
		Controllers: ControllerNames(), Generations: generations,
	})
}

// statuses knows the statuses of a running gateway: what the translation said, and what Envoy, the policy
// engine and the network have said since. Safe for concurrent use.
type statuses struct {
	// live asks the running parts; set once, before the first request.
	live live

	mu          sync.Mutex
	set         *resource.Set
	problems    []resource.Problem
	result      *translator.Result
	faults      map[string]error
	refusals    []agent.Refusal
	note        string
	generations *generations
	last        []kubestatus.Object
}

// live is what a running gateway can be asked at any time.
type live struct {
	rejections func() []xds.Rejection
	withheld   func() map[string]error // listeners' addresses that can't be bound
	keySets    func() []jwt.State
	bundles    func() []bundle.State
	databases  func() []geo.State
	providers  func() []discovery.State
	// inForce reports whether Envoy has answered for everything and no listener is warming. It may wait
	// for a moment.
	inForce func(ctx context.Context) bool
}

func newStatuses() *statuses { return &statuses{generations: newGenerations()} }

// update takes a new state of the input.
func (s *statuses) update(set *resource.Set, problems []resource.Problem, result *translator.Result, faults map[string]error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generations.next(set)
	s.set, s.problems, s.result, s.faults, s.note = set, problems, result, faults, ""
}

// refused takes the routes that Envoy refuses.
func (s *statuses) refused(refusals []agent.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals = refusals
}

// servesAccepted notes that not the source is served, but what Envoy last accepted.
func (s *statuses) servesAccepted(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note = "the source can't be read, so the last configuration that Envoy accepted serves, and there are no statuses: " + oneLine(cause.Error())
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// objects returns the statuses, and notes about what belongs to no object.
func (s *statuses) objects(ctx context.Context) (objects []kubestatus.Object, notes []string) {
	now := s.ask(ctx)
	defer s.mu.Unlock()
	if s.note != "" {
		notes = append(notes, s.note)
	}
	if s.result == nil {
		return []kubestatus.Object{}, notes
	}
	for _, p := range kubestatus.Untold(s.set, s.problems) {
		notes = append(notes, oneLine(p.String()))
	}
	notes = append(notes, unplaced(s.result, now.rejections)...)
	facts := runtimeFacts(s.result, s.faults, s.refusals, now.rejections, now.keySets)
	facts = append(facts, bundleFacts(now.bundles)...)
	facts = append(facts, databaseFacts(now.databases)...)
	facts = append(facts, providerFacts(s.result.Providers, s.set.Providers, now.providers)...)
	facts = append(facts, unbound(s.result.Listeners, now.withheld)...)
	facts = append(facts, programmed(s.result.Listeners, facts, now.inForce)...)
	objects = render(s.set, s.problems, s.result, facts, s.generations.numbers)
	kubestatus.Stamp(objects, s.last, time.Now())
	s.last = objects
	return objects, notes
}

// answers are those of the running parts.
type answers struct {
	inForce    bool
	rejections []xds.Rejection
	withheld   map[string]error
	keySets    []jwt.State
	bundles    []bundle.State
	databases  []geo.State
	providers  []discovery.State
}

// maxRounds is how often the running parts are asked anew because the input has changed meanwhile.
const maxRounds = 5

// ask asks the running parts about what was translated last, and returns with s.mu held: what Envoy said of
// one state mustn't be told of the next.
func (s *statuses) ask(ctx context.Context) answers {
	s.mu.Lock()
	for round := 1; ; round++ {
		before := s.result
		s.mu.Unlock()
		now := answers{
			inForce: s.live.inForce(ctx), rejections: s.live.rejections(), withheld: s.live.withheld(),
			keySets: s.live.keySets(), bundles: s.live.bundles(), databases: s.live.databases(), providers: s.live.providers(),
		}
		s.mu.Lock()
		if s.result == before {
			return now
		}
		if ctx.Err() != nil || round == maxRounds { // the input changes faster than Envoy is asked
			now.inForce = false
			return now
		}
	}
}

// NoteHeader carries a note about the whole answer of /api/status; there may be several.
const NoteHeader = "Gatehouse-Note"

// ServeHTTP answers with one JSON list of objects with their statuses.
func (s *statuses) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	objects, notes := s.objects(r.Context())
	for _, note := range notes {
		w.Header().Add(NoteHeader, note)
	}
	text, err := json.MarshalIndent(objects, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}

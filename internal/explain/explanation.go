package explain

import "net/http"

// Explanation is what a gateway does with one request. It holds no credential of the request.
type Explanation struct {
	Request RequestFacts `json:"request"`
	// Listener is nil where no listener takes the connection.
	Listener *Listener `json:"listener,omitempty"`
	// Host is the domain under which the route was looked for.
	Host string `json:"host,omitempty"`
	// Route is nil where none matches.
	Route *Route `json:"route,omitempty"`
	// Policies are those that have the route, its listener or its Gateway as target, in the order of
	// their precedence within each kind.
	Policies []Policy `json:"policies,omitempty"`
	// Processors are servers and scripts of the user's own on the way, in order; they weren't asked.
	Processors []Processor `json:"processors,omitempty"`
	// Filters are Envoy's own filters on the way whose part wasn't played, in order.
	Filters  []string  `json:"filters,omitempty"`
	Backends []Backend `json:"backends,omitempty"`
	Verdict  Verdict   `json:"verdict"`
	Notes    []string  `json:"notes,omitempty"`
	// Upstream is the header that a backend gets of a forwarded request, as far as it doesn't depend on
	// the moment. It may hold credentials and is printed nowhere.
	Upstream http.Header `json:"-"`
}

// RequestFacts are the request as policies see it.
type RequestFacts struct {
	Method    string `json:"method"`
	Scheme    string `json:"scheme"`
	Authority string `json:"authority"`
	Path      string `json:"path"` // normalised, without the query
	Client    string `json:"client,omitempty"`
	// Location is what the databases of a policy that asks where clients are know of it.
	Location string `json:"location,omitempty"`
}

// Listener is a listener of a Gateway or a ListenerSet.
type Listener struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Listener  string `json:"listener"`
	Hostname  string `json:"hostname,omitempty"`
	Address   string `json:"address"`
}

// Route is a rule of a route, and Envoy's form of it.
type Route struct {
	Kind      string `json:"kind,omitempty"` // "" for what no object asked for, such as the answer 421
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	Rule      int    `json:"rule"` // counted from 0
	RuleName  string `json:"ruleName,omitempty"`
	// Preflight says that the route answers CORS preflights for the rule.
	Preflight bool   `json:"preflight,omitempty"`
	Match     string `json:"match"`
	Envoy     string `json:"envoy"` // the name in Envoy's configuration and in the access log
}

// Policy is a policy that has something of the request's way as target.
type Policy struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Target is what it is attached to: "HTTPRoute ns/name#rule".
	Target string `json:"target"`
	// InForce says that the policy applies; of one kind it is the most specific one, and those that it
	// merges with.
	InForce bool `json:"inForce"`
	// Enforces says what a SecurityPolicy that is in force does.
	Enforces []string `json:"enforces,omitempty"`
}

// Processor is a server or script of the user's own.
type Processor struct {
	Name string `json:"name"` // "envoyextensionpolicy/ns/name/extproc/0"
	Type string `json:"type"` // ext_proc, ext_authz, lua, wasm, …
	// FailOpen says that requests pass while it can't be reached.
	FailOpen bool `json:"failOpen,omitempty"`
}

// Backend is where the request may go.
type Backend struct {
	Name      string   `json:"name"`             // "Service ns/name:port", or the cluster's name
	Weight    uint32   `json:"weight,omitempty"` // among several
	Endpoints []string `json:"endpoints,omitempty"`
	// Fault says why it answers by itself.
	Fault string `json:"fault,omitempty"`
}

// The outcomes of a verdict.
const (
	Forwarded = "forwarded" // the backend answers
	Denied    = "denied"    // a policy objects
	Answered  = "answered"  // the gateway answers without a denial: a redirect, a preflight, 404
	Refused   = "refused"   // no listener takes the connection, or HTTP/2's stream is reset
)

// Verdict is how the request ends.
type Verdict struct {
	Outcome string `json:"outcome"`
	// Status is what the client gets; 0 where the backend decides, or nobody answers.
	Status int `json:"status,omitempty"`
	// GRPCStatus is set where a gRPC client gets HTTP 200 with it.
	GRPCStatus *int `json:"grpcStatus,omitempty"`
	// By is who decided: a policy, the route, the connection manager.
	By string `json:"by"`
	// Reason is the engine's, short and constant per cause, or a sentence.
	Reason string `json:"reason"`
	// Rule is the rule of spec.authorization that decided, as policy#rule; "" where none did.
	Rule string `json:"rule,omitempty"`
	// DryRun says that the policy would have denied and doesn't, by its dryRun.
	DryRun bool `json:"dryRun,omitempty"`
	// RequestHeaders are the headers that the policy sets for the backend, RemovedHeaders those that it
	// takes away.
	RequestHeaders map[string]string `json:"requestHeaders,omitempty"`
	RemovedHeaders []string          `json:"removedHeaders,omitempty"`
	// ResponseHeaders are what the gateway itself adds to the answer.
	ResponseHeaders map[string]string `json:"responseHeaders,omitempty"`
	// Location is the target of a redirect, where it can be told.
	Location string `json:"location,omitempty"`
	// Path and Host are what a backend gets instead of the request's, without the query; "": the same.
	Path string `json:"path,omitempty"`
	Host string `json:"host,omitempty"`
}

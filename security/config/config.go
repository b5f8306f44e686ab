// Package config describes security policies as plain data: what a translator writes, a snapshot
// carries and package policy compiles. It knows no Kubernetes type and does no I/O.
//
// A policy's text (these structs) and the data it names (htpasswd files, keys, Rego modules kept in
// ConfigMaps) are apart: the text's hash is the reference by which a route names its policy, so that
// rotating a password changes no route.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Data holds the contents that policies refer to, by the name in [Source.Ref].
type Data map[string][]byte

// Source is a text given inline or by reference. Exactly one field is set.
type Source struct {
	Inline string `json:",omitempty"`
	// Ref names an entry of Data, such as "Secret/team-a/users/.htpasswd". An entry that isn't there
	// makes the policy unusable: its routes answer 503.
	Ref string `json:",omitempty"`
}

// Policy is one security policy, merged and resolved.
type Policy struct {
	// Name is the object's namespace/name: for logs, metrics and the default realm.
	Name string
	// Fault, if not empty, says why the policy could not be understood. Such a policy answers 503 to
	// every request. The text is for operators, never for clients.
	Fault string `json:",omitempty"`
	// Temporary says that the Fault is over, without an edit, once something has been fetched.
	Temporary bool `json:",omitempty"`
	// Mode combines BasicAuth, JWT and APIKey: All (the default, "") or Any.
	Mode Mode `json:",omitempty"`
	// DryRun decides, logs and counts, but never denies; identity headers are stripped all the same.
	DryRun    bool       `json:",omitempty"`
	BasicAuth *BasicAuth `json:",omitempty"`
	JWT       *JWT       `json:",omitempty"`
	APIKey    *APIKey    `json:",omitempty"`
	// Login is a login that the proxy conducts before the policy is asked; nil: none. It is one more
	// method, for Any only.
	Login         *Login         `json:",omitempty"`
	CORS          *CORS          `json:",omitempty"`
	Authorization *Authorization `json:",omitempty"`
	// GeoIP are the databases for the Locations of rules; nil: there are none.
	GeoIP *GeoIP `json:",omitempty"`
	OPA   *OPA   `json:",omitempty"`
	// Strip lists identity headers of the client that are removed before the upstream sees them, beyond
	// those the policy's own methods write.
	Strip []string `json:",omitempty"`
}

// Mode says how several authentication methods combine.
type Mode string

// The modes. The empty Mode is All.
const (
	All Mode = "All"
	Any Mode = "Any"
)

// BasicAuth is RFC 7617 authentication against an htpasswd file.
type BasicAuth struct {
	Users          Source
	Realm          string // default: the policy's Name
	AllowPlaintext bool   `json:",omitempty"`
	// ForwardUsernameHeader, if set, carries the verified user name to the upstream.
	ForwardUsernameHeader string `json:",omitempty"`
}

// JWT is bearer-token authentication (RFC 6750, RFC 7519). One provider's success is enough.
type JWT struct {
	Providers []JWTProvider
	// Optional lets requests without any token pass; a token that is there must be valid.
	Optional bool `json:",omitempty"`
	// FailOpen lets requests pass while a provider's keys can't be had, and for no other reason.
	FailOpen bool `json:",omitempty"`
}

// JWTProvider is one issuer.
type JWTProvider struct {
	Name      string
	Issuer    string   `json:",omitempty"` // exact; "" accepts any
	Audiences []string `json:",omitempty"` // one must match exactly; none accepts any
	// Exactly one of LocalJWKS and RemoteJWKS is set.
	LocalJWKS         *Source     `json:",omitempty"`
	RemoteJWKS        *RemoteJWKS `json:",omitempty"`
	ClockSkew         time.Duration
	RequireExpiration bool            `json:",omitempty"`
	ClaimToHeaders    []ClaimToHeader `json:",omitempty"`
	RecomputeRoute    bool            `json:",omitempty"`
	// ExtractFrom says where tokens are; nil: Authorization Bearer and the query parameter access_token.
	ExtractFrom *ExtractFrom `json:",omitempty"`
}

// RemoteJWKS is a key set fetched ahead of traffic.
type RemoteJWKS struct {
	URI           string
	CACertificate *Source       `json:",omitempty"` // PEM; nil: the system's roots
	CacheDuration time.Duration // default 5 min
	// MaxStale is how long after its last good fetch a key set still serves. Default 24 h.
	MaxStale              time.Duration `json:",omitempty"`
	AllowPrivateAddresses bool          `json:",omitempty"`
}

// ClaimToHeader copies a claim of a verified token to a request header.
type ClaimToHeader struct {
	// Claim is a path: names joined by dots, or `["name with.dots"]`.
	Claim  string
	Header string
	// Format is String (default: scalars only), CSV (arrays of scalars) or JSON (anything).
	Format string `json:",omitempty"`
}

// ExtractFrom lists the places of a token.
type ExtractFrom struct {
	Headers []ExtractHeader `json:",omitempty"`
	Cookies []string        `json:",omitempty"`
	Params  []string        `json:",omitempty"`
}

// ExtractHeader is a header and the prefix before the token, such as "Bearer ".
type ExtractHeader struct {
	Name        string
	ValuePrefix string `json:",omitempty"`
}

// APIKey is authentication by a shared key.
type APIKey struct {
	// Credentials are JSON objects, one for each Secret: client id to the key's bytes in base64.
	Credentials []Source
	// Places of a key; the first that has one counts.
	Places []KeyPlace
	// ForwardClientIDHeader, if set, carries the client's id to the upstream.
	ForwardClientIDHeader string `json:",omitempty"`
	// Sanitize takes keys out of requests before the upstream sees them.
	Sanitize bool `json:",omitempty"`
}

// KeyPlace is one place of a key.
type KeyPlace struct {
	Kind string // Header, Cookie or Param
	Name string
}

// Login tells requests with a session, which need nothing else, from those that the proxy let by for the
// other methods to judge: those with one of these headers.
type Login struct {
	PassedBy []HeaderPrefix
}

// HeaderPrefix is a header whose value begins with Prefix, or that is merely there if Prefix is "".
type HeaderPrefix struct {
	Name   string
	Prefix string `json:",omitempty"`
}

// CORS answers preflights and marks responses (Fetch standard, section 3.3).
type CORS struct {
	// AllowOrigins are exact origins, "*", scheme://*.host[:port], or "~" and an RE2 expression that
	// must match the whole origin.
	AllowOrigins     []string
	AllowMethods     []string `json:",omitempty"`
	AllowHeaders     []string `json:",omitempty"`
	ExposeHeaders    []string `json:",omitempty"`
	MaxAge           *time.Duration
	AllowCredentials bool `json:",omitempty"`
}

// Authorization is an ordered list of rules; the first that matches decides.
type Authorization struct {
	DefaultAllow bool   `json:",omitempty"` // default: deny
	Rules        []Rule `json:",omitempty"`
}

// Rule matches when every condition it has matches.
type Rule struct {
	Name  string
	Allow bool
	// ClientCIDRs: the client's address is in one of them. Empty: any address.
	ClientCIDRs []string `json:",omitempty"`
	// Methods: the request's is one of them, such as "GET". Empty: any method.
	Methods []string `json:",omitempty"`
	// Path of the request, without the query; nil: any path.
	Path *PathMatch `json:",omitempty"`
	// Headers must all match.
	Headers []HeaderMatch `json:",omitempty"`
	// JWT asks for a verified token; nil: none is needed.
	JWT *JWTMatch `json:",omitempty"`
	// Locations: the client's address is at one of them. Empty: anywhere.
	Locations []GeoLocation `json:",omitempty"`
	// CEL is an expression over the attributes of the request; "": none. It must be true.
	CEL string `json:",omitempty"`
}

// PathMatch compares a request's path.
type PathMatch struct {
	// Type is Exact, PathPrefix (whole segments), Suffix, or RegularExpression (RE2, the whole path).
	Type   string
	Value  string
	Invert bool `json:",omitempty"`
}

// HeaderMatch compares a header's values exactly with a list, of which one must be equal.
type HeaderMatch struct {
	Name   string
	Values []string
}

// JWTMatch compares what a provider's verified token says. All claims and all scopes must match.
type JWTMatch struct {
	// Provider is one of the policy's own JWT providers.
	Provider string
	Claims   []ClaimMatch `json:",omitempty"`
	// Scopes are looked for in the claims scope and scp: strings parted by spaces, or arrays.
	Scopes []string `json:",omitempty"`
}

// ClaimMatch compares a claim with a list of values, of which one must be equal.
type ClaimMatch struct {
	// Claim is a path: names joined by dots, or `["name with.dots"]`.
	Claim string
	// Array says that the claim is an array of strings, one of which must be among Values. Else it is a
	// string.
	Array  bool `json:",omitempty"`
	Values []string
}

// OPA evaluates Rego after authentication.
type OPA struct {
	Modules []Module
	// Bundles bring modules and documents beside Modules and Documents. No request is allowed before all of
	// them are there.
	Bundles []Bundle `json:",omitempty"`
	// Data documents, JSON or YAML objects, merged below `data`.
	Documents []Source `json:",omitempty"`
	// Decision is the data path of a boolean or an object. Default envoy/authz/allow.
	Decision string
	// BodyMaxBytes is how much of the body the policy sees; 0: the body is never buffered. A longer
	// body denies.
	BodyMaxBytes int `json:",omitempty"`
	// Timeout of one evaluation; default 100 ms, at most 1.5 s.
	Timeout time.Duration `json:",omitempty"`
	// RegoV0 reads the modules as Rego before version 1.
	RegoV0 bool `json:",omitempty"`
	// DecisionLog, if set, writes a line for each decision.
	DecisionLog *DecisionLog `json:",omitempty"`
}

// Bundle is an archive of Rego modules and data documents in OPA's bundle format, fetched again and again.
type Bundle struct {
	// URL is https, http together with AllowPrivateAddresses, or file:///PATH where the program allows files.
	URL string
	// PollInterval is the time between two looks; at least 1 s. Default 60 s, of a file 1 s.
	PollInterval          time.Duration `json:",omitempty"`
	CACertificate         *Source       `json:",omitempty"` // PEM; nil: the system's roots
	AllowPrivateAddresses bool          `json:",omitempty"`
	// Key that the bundle must be signed with: a public key or certificate in PEM, or an HMAC's secret. nil:
	// the bundle isn't signed.
	Key *Source `json:",omitempty"`
	// Algorithm of the signature, such as RS256. Default: RS256, ES256, ES384, ES512, EdDSA or HS256 by the key.
	Algorithm string `json:",omitempty"`
}

// DecisionLog says where decisions are written.
type DecisionLog struct {
	Sink string `json:",omitempty"` // Stdout (the default) or File
	// Mask lists JSON pointers (RFC 6901) below /input and /result of what is left out. Credentials always are.
	Mask []string `json:",omitempty"`
}

// Module is one Rego module. Its name is for error messages.
type Module struct {
	Name string
	Source
}

// Ref returns the reference by which routes name the policy: a hash of its text, not of the data it
// refers to. It is the same in every process and for every order of construction.
func (p *Policy) Ref() string {
	text, err := json.Marshal(p)
	if err != nil { // no field of Policy can fail to marshal
		panic(err)
	}
	sum := sha256.Sum256(text)
	return p.Name + "@" + hex.EncodeToString(sum[:12])
}

// Sources yields every Source of the policy.
func (p *Policy) Sources(yield func(Source) bool) {
	for _, s := range p.sources() {
		if !yield(s) {
			return
		}
	}
}

func (p *Policy) sources() []Source {
	var all []Source
	if p.BasicAuth != nil {
		all = append(all, p.BasicAuth.Users)
	}
	if p.JWT != nil {
		for _, provider := range p.JWT.Providers {
			if provider.LocalJWKS != nil {
				all = append(all, *provider.LocalJWKS)
			}
			if provider.RemoteJWKS != nil && provider.RemoteJWKS.CACertificate != nil {
				all = append(all, *provider.RemoteJWKS.CACertificate)
			}
		}
	}
	if p.APIKey != nil {
		all = append(all, p.APIKey.Credentials...)
	}
	if p.OPA != nil {
		for _, m := range p.OPA.Modules {
			all = append(all, m.Source)
		}
		all = append(all, p.OPA.Documents...)
		for _, b := range p.OPA.Bundles {
			for _, source := range []*Source{b.CACertificate, b.Key} {
				if source != nil {
					all = append(all, *source)
				}
			}
		}
	}
	return all
}

// Protects reports whether the policy can deny a request: one with nothing but CORS doesn't.
func (p *Policy) Protects() bool {
	return p.Fault != "" || p.BasicAuth != nil || p.JWT != nil || p.APIKey != nil || p.Authorization != nil || p.OPA != nil
}

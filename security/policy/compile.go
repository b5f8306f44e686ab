package policy

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/apikey"
	"github.com/gatehouse-proxy/gatehouse/security/basic"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/cors"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
	"github.com/gatehouse-proxy/gatehouse/security/field"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/security/opa"
	"github.com/gatehouse-proxy/gatehouse/security/rules"
)

// Deps are what a policy needs from its program.
type Deps struct {
	// Data holds what the policy refers to by name.
	Data config.Data
	// JWKS fetches remote key sets for all policies of the process; nil forbids them.
	JWKS *jwt.Fetcher
	// Bundles fetches OPA bundles for all policies of the process; nil forbids them.
	Bundles *bundle.Fetcher
	// Geo keeps the databases in which all policies of the process look addresses up; nil forbids them.
	Geo *geo.Databases
	// Decisions writes the decision logs of the process; nil: none is written.
	Decisions *decisionlog.Log
	// CORSHeaders makes the authorizer put the CORS headers on every answer, denials included. Leave it
	// false where Envoy's cors filter does; only preflights are answered then.
	CORSHeaders bool
	// Metadata is on every verdict that allows, such as a program's proof for its proxy that a request was
	// judged. Nothing else is written under its names. It must not be changed any more.
	Metadata map[string]any
	// Logger gets what a dry run would have denied, and panics. Default [slog.Default].
	Logger *slog.Logger
}

// Policy is a compiled policy. It is immutable and safe for concurrent use. Close it when it is no
// longer in force.
type Policy struct {
	name        string
	log         *slog.Logger
	unusable    string
	dryRun      bool
	any         bool
	cors        *cors.Policy
	corsHeaders bool

	basic          *basic.Users
	basicChallenge string
	usernameHeader string
	jwt            *jwt.Verifier
	optional       bool
	failOpen       bool
	bearerRealm    string
	keys           *apikey.Keys
	clientHeader   string
	sanitize       bool

	login    *config.Login // nil: none
	rules    *rules.Rules
	geo      *geo.Locator // nil: no rule asks where the client is
	opa      *opa.Engine
	identity identityHeaders
	own      map[string]any
	// anonymous allows a request without credentials.
	anonymous *exchange.Prepared
}

// Compile checks and compiles spec. The error names the field and says what to do; it holds no secret.
// A policy that doesn't compile must not be left out: see [Unusable].
func Compile(spec *config.Policy, deps Deps) (*Policy, error) {
	if spec.Fault != "" {
		return nil, errors.New(spec.Fault)
	}
	p := &Policy{
		name: spec.Name, dryRun: spec.DryRun, corsHeaders: deps.CORSHeaders, own: deps.Metadata,
		log: cmp.Or(deps.Logger, slog.Default()).With("policy", spec.Name),
	}
	switch spec.Mode {
	case "", config.All:
	case config.Any:
		p.any = true
	default:
		return nil, fmt.Errorf("authMode: %q is neither All nor Any", spec.Mode)
	}
	if p.login = spec.Login; p.login != nil && (!p.any || len(p.login.PassedBy) == 0 || spec.JWT != nil && (spec.JWT.Optional || spec.JWT.FailOpen)) {
		return nil, errors.New("oidc: is a method beside others only with authMode Any, and if no other lets requests pass without a credential")
	}
	var err error
	if p.bearerRealm, err = quoted(spec.Name); err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	// Rules see the headers that the others write. Close undoes what JWT has registered.
	for _, stage := range []func(*config.Policy, Deps) error{p.compileCORS, p.compileBasic, p.compileAPIKey, p.compileOPA, p.compileJWT, p.compileIdentity, p.compileGeo, p.compileRules} {
		if err := stage(spec, deps); err != nil {
			p.Close()
			return nil, err
		}
	}
	p.anonymous = exchange.Prepare(p.grant(&finding{}))
	return p, nil
}

// Unusable returns a policy that denies every request with 503. The reason is for operators; clients
// never see it.
func Unusable(name, reason string) *Policy {
	return &Policy{name: name, log: slog.Default(), unusable: cmp.Or(reason, "unusable")}
}

// Broken is [Unusable] for a spec that didn't compile. Its cors part, if that is sound, still answers
// preflights and marks the 503s, so that a browser's script sees the fault and not a riddle.
func Broken(spec *config.Policy, deps Deps, reason error) *Policy {
	p := Unusable(spec.Name, reason.Error())
	p.corsHeaders = deps.CORSHeaders
	if spec.CORS != nil {
		if compiled, err := cors.Compile(spec.CORS); err == nil {
			p.cors = compiled
		}
	}
	return p
}

// Name returns the policy's namespace/name.
func (p *Policy) Name() string { return p.name }

// Fault returns the reason given to [Unusable], "" for a policy that compiled.
func (p *Policy) Fault() string { return p.unusable }

// Close ends what runs for the policy in the background: the fetching of its keys and bundles, and the
// looking after its databases. Requests may still be checked.
func (p *Policy) Close() {
	if p.jwt != nil {
		p.jwt.Close()
	}
	if p.opa != nil {
		p.opa.Close()
	}
	if p.geo != nil {
		p.geo.Close()
	}
}

func (p *Policy) compileCORS(spec *config.Policy, _ Deps) (err error) {
	if spec.CORS != nil {
		p.cors, err = cors.Compile(spec.CORS)
	}
	return err
}

func (p *Policy) compileBasic(spec *config.Policy, deps Deps) error {
	b := spec.BasicAuth
	if b == nil {
		return nil
	}
	file, err := deps.Data.Resolve(b.Users)
	if err != nil {
		return fmt.Errorf("basicAuth.users: %w", err)
	}
	if p.basic, err = basic.Shared(file, basic.Options{AllowPlaintext: b.AllowPlaintext}); err != nil {
		return fmt.Errorf("basicAuth.users: %w", err)
	}
	realm, err := quoted(cmp.Or(b.Realm, spec.Name))
	if err != nil {
		return fmt.Errorf("basicAuth.realm: %w", err)
	}
	p.basicChallenge = "Basic realm=" + realm + `, charset="UTF-8"`
	if b.ForwardUsernameHeader != "" {
		if err := field.CheckName(b.ForwardUsernameHeader); err != nil {
			return fmt.Errorf("basicAuth.forwardUsernameHeader: %w", err)
		}
		p.usernameHeader = strings.ToLower(b.ForwardUsernameHeader)
	}
	return nil
}

func (p *Policy) compileAPIKey(spec *config.Policy, deps Deps) (err error) {
	k := spec.APIKey
	if k == nil {
		return nil
	}
	if p.keys, err = apikey.Compile(k, deps.Data); err != nil {
		return fmt.Errorf("apiKeyAuth.%w", err)
	}
	p.sanitize = k.Sanitize
	if k.ForwardClientIDHeader != "" {
		if err := field.CheckName(k.ForwardClientIDHeader); err != nil {
			return fmt.Errorf("apiKeyAuth.forwardClientIDHeader: %w", err)
		}
		p.clientHeader = strings.ToLower(k.ForwardClientIDHeader)
	}
	return nil
}

func (p *Policy) compileJWT(spec *config.Policy, deps Deps) (err error) {
	j := spec.JWT
	if j == nil {
		return nil
	}
	p.optional, p.failOpen = j.Optional, j.FailOpen
	p.jwt, err = jwt.Compile(j, deps.Data, deps.JWKS)
	return err
}

func (p *Policy) compileRules(spec *config.Policy, _ Deps) (err error) {
	if spec.Authorization == nil {
		return nil
	}
	options := rules.Options{Owned: p.identity.has, Locator: p.geo}
	if spec.JWT != nil {
		for i := range spec.JWT.Providers {
			options.Providers = append(options.Providers, spec.JWT.Providers[i].Name)
		}
	}
	p.rules, err = rules.Compile(spec.Authorization, options)
	return err
}

func (p *Policy) compileOPA(spec *config.Policy, deps Deps) (err error) {
	if spec.OPA != nil {
		p.opa, err = opa.Compile(spec.OPA, opa.Deps{
			Policy: spec.Name, Data: deps.Data, Bundles: deps.Bundles, Decisions: deps.Decisions, Credentials: credentials(spec),
		})
	}
	return err
}

// credentials are the places where the policy looks for tokens and keys, for logs to leave out.
func credentials(spec *config.Policy) (c decisionlog.Credentials) {
	if spec.JWT != nil {
		for i := range spec.JWT.Providers {
			from := jwt.Places(spec.JWT.Providers[i].ExtractFrom)
			c.Params = append(c.Params, from.Params...)
			for _, h := range from.Headers {
				c.Headers = append(c.Headers, h.Name)
			}
		}
	}
	if spec.APIKey != nil {
		for _, place := range spec.APIKey.Places {
			switch place.Kind {
			case "Header":
				c.Headers = append(c.Headers, place.Name)
			case "Param":
				c.Params = append(c.Params, place.Name)
			}
		}
	}
	return c
}

func (p *Policy) compileIdentity(spec *config.Policy, _ Deps) error {
	names := append([]string(nil), spec.Strip...)
	if p.usernameHeader != "" {
		names = append(names, p.usernameHeader)
	}
	if p.clientHeader != "" {
		names = append(names, p.clientHeader)
	}
	if p.jwt != nil {
		names = append(names, p.jwt.HeaderNames()...)
	}
	for _, name := range spec.Strip {
		if err := field.CheckName(name); err != nil {
			return fmt.Errorf("strip: %w", err)
		}
	}
	p.identity = newIdentityHeaders(names)
	return nil
}

// quoted writes a quoted-string (RFC 9110 section 5.6.4).
func quoted(text string) (string, error) {
	for i := range len(text) {
		if text[i] < 0x20 || text[i] == 0x7f {
			return "", errors.New("must not hold control characters")
		}
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`, nil
}

package rego

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// Defaults and limits of a policy.
const (
	DefaultDecision = "envoy/authz/allow"
	DefaultTimeout  = 100 * time.Millisecond
	// MaxTimeout is below the proxy's own timeout, so that the answer is still the policy's.
	MaxTimeout = 1500 * time.Millisecond
	maxSources = 100
	maxSource  = 4 << 20
	maxBody    = 1 << 20
)

// Policy is a compiled set of modules. It is immutable and safe for concurrent use.
type Policy struct {
	compiler *ast.Compiler
	query    ast.Body
	direct   *direct // nil: only the whole query answers
	store    storage.Store
	txn      storage.Transaction
	reads    *reads
	// readsPath and readsBody guard the checks that only such policies need.
	readsPath, readsBody bool
	timeout              time.Duration
	bodyMax              int
	// frequent is nil where requests share no attributes.
	frequent *frequent
	// cache is nil where decisions can't be remembered.
	cache       *cache
	keyParts    []keyPart
	readsClaims bool
}

// decisionVar is bound to the decision.
const decisionVar = ast.Var("decision")

// Compile parses and compiles spec together with the contents of its bundles. The error names module and
// line, and what isn't allowed.
func Compile(spec *config.OPA, data config.Data, bundles ...*Bundle) (*Policy, error) {
	p := &Policy{timeout: spec.Timeout, bodyMax: spec.BodyMaxBytes}
	switch {
	case p.timeout == 0:
		p.timeout = DefaultTimeout
	case p.timeout < 0 || p.timeout > MaxTimeout:
		return nil, fmt.Errorf("opa.timeout: %s is not within 0 and %s", spec.Timeout, MaxTimeout)
	}
	if spec.BodyMaxBytes < 0 || spec.BodyMaxBytes > maxBody {
		return nil, fmt.Errorf("opa.body.maxBytes: %d is not within 0 and %d", spec.BodyMaxBytes, maxBody)
	}
	documents, err := loadDocuments(spec.Documents, data)
	if err != nil {
		return nil, err
	}
	modules, err := loadModules(spec, data)
	if err != nil {
		return nil, err
	}
	if len(modules)+len(bundles) == 0 {
		return nil, errors.New("opa.modules: at least one module or bundle is needed")
	}
	if err := addBundles(bundles, modules, documents); err != nil {
		return nil, err
	}
	if err := p.compile(modules, documents); err != nil {
		return nil, err
	}
	if err := p.prepare(spec.Decision, documents); err != nil {
		return nil, err
	}
	if err := p.checkReads(); err != nil {
		return nil, err
	}
	if parts, ok := keyPartsOf(p.reads); ok && repeatable(p.compiler) {
		p.cache, p.keyParts, p.readsClaims = newCache(), parts, slices.Contains(parts, keyPart{kind: keyClaims})
	}
	return p, nil
}

// loadModules gives modules of one name different keys: they come from several ConfigMaps.
func loadModules(spec *config.OPA, data config.Data) (map[string]*ast.Module, error) {
	if len(spec.Modules)+len(spec.Documents) > maxSources {
		return nil, fmt.Errorf("opa.modules: at most %d modules and documents are supported", maxSources)
	}
	options := ast.ParserOptions{RegoVersion: Version(spec), Capabilities: capabilities()}
	modules := map[string]*ast.Module{}
	for i, m := range spec.Modules {
		name := m.Name
		if name == "" {
			name = fmt.Sprintf("module %d", i)
		}
		text, err := data.Resolve(m.Source)
		if err != nil {
			return nil, fmt.Errorf("opa.modules[%d]: %w", i, err)
		}
		if len(text) > maxSource {
			return nil, fmt.Errorf("opa.modules[%d]: larger than %d bytes", i, maxSource)
		}
		if _, taken := modules[name]; taken {
			name = fmt.Sprintf("%s (%d)", name, i)
		}
		module, err := ast.ParseModuleWithOpts(name, string(text), options)
		if err != nil {
			return nil, fmt.Errorf("opa.modules[%d]: %s", i, explain(err))
		}
		modules[name] = module
	}
	return modules, nil
}

// explain names module, line and fault. OPA's own text also quotes the line, and a module may come from a
// Secret.
func explain(err error) string {
	all, ok := errors.AsType[ast.Errors](err)
	if !ok || len(all) == 0 {
		return "it can't be read"
	}
	lines := make([]string, 0, len(all))
	for _, e := range all {
		at := ""
		if e.Location != nil {
			at = fmt.Sprintf("%s:%d: ", e.Location.File, e.Location.Row)
		}
		lines = append(lines, fmt.Sprintf("%s%s: %s", at, e.Code, e.Message))
	}
	return strings.Join(lines, "; ")
}

// loadDocuments merges in order; the order can't matter, because a conflict is an error.
func loadDocuments(sources []config.Source, data config.Data) (map[string]any, error) {
	merged := map[string]any{}
	for i, source := range sources {
		text, err := data.Resolve(source)
		if err != nil {
			return nil, fmt.Errorf("opa.documents[%d]: %w", i, err)
		}
		var document map[string]any
		// The parser's error may quote the text, and data may be a Secret's.
		if len(text) > maxSource || util.Unmarshal(text, &document) != nil {
			return nil, fmt.Errorf("opa.documents[%d]: no JSON or YAML object of at most %d bytes", i, maxSource)
		}
		if at := merge(merged, document); at != "" {
			return nil, fmt.Errorf("opa.documents[%d]: %s is in an earlier document too", i, at)
		}
	}
	return merged, nil
}

// merge adds src to dst. Two documents may share objects, not values. src isn't changed, now or by a later
// merge: it may be another policy's too.
func merge(dst, src map[string]any) (conflict string) {
	for name, value := range src {
		old, found := dst[name]
		if !found {
			dst[name] = value
			continue
		}
		a, okA := old.(map[string]any)
		b, okB := value.(map[string]any)
		if !okA || !okB {
			return name
		}
		joined := maps.Clone(a)
		if at := merge(joined, b); at != "" {
			return name + "." + at
		}
		dst[name] = joined
	}
	return ""
}

func (p *Policy) compile(modules map[string]*ast.Module, documents map[string]any) error {
	// Parsed documents as they are: to read them as values at every request would cost each time.
	p.store = inmem.NewFromObjectWithOpts(documents, inmem.OptReturnASTValuesOnRead(true))
	ctx := context.Background()
	var err error
	// The transaction lives as long as the policy: nobody writes to its store.
	if p.txn, err = p.store.NewTransaction(ctx); err != nil {
		return fmt.Errorf("opa: %w", err)
	}
	p.compiler = ast.NewCompiler().WithCapabilities(capabilities()).WithEnablePrintStatements(false).
		WithStageAfterID(ast.StageCheckRecursion, growthStage()).
		WithPathConflictsCheck(storage.NonEmpty(ctx, p.store, p.txn))
	if p.compiler.Compile(modules); p.compiler.Failed() {
		return fmt.Errorf("opa.modules: %s", explain(p.compiler.Errors))
	}
	p.reads = readsOf(p.compiler)
	p.frequent = newFrequent(p.reads)
	return nil
}

// prepare builds the query. Its path comes from configuration only, never from a request.
func (p *Policy) prepare(path string, documents map[string]any) error {
	if path == "" {
		path = DefaultDecision
	}
	ref := ast.Ref{ast.DefaultRootDocument}
	names := strings.Split(strings.Trim(path, "/"), "/")
	var document any = documents
	for _, name := range names {
		if name == "" {
			return fmt.Errorf("opa.decision: %q has an empty name; write it like %s", path, DefaultDecision)
		}
		ref = append(ref, ast.StringTerm(name))
		object, _ := document.(map[string]any)
		document = object[name]
	}
	if document == nil && len(p.compiler.GetRules(ref)) == 0 {
		return fmt.Errorf("opa.decision: no module defines %s; the default is %s", ref, DefaultDecision)
	}
	body := ast.NewBody(ast.Equality.Expr(ast.NewTerm(decisionVar), ast.NewTerm(ref)))
	query, err := p.compiler.QueryCompiler().Compile(body)
	if err != nil {
		return fmt.Errorf("opa.decision: %w", err)
	}
	p.query, p.direct = query, directOf(p.compiler, ref, document != nil)
	return nil
}

var errNoBody = errors.New("opa: the modules read the body; set opa.body.maxBytes, or no request would ever have one")

// checkReads refuses modules that read a body which is never there: `not input.parsed_body.admin` would
// be true for everybody.
func (p *Policy) checkReads() error {
	http := []string{"attributes", "request", "http"}
	p.readsPath = p.reads.part("parsed_path") != nil || p.reads.path(append(http, "path")...) != nil ||
		p.reads.path(append(http, "headers", ":path")...) != nil
	p.readsBody = p.reads.part("parsed_body") != nil || p.reads.path(append(http, "body")...) != nil
	if p.bodyMax == 0 {
		if p.reads.mentions("parsed_body") || p.reads.mentions(append(http, "body")...) {
			return errNoBody
		}
		p.readsBody = false
	}
	return nil
}

// ReadsBody reports whether requests must come with their body, and how much of it, in bytes.
func (p *Policy) ReadsBody() (maxBytes int, reads bool) { return p.bodyMax, p.readsBody }

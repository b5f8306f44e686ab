package routing

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// subject is a request as the conditions of a route see it.
type subject struct {
	path   string // without query
	query  map[string]string
	header func(name string) []string // one for each line
}

// conditions reports whether all conditions of a route hold.
type conditions []func(*subject) bool

func (all conditions) hold(s *subject) bool {
	for _, holds := range all {
		if !holds(s) {
			return false
		}
	}
	return true
}

// compile compiles a RouteMatch. What it doesn't know is an error: to pass it by would predict another
// route than Envoy's.
func compile(m *route.RouteMatch) (conditions, error) {
	if len(m.GetCookies()) > 0 || m.GetTlsContext() != nil || len(m.GetDynamicMetadata()) > 0 || len(m.GetFilterState()) > 0 || m.GetRuntimeFraction() != nil {
		return nil, errors.New("its match can't be told from the request alone")
	}
	path, err := compilePath(m)
	if err != nil {
		return nil, err
	}
	all := conditions{path}
	if m.GetGrpc() != nil {
		all = append(all, isGRPC)
	}
	for _, h := range m.GetHeaders() {
		condition, err := compileHeader(h)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", h.GetName(), err)
		}
		all = append(all, condition)
	}
	for _, q := range m.GetQueryParameters() {
		condition, err := compileQuery(q)
		if err != nil {
			return nil, fmt.Errorf("query parameter %s: %w", q.GetName(), err)
		}
		all = append(all, condition)
	}
	return all, nil
}

// isGRPC is Envoy's own reading of a gRPC request (Grpc::Common::isGrpcRequestHeaders).
func isGRPC(s *subject) bool {
	return slices.ContainsFunc(s.header("content-type"), func(kind string) bool {
		return kind == "application/grpc" || strings.HasPrefix(kind, "application/grpc+")
	})
}

func compilePath(m *route.RouteMatch) (func(*subject) bool, error) {
	fold := m.GetCaseSensitive() != nil && !m.GetCaseSensitive().GetValue()
	value := func(text string) string {
		if fold {
			return strings.ToLower(text)
		}
		return text
	}
	switch p := m.GetPathSpecifier().(type) {
	case *route.RouteMatch_Prefix:
		return func(s *subject) bool { return strings.HasPrefix(value(s.path), value(p.Prefix)) }, nil
	case *route.RouteMatch_Path:
		return func(s *subject) bool { return value(s.path) == value(p.Path) }, nil
	case *route.RouteMatch_PathSeparatedPrefix:
		return func(s *subject) bool {
			rest, ok := strings.CutPrefix(value(s.path), value(p.PathSeparatedPrefix))
			return ok && (rest == "" || rest[0] == '/')
		}, nil
	case *route.RouteMatch_SafeRegex:
		expression, err := whole(p.SafeRegex.GetRegex())
		if err != nil {
			return nil, err
		}
		return func(s *subject) bool { return expression.MatchString(s.path) }, nil
	}
	return nil, fmt.Errorf("path match %T isn't known", m.GetPathSpecifier())
}

// whole compiles an expression that must match the whole text, as Envoy's do.
func whole(expression string) (*regexp.Regexp, error) {
	return regexp.Compile(`^(?:` + expression + `)$`)
}

// compileHeader tests each line of a repeated header by itself; one that passes is enough.
func compileHeader(h *route.HeaderMatcher) (func(*subject) bool, error) {
	test, err := headerTest(h)
	if err != nil {
		return nil, err
	}
	name, invert := h.GetName(), h.GetInvertMatch()
	if p, ok := h.GetHeaderMatchSpecifier().(*route.HeaderMatcher_PresentMatch); ok {
		return func(s *subject) bool {
			return (len(s.header(name)) > 0 == p.PresentMatch) != invert
		}, nil
	}
	empty := h.GetTreatMissingHeaderAsEmpty()
	return func(s *subject) bool {
		values := s.header(name)
		if len(values) == 0 && empty {
			values = []string{""}
		}
		return len(values) > 0 && slices.ContainsFunc(values, test) != invert
	}, nil
}

func headerTest(h *route.HeaderMatcher) (func(string) bool, error) {
	switch m := h.GetHeaderMatchSpecifier().(type) {
	case *route.HeaderMatcher_StringMatch:
		return compileText(m.StringMatch)
	case *route.HeaderMatcher_RangeMatch:
		return func(value string) bool {
			n, err := strconv.ParseInt(value, 10, 64)
			return err == nil && n >= m.RangeMatch.GetStart() && n < m.RangeMatch.GetEnd()
		}, nil
	case *route.HeaderMatcher_PresentMatch:
		return nil, nil
	}
	return nil, fmt.Errorf("match %T isn't known", h.GetHeaderMatchSpecifier())
}

func compileQuery(q *route.QueryParameterMatcher) (func(*subject) bool, error) {
	name := q.GetName()
	switch m := q.GetQueryParameterMatchSpecifier().(type) {
	case *route.QueryParameterMatcher_PresentMatch:
		return func(s *subject) bool {
			_, present := s.query[name]
			return present == m.PresentMatch
		}, nil
	case *route.QueryParameterMatcher_StringMatch:
		test, err := compileText(m.StringMatch)
		return func(s *subject) bool {
			value, present := s.query[name]
			return present && test(value)
		}, err
	}
	return nil, fmt.Errorf("match %T isn't known", q.GetQueryParameterMatchSpecifier())
}

func compileText(m *matcher.StringMatcher) (func(string) bool, error) {
	fold := m.GetIgnoreCase()
	value := func(text string) string {
		if fold {
			return strings.ToLower(text)
		}
		return text
	}
	switch p := m.GetMatchPattern().(type) {
	case *matcher.StringMatcher_Exact:
		return func(text string) bool { return value(text) == value(p.Exact) }, nil
	case *matcher.StringMatcher_Prefix:
		return func(text string) bool { return strings.HasPrefix(value(text), value(p.Prefix)) }, nil
	case *matcher.StringMatcher_Suffix:
		return func(text string) bool { return strings.HasSuffix(value(text), value(p.Suffix)) }, nil
	case *matcher.StringMatcher_Contains:
		return func(text string) bool { return strings.Contains(value(text), value(p.Contains)) }, nil
	case *matcher.StringMatcher_SafeRegex:
		expression, err := whole(p.SafeRegex.GetRegex())
		if err != nil {
			return nil, err
		}
		return expression.MatchString, nil
	}
	return nil, fmt.Errorf("match %T isn't known", m.GetMatchPattern())
}

// TextMatches reports whether one of Envoy's string matchers takes a text. An unknown matcher takes none.
func TextMatches(m *matcher.StringMatcher, text string) bool {
	test, err := compileText(m)
	return err == nil && test(text)
}

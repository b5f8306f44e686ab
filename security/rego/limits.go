package rego

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// The limits of one value that a builtin makes (S41, S43). The deadline can't stop a builtin at work, and
// a dozen doublings of a string fill the memory before it is looked at again.
const (
	maxString   = 1 << 20
	maxElements = 100_000
	maxFormat   = 4 << 10
	maxShift    = 4 << 10
	maxPattern  = 8 << 10
	maxGraphQL  = 64 << 10
	// maxProduct is for estimates made before any work, which assume the worst.
	maxProduct = 16 << 20
)

// growing are the builtins whose result can be larger than all of their operands together.
var growing = []string{
	"array.concat", "array.flatten", "base64.encode", "bits.lsh", "concat", "hex.encode", "json.marshal", "json.marshal_with_options", "json.patch",
	"numbers.range", "numbers.range_step", "object.union", "object.union_n", "regex.replace", "regex.split", "replace", "split", "sprintf",
	"internal.template_string", "strings.replace_n", "strings.split_n", "urlquery.encode", "urlquery.encode_object", "yaml.marshal",
}

// parsing are the builtins that compile or parse an operand, given by its place, at a cost per byte that
// no deadline ends: a megabyte of `{a{a…` took OPA's GraphQL parser to a gigabyte of stack, and a
// stack that overflows ends the process.
var parsing = map[string]struct{ operand, limit int }{
	"glob.match": {0, maxPattern}, "re_match": {0, maxPattern}, "regex.find_all_string_submatch_n": {0, maxPattern}, "regex.find_n": {0, maxPattern},
	"regex.globs_match": {0, maxPattern}, "regex.is_valid": {0, maxPattern}, "regex.match": {0, maxPattern}, "regex.replace": {1, maxPattern},
	"regex.split": {0, maxPattern}, "regex.template_match": {0, maxPattern},
	"graphql.is_valid": {0, maxGraphQL}, "graphql.parse": {0, maxGraphQL}, "graphql.parse_and_verify": {0, maxGraphQL},
	"graphql.parse_query": {0, maxGraphQL}, "graphql.parse_schema": {0, maxGraphQL}, "graphql.schema_is_valid": {0, maxGraphQL},
}

// init wraps these builtins for the whole process: OPA keeps one table of them and prefers it to
// whatever a compiler or query is given.
func init() { //nolint:gochecknoinits // OPA has one table of builtins, and it must be changed before any use
	names := slices.AppendSeq(slices.Clone(growing), maps.Keys(parsing))
	names = append(slices.AppendSeq(names, maps.Keys(comparing)), reachablePaths)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		original := topdown.GetBuiltin(name)
		if original == nil {
			continue
		}
		topdown.RegisterBuiltinFunc(name, func(ctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
			if limit, found := parsing[name]; found && len(text(operands, limit.operand)) > limit.limit || multiplies(name, operands) || endless(name, operands) {
				return tooLarge(ctx, name)
			}
			return original(ctx, operands, func(result *ast.Term) error {
				if large(result) {
					return tooLarge(ctx, name)
				}
				return iter(result)
			})
		})
	}
}

func tooLarge(ctx topdown.BuiltinContext, name string) error {
	return topdown.Halt{Err: &topdown.Error{Code: topdown.BuiltinErr, Location: ctx.Location, Message: name + ": the result or the work is too large"}}
}

// large looks at the top only: what is inside was made by builtins that were looked at before.
func large(result *ast.Term) bool {
	if result == nil {
		return false
	}
	switch value := result.Value.(type) {
	case ast.String:
		return len(value) > maxString
	case *ast.Array:
		return value.Len() > maxElements
	case ast.Object:
		return value.Len() > maxElements
	}
	return false
}

// multiplies bounds, before any work, the results that grow with the product of their operands.
func multiplies(name string, operands []*ast.Term) bool {
	switch name {
	case "replace":
		return replaced(text(operands, 0), text(operands, 1), text(operands, 2))
	case "regex.replace":
		return replaced(text(operands, 0), "", text(operands, 2))
	case "concat":
		return count(operands, 1)*len(text(operands, 0)) > maxProduct
	case "sprintf":
		return formatted(text(operands, 0), operands)
	case "strings.replace_n":
		return replacedAll(text(operands, 1), operands)
	case "numbers.range", "numbers.range_step":
		return wide(operands)
	case "bits.lsh":
		return far(operands)
	}
	return false
}

func text(operands []*ast.Term, i int) string {
	if i >= len(operands) {
		return ""
	}
	value, _ := operands[i].Value.(ast.String)
	return string(value)
}

func count(operands []*ast.Term, i int) int {
	if i >= len(operands) {
		return 0
	}
	if value, ok := operands[i].Value.(interface{ Len() int }); ok {
		return value.Len()
	}
	return 0
}

// replaced assumes that a pattern matches at every place, which is the worst it can do.
func replaced(subject, old, with string) bool {
	places := utf8.RuneCountInString(subject) + 1
	if old != "" {
		places = strings.Count(subject, old)
	}
	return len(subject)+places*len(with) > maxProduct
}

func replacedAll(subject string, operands []*ast.Term) bool {
	patterns, ok := operands[0].Value.(ast.Object)
	if !ok {
		return false
	}
	longest := 0
	patterns.Foreach(func(_, with *ast.Term) { longest = max(longest, len(text([]*ast.Term{with}, 0))) })
	return len(subject)+(len(subject)+1)*longest > maxProduct
}

// padded is a directive that asks for four digits of padding or more.
var padded = regexp.MustCompile(`%[^a-zA-Z%]*[0-9]{4}|%[^a-zA-Z%]*\*`)

// formatted assumes that every directive prints the longest argument.
func formatted(format string, operands []*ast.Term) bool {
	if len(format) > maxFormat || padded.MatchString(format) {
		return true
	}
	longest := 0
	if len(operands) > 1 {
		if arguments, ok := operands[1].Value.(*ast.Array); ok {
			arguments.Foreach(func(argument *ast.Term) { longest = max(longest, argument.StringLength()) })
		}
	}
	return strings.Count(format, "%")*longest > maxProduct
}

func wide(operands []*ast.Term) bool {
	if len(operands) < 2 {
		return false
	}
	from, okFrom := operands[0].Value.(ast.Number)
	to, okTo := operands[1].Value.(ast.Number)
	if !okFrom || !okTo {
		return false
	}
	low, okLow := from.Float64()
	high, okHigh := to.Float64()
	return !okLow || !okHigh || max(low, high)-min(low, high) > maxElements
}

// far is a shift whose result would be a number of thousands of digits, up to gigabytes of them.
func far(operands []*ast.Term) bool {
	if len(operands) < 2 {
		return false
	}
	by, ok := operands[1].Value.(ast.Number)
	if !ok {
		return false
	}
	places, exact := by.Int()
	return !exact || places > maxShift
}

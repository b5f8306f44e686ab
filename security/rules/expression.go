package rules

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// Limits of expressions (S43). The cost is cel-go's, about one unit a step; the time is all that the
// expressions of one request may take together, for a machine that is too busy to count steps.
const (
	maxExpression      = 4096 // Envoy Gateway's limit, in bytes
	maxExpressionCost  = 20_000
	maxExpressionTime  = 250 * time.Millisecond
	maxReadings        = 64
	interruptFrequency = 64 // iterations of a comprehension between two looks at the clock
)

// expression is a CEL condition. Immutable, safe for concurrent use.
type expression struct{ program cel.Program }

// attributes are what an expression may name: Envoy's attributes that are known while a request is
// decided, and what authentication found out.
var attributes = map[string]*cel.Type{
	"request.path": cel.StringType, "request.url_path": cel.StringType, "request.query": cel.StringType,
	"request.host": cel.StringType, "request.scheme": cel.StringType, "request.method": cel.StringType,
	"request.headers": cel.MapType(cel.StringType, cel.StringType),
	"request.referer": cel.StringType, "request.useragent": cel.StringType,
	"request.time": cel.TimestampType, "request.id": cel.StringType, "request.protocol": cel.StringType, "request.size": cel.IntType,
	"source.address": cel.StringType, "source.port": cel.IntType,
	"destination.address": cel.StringType, "destination.port": cel.IntType,
	"connection.mtls": cel.BoolType, "connection.requested_server_name": cel.StringType,
	"identity.method": cel.StringType, "identity.username": cel.StringType, "identity.client_id": cel.StringType,
	"identity.provider": cel.StringType, "identity.claims": cel.MapType(cel.StringType, cel.DynType),
	"metadata.filter_metadata": cel.MapType(cel.StringType, cel.DynType),
}

// environment is shared by all expressions: making one is dear.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	options := make([]cel.EnvOption, 0, len(attributes)+5)
	options = append(options,
		ext.Strings(), cel.CustomTypeAdapter(adapter{types.DefaultTypeAdapter}), cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(64),
	)
	for name, kind := range attributes {
		options = append(options, cel.Variable(name, kind))
	}
	return cel.NewEnv(options...)
})

func (c *compiler) expression(spec *config.Rule) ([]condition, error) {
	if spec.CEL == "" {
		return nil, nil
	}
	program, err := compileExpression(spec.CEL)
	if err != nil {
		return nil, fmt.Errorf("cel: %w", err)
	}
	return []condition{&expression{program}}, nil
}

func compileExpression(text string) (cel.Program, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("longer than %d bytes", maxExpression)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("%d:%d: %s", first.Location.Line(), first.Location.Column()+1, first.Message)
	}
	if kind := ast.OutputType(); kind != cel.BoolType && kind != cel.DynType {
		return nil, fmt.Errorf("is a %s; write a condition that is true or false", kind)
	}
	if err := checkBounds(ast.NativeRep()); err != nil {
		return nil, err
	}
	return env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxExpressionCost), cel.InterruptCheckFrequency(interruptFrequency))
}

// judge evaluates the expression for every reading of the request. A result that isn't a boolean, an
// error, a limit that is reached and a request with too many readings are all no answer (S39). CEL
// itself sees to it that an unknown part only counts where it makes a difference: `true || error` is true.
func (x *expression) judge(e *evaluation, allow bool) answer {
	view := attributeView{evaluation: e, allow: allow}
	worst := x.evaluate(e.ctx, &view)
	for evaluations := 1; view.advance(); evaluations++ {
		if allow && worst == no || !allow && worst == yes {
			return worst
		}
		found := unknown
		if evaluations < maxReadings {
			found = x.evaluate(e.ctx, &view)
		}
		if allow {
			worst = min(worst, found)
		} else {
			worst = max(worst, found)
		}
		if evaluations >= maxReadings {
			break
		}
	}
	return worst
}

func (x *expression) evaluate(ctx context.Context, view *attributeView) answer {
	if ctx.Err() != nil {
		return unknown
	}
	value, _, err := x.program.ContextEval(ctx, view)
	if matches, ok := value.(types.Bool); ok && err == nil {
		return answerOf(bool(matches))
	}
	return unknown
}

package rego

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/strictjson"
)

// maxBodyDepth bounds the nesting of a JSON body.
const maxBodyDepth = 64

func sizeNumber(size int64) json.Number { return json.Number(strconv.FormatInt(size, 10)) }

// body adds parsed_body and truncated_body. The latter is always false: a policy that reads a body never
// sees part of one (S46).
func (b *builder) body(o *object) {
	o.put("truncated_body", func(*reads) *ast.Term { return ast.InternedTerm(false) })
	if !b.policy.readsBody {
		return
	}
	raw, err := b.bytes()
	if err != nil {
		b.fail(err)
		return
	}
	o.put("parsed_body", func(*reads) *ast.Term { return b.parsed(raw) })
}

// bodyText refuses bytes that aren't UTF-8: Rego's strings can't hold them, and a replaced byte could make a
// rule match what the upstream doesn't get.
func (b *builder) bodyText(*reads) *ast.Term {
	raw, err := b.bytes()
	if err == nil && (!validText(string(raw)) || len(raw) > 0 && b.encoded()) {
		err = ErrAmbiguous
	}
	if err != nil {
		return b.fail(err)
	}
	return ast.StringTerm(string(raw))
}

// bytes returns the whole body. A proxy that was told to send bodies sends nothing when there is none,
// which looks like one that wasn't told. Where the request may have a body, the doubt denies.
func (b *builder) bytes() ([]byte, error) {
	raw, err := b.r.Body.Bytes(b.policy.bodyMax)
	switch {
	case err == nil:
		return raw, nil
	case errors.Is(err, exchange.ErrTooLarge):
		return nil, ErrBodyTooLarge
	}
	head := b.r.Head()
	bodyless := head.Method == http.MethodGet || head.Method == http.MethodHead
	if head.Size == 0 || head.Size < 0 && bodyless && !b.r.Header.Has("transfer-encoding") {
		return nil, nil
	}
	return nil, ErrBodyMissing
}

// parsed reads JSON and forms, as opa-envoy-plugin does; other types have no parsed_body. A body that
// isn't what its type says, or is in another encoding than the upstream is told, is refused.
func (b *builder) parsed(raw []byte) *ast.Term {
	if len(raw) == 0 {
		return nil
	}
	text, lines := b.r.Header.Lookup("content-type")
	if lines > 1 {
		return b.fail(ErrAmbiguous)
	}
	kind, options, err := mime.ParseMediaType(text)
	if err != nil && text != "" {
		return b.fail(ErrAmbiguous)
	}
	isJSON := kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
	isForm := kind == "application/x-www-form-urlencoded"
	if charset := options["charset"]; (isJSON || isForm) && (b.encoded() || charset != "" && !strings.EqualFold(strings.Replace(charset, "-", "", 1), "utf8")) {
		return b.fail(ErrAmbiguous)
	}
	switch {
	case isJSON:
		decoded, err := strictjson.Decode(raw, maxBodyDepth)
		if err != nil {
			return b.fail(ErrAmbiguous)
		}
		return b.value(decoded)
	case isForm:
		value, err := parameters(string(raw))
		if err != nil {
			return b.fail(ErrAmbiguous)
		}
		return ast.NewTerm(value)
	}
	return nil
}

// encoded reports whether the upstream may see another text than these bytes: it decodes what is said to be
// compressed, and compressed bytes can be made to look like JSON or a form.
func (b *builder) encoded() bool {
	coding, lines := b.r.Header.Lookup("content-encoding")
	return lines > 1 || lines == 1 && !strings.EqualFold(strings.Trim(coding, " \t"), "identity")
}

func (b *builder) value(decoded any) *ast.Term {
	value, err := ast.InterfaceToValue(decoded)
	if err != nil {
		return b.fail(ErrAmbiguous)
	}
	return ast.NewTerm(value)
}

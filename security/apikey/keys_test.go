package apikey_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/apikey"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

var everywhere = []config.KeyPlace{
	{Kind: "Header", Name: "X-Api-Key"}, {Kind: "Header", Name: "Authorization"}, {Kind: "Param", Name: "key"}, {Kind: "Cookie", Name: "key"},
}

// secrets are JSON objects of client id and base64; "a2V5LWE=" is key-a, "a2V5LWI=" is key-b.
func secrets(texts ...string) *config.APIKey {
	spec := &config.APIKey{Places: everywhere}
	for _, text := range texts {
		spec.Credentials = append(spec.Credentials, config.Source{Inline: text})
	}
	return spec
}

func request(path string, lines ...string) *exchange.Request {
	fields := make([]exchange.Field, 0, len(lines)/2)
	for i := 0; i+1 < len(lines); i += 2 {
		fields = append(fields, exchange.Field{Name: lines[i], Value: lines[i+1]})
	}
	return exchange.NewRequest(exchange.Head{Method: "GET", Path: path}, exchange.Conn{}, exchange.NewHeader(fields...), exchange.Body{}, nil)
}

func compile(t testing.TB) *apikey.Keys {
	t.Helper()
	keys, err := apikey.Compile(secrets(`{"a":"a2V5LWE="}`, `{"b":"a2V5LWI="}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestKeysTellClients(t *testing.T) {
	t.Parallel()
	keys := compile(t)
	for name, c := range map[string]struct {
		path   string
		lines  []string
		client string
		err    error
	}{
		"none":                        {"/", nil, "", apikey.ErrMissing},
		"header":                      {"/", []string{"x-api-key", "key-a"}, "a", nil},
		"another Secret's":            {"/", []string{"x-api-key", "key-b"}, "b", nil},
		"bearer":                      {"/", []string{"authorization", "bEARER  key-a"}, "a", nil},
		"plain authorization":         {"/", []string{"authorization", "key-a"}, "a", nil},
		"another scheme":              {"/", []string{"authorization", "Basic key-a"}, "", apikey.ErrInvalid},
		"parameter":                   {"/?x=1&key=key%2Da", nil, "a", nil},
		"cookie":                      {"/", []string{"cookie", `x=1; key="key-a"`}, "a", nil},
		"unknown":                     {"/", []string{"x-api-key", "key-c"}, "", apikey.ErrInvalid},
		"part of one":                 {"/", []string{"x-api-key", "key-"}, "", apikey.ErrInvalid},
		"more than one":               {"/", []string{"x-api-key", "key-a "}, "", apikey.ErrInvalid},
		"case counts":                 {"/", []string{"x-api-key", "KEY-A"}, "", apikey.ErrInvalid},
		"empty":                       {"/", []string{"x-api-key", ""}, "", apikey.ErrMissing},
		"empty, another place":        {"/?key=key-a", []string{"x-api-key", ""}, "a", nil},
		"the first place counts":      {"/?key=key-b", []string{"x-api-key", "key-a"}, "a", nil},
		"wrong in the first place":    {"/?key=key-b", []string{"x-api-key", "x"}, "", apikey.ErrInvalid},
		"S12 joined":                  {"/", []string{"x-api-key", "key-a,key-a"}, "", apikey.ErrInvalid},
		"S13 two lines":               {"/", []string{"x-api-key", "key-a", "X-API-KEY", "key-a"}, "", apikey.ErrInvalid},
		"S13 two cookies":             {"/", []string{"cookie", "key=key-a", "cookie", "key=key-b"}, "", apikey.ErrInvalid},
		"S13 two parameters":          {"/?key=key-a&k%65y=key-b", nil, "", apikey.ErrInvalid},
		"S6 a parameter in the path":  {"/key=key-a", nil, "", apikey.ErrMissing},
		"S43 very long":               {"/", []string{"x-api-key", strings.Repeat("k", 10000)}, "", apikey.ErrInvalid},
		"escape that is none":         {"/?key=%zz", nil, "", apikey.ErrInvalid},
		"longer than the usual":       {"/", []string{"x-api-key", strings.Repeat("k", 3000)}, "", apikey.ErrInvalid},
		"S16 another header spelling": {"/", []string{"x_api_key", "key-a"}, "", apikey.ErrMissing},
	} {
		client, err := keys.Client(request(c.path, c.lines...))
		if client != c.client || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", name, client, err)
		}
	}
}

func TestSanitizedRequestsHoldNoKey(t *testing.T) {
	t.Parallel()
	keys := compile(t)
	for name, c := range map[string]struct {
		path        string
		lines       []string
		set, remove string
	}{
		"nothing there":        {"/a?b=c", []string{"cookie", "a=b"}, "", ""},
		"no query":             {"/key", nil, "", ""},
		"headers":              {"/", []string{"X-API-Key", "x", "Authorization", "y"}, "", "x-api-key authorization"},
		"cookie":               {"/", []string{"cookie", "a=1; key=x;b=2", "cookie", "key=y; c=3"}, "cookie=a=1; b=2; c=3", ""},
		"only cookie":          {"/", []string{"cookie", "key=x; "}, "", "cookie"},
		"parameter first":      {"/p?key=x&a=1", nil, ":path=/p?a=1", ""},
		"parameter between":    {"/p?a=1&key=x&b=%20;c", nil, ":path=/p?a=1&b=%20;c", ""},
		"parameter last":       {"/p?a=1;key=x", nil, ":path=/p?a=1", ""},
		"several, escaped":     {"/p?k%65y=x&key&a?b&key=", nil, ":path=/p?a?b", ""},
		"only parameter":       {"/p?key=x", nil, ":path=/p", ""},
		"a name that has it":   {"/p?keys=x&mykey=y", nil, "", ""},
		"all places":           {"/?key=x", []string{"x-api-key", "x", "cookie", "key=x; a=1"}, "cookie=a=1 :path=/", "x-api-key"},
		"everything else kept": {"/p?&&a=1&key=x&", nil, ":path=/p?&&a=1", ""},
	} {
		set, remove := keys.Sanitize(request(c.path, c.lines...))
		var fields []string
		for _, f := range set {
			fields = append(fields, f.Name+"="+f.Value)
		}
		if got := strings.Join(fields, " "); got != c.set || strings.Join(remove, " ") != c.remove {
			t.Errorf("%s: set %q, remove %q", name, got, remove)
		}
	}
}

func TestKeysThatCantBeUsedDontCompile(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]*config.APIKey{
		"no Secret": secrets(), "empty Secret": secrets(`{}`), "empty key": secrets(`{"a":""}`), "not JSON": secrets(`a: secret`),
		"client in two Secrets":      secrets(`{"a":"a2V5LWE="}`, `{"a":"a2V5LWI="}`),
		"the same Secret twice":      secrets(`{"a":"a2V5LWE="}`, `{"a":"a2V5LWE="}`),
		"two clients, one key":       secrets(`{"a":"a2V5LWE=","b":"a2V5LWE="}`),
		"one key in two Secrets":     secrets(`{"a":"a2V5LWE="}`, `{"b":"a2V5LWE="}`),
		"line break at the end":      secrets(`{"a":"a2V5LWEK"}`),
		"space before":               secrets(`{"a":"IGtleS1h"}`),
		"S18 client id":              secrets(`{"a\r\nb":"a2V5LWE="}`),
		"too long":                   secrets(`{"a":"` + strings.Repeat("QUFB", 2000) + `"}`),
		"a Secret that isn't there":  {Places: everywhere, Credentials: []config.Source{{Ref: "Secret/a/b/*"}}},
		"no place":                   {Credentials: secrets(`{"a":"a2V5LWE="}`).Credentials},
		"S43 too many places":        {Places: slices.Repeat(everywhere, 100), Credentials: secrets(`{"a":"a2V5LWE="}`).Credentials},
		"place of another kind":      {Places: []config.KeyPlace{{Kind: "Body", Name: "a"}}, Credentials: secrets(`{"a":"a2V5LWE="}`).Credentials},
		"place without a name":       {Places: []config.KeyPlace{{Kind: "Cookie"}}, Credentials: secrets(`{"a":"a2V5LWE="}`).Credentials},
		"a header that routes":       {Places: []config.KeyPlace{{Kind: "Header", Name: "Host"}}, Credentials: secrets(`{"a":"a2V5LWE="}`).Credentials},
		"a pseudo-header as a place": {Places: []config.KeyPlace{{Kind: "Header", Name: ":path"}}, Credentials: secrets(`{"a":"a2V5LWE="}`).Credentials},
	} {
		_, err := apikey.Compile(spec, nil)
		if err == nil {
			t.Errorf("%s: compiles", name)
		} else if strings.Contains(err.Error(), "key-a") || strings.Contains(err.Error(), "a2V5") {
			t.Errorf("S47: %s: the error tells the key: %v", name, err)
		}
	}
}

func BenchmarkClient(b *testing.B) {
	keys, r := compile(b), request("/", "x-api-key", "key-b")
	b.ReportAllocs()
	for b.Loop() {
		if client, err := keys.Client(r); client != "b" || err != nil {
			b.Fatal(client, err)
		}
	}
}

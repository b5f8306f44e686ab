package jwt

import (
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

func TestS30TokensOfOneHashAreKeptApart(t *testing.T) {
	t.Parallel()
	keys := &config.Source{Inline: `{"keys":[` + rfc8037 + `]}`}
	spec := config.JWT{Providers: []config.JWTProvider{{Name: "first", LocalJWKS: keys}, {Name: "second", LocalJWKS: keys}}}
	v, err := Compile(&spec, config.Data{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	now := time.Unix(1_700_000_000, 0)
	first := v.providers[0]
	token := new(Token)
	v.remember(7, "text", entry{provider: first, keys: first.keys.current(now), token: token})
	for name, c := range map[string]struct {
		hash      uint64
		text      string
		providers uint32
		want      *Token
	}{
		"the same":              {7, "text", 1, token},
		"either provider":       {7, "text", 3, token},
		"where no other looks":  {7, "text", 2, nil},
		"another text":          {7, "test", 1, nil},
		"a longer text":         {7, "text.", 1, nil},
		"no text":               {7, "", 1, nil},
		"another text's hash":   {8, "text", 1, nil},
		"another set's hash":    {7 + 16, "text", 1, nil},
		"the hash's other half": {7 << 32, "text", 1, nil},
	} {
		if got := v.remembered(c.hash, c.text, c.providers, now); got != c.want {
			t.Errorf("%s: remembered %v", name, got != nil)
		}
	}
}

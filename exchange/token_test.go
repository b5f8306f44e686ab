package exchange_test

import (
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

func TestTokensAreNamesOfHeaders(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"x-user": true, "X-1": true, "!#$%&'*+-.^_`|~": true,
		"": false, ":path": false, "x user": false, "x\r": false, "x:": false, "ü": false, "x\x00": false, "a,b": false, "a/b": false,
	} {
		if got := exchange.IsToken(s); got != want {
			t.Errorf("%q: %t", s, got)
		}
	}
}

package field_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/field"
)

func TestS18HeaderNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"x-user", "X_User", "Authorization", "x.y!#$%&'*+^`|~0"} {
		if err := field.CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", ":path", "x y", "x\r\ny", "x:", "ü", "Host", "CONTENT-LENGTH", "Transfer-Encoding", "connection", "x-gatehouse-client-ip", "X-Gatehouse-Recompute"} {
		if field.CheckName(name) == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

func TestS18HeaderValues(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"": true, "a b\tc": true, "grüß": true, strings.Repeat("a", 8<<10): true,
		"a\r\nb": false, "a\nb": false, "a\rb": false, "\x00": false, "\x7f": false, "\xff": false, strings.Repeat("a", 8<<10+1): false,
	} {
		if field.ValidValue(value) != want {
			t.Errorf("%.20q: %v", value, !want)
		}
	}
}

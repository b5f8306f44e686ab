package mask_test

import (
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/mask"
)

// TestNoCredentialOfAQueryIsKept, nor one before a host, however malformed the rest is.
func TestNoCredentialOfAQueryIsKept(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                    "",
		"/a/b":                                "/a/b",
		"/a?":                                 "/a?",
		"/a?x=1&y=2":                          "/a?x=REDACTED&y=REDACTED",
		"/a?x=1=2":                            "/a?x=REDACTED",
		"/a?secret":                           "/a?REDACTED",
		"/a?c2VjcmV0cw==":                     "/a?REDACTED",
		"/a?x=1&&c2VjcmV0":                    "/a?x=REDACTED&&REDACTED",
		"/a#secret":                           "/a",
		"/a?x=1#secret":                       "/a?x=REDACTED",
		"https://idp.example/a?code=secret":   "https://idp.example/a?code=REDACTED",
		"https://u:secret@h.example/a":        "https://REDACTED@h.example/a",
		"https://u:secret@h.example":          "https://REDACTED@h.example",
		"https://u:sec%ret@h.example/a?x=1":   "https://REDACTED@h.example/a?x=REDACTED",
		"https://u:sec ret@x@h.example/%zz":   "https://REDACTED@h.example/%zz",
		"//u:secret@h.example/a":              "//REDACTED@h.example/a",
		"https://h.example/mail/a@b.example":  "https://h.example/mail/a@b.example",
		"https://h.example?to=u@h.example&x=": "https://h.example?to=REDACTED&REDACTED",
	} {
		if got := mask.Query(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

package console_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-proxy/gatehouse/internal/console"
	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
)

const hostile = `<script>alert(1)</script>`

func show(t *testing.T, explained func(*explain.Request) (*explain.Explanation, error), form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	c := &console.Console{
		Objects: func(context.Context) ([]kubestatus.Object, []string) {
			return []kubestatus.Object{{
				Kind: "Gateway", Metadata: kubestatus.Metadata{Namespace: "demo", Name: "gw"},
				Status: kubestatus.Status{Conditions: []metav1.Condition{
					{Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Accepted", Message: "accepted"},
					{Type: "Programmed", Status: metav1.ConditionFalse, Reason: "Invalid", Message: hostile},
					{Type: "ResolvedRefs", Status: metav1.ConditionUnknown, Reason: "Pending", Message: "not known yet"},
				}},
			}}, []string{"a note " + hostile}
		},
		Explain: func(_ context.Context, r *explain.Request) (*explain.Explanation, error) { return explained(r) },
	}
	request := httptest.NewRequest(http.MethodGet, "/console/", nil)
	if form != nil {
		request = httptest.NewRequest(http.MethodPost, "/console/", strings.NewReader(form.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, request)
	return w
}

// TestThePageShowsWhatIsWrong, and nothing in it can act: it has no script, and the browser is told to run none.
func TestThePageShowsWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := show(t, nil, nil)
	body := w.Body.String()
	for _, want := range []string{"1 of 3 conditions", "<td>demo/gw</td>", "a note &lt;script&gt;", `<tr class="bad"><td>Gateway</td><td>demo/gw</td><td>Programmed</td><td>False</td>`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
	if policy := w.Header().Get("Content-Security-Policy"); w.Code != http.StatusOK || strings.Contains(body, "<script") || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("%d, policy %q", w.Code, policy)
	}
}

func TestAQuestionIsAnswered(t *testing.T) {
	t.Parallel()
	var asked explain.Request
	w := show(t, func(r *explain.Request) (*explain.Explanation, error) {
		asked = *r
		return &explain.Explanation{Verdict: explain.Verdict{Outcome: explain.Denied, Status: 401, By: "SecurityPolicy demo/shop", Reason: hostile}}, nil
	}, url.Values{
		"method": {"POST"}, "url": {" http://alice:secret@h:8080/x?token=secret "}, "headers": {"authorization: Bearer secret\r\n\r\nx-a: b\r\n"}, "from": {"192.0.2.7"}, "body": {"{}"}, "http2": {"on"},
	})
	body := w.Body.String()
	if asked.URL != "http://alice:secret@h:8080/x?token=secret" || len(asked.Headers) != 2 || asked.Headers[1] != "x-a: b" || string(asked.Body) != "{}" || !asked.HTTP2 || asked.From != "192.0.2.7" {
		t.Errorf("asked %+v", asked)
	}
	if !strings.Contains(body, "denied with 401 by SecurityPolicy demo/shop: &lt;script&gt;") || !strings.Contains(body, `value="POST"`) {
		t.Errorf("no verdict in\n%s", body)
	}
	if strings.Contains(body, "secret") {
		t.Errorf("a credential in\n%s", body)
	}
	for text, err := range map[string]error{"unusable request": explain.ErrRequest, "can&#39;t be explained: gone": errors.New("gone")} {
		got := show(t, func(*explain.Request) (*explain.Explanation, error) { return nil, err }, url.Values{"url": {"x"}}).Body.String()
		if !strings.Contains(got, text) {
			t.Errorf("no %q in\n%s", text, got)
		}
	}
}

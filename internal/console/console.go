// Package console is the web page of a running gateway: the statuses of its objects, and what becomes of a request.
// It is HTML without scripts, so that nothing that a manifest says can act in an operator's browser.
package console

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// Console answers GET with the page, and POST with the page and the answer to its question. Safe for concurrent use.
type Console struct {
	// Objects returns the statuses of all objects, and notes about what belongs to none.
	Objects func(ctx context.Context) (objects []kubestatus.Object, notes []string)
	// Explain says what becomes of a request.
	Explain func(ctx context.Context, r *explain.Request) (*explain.Explanation, error)
}

//go:embed page.html
var source string

var page = template.Must(template.New("page").Parse(source))

const style = `body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5em; color: #222; background: #fff }
table { border-collapse: collapse } th, td { text-align: left; vertical-align: top; padding: .2em .8em .2em 0; border-bottom: 1px solid #ddd }
pre { background: #f4f4f4; padding: 1em; white-space: pre-wrap } .bad { color: #a00000; font-weight: 600 }`

// policy lets the browser load nothing and post to this origin alone.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// row is one condition.
type row struct {
	Kind, Name, Type, Status, Reason, Message string
	Bad                                       bool
}

type view struct {
	Style   template.CSS
	Request explain.Request // without credentials: they aren't shown again
	Answer  string
	Notes   []string
	Rows    []row
	Wrong   int
}

// maxForm bounds a question, in bytes.
const maxForm = 1 << 20

// ServeHTTP implements [http.Handler].
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := view{Style: style, Request: explain.Request{Method: http.MethodGet}}
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "the form can't be read: "+err.Error(), http.StatusBadRequest)
			return
		}
		v.Answer = c.ask(r, &v.Request)
	}
	objects, notes := c.Objects(r.Context())
	v.Notes = notes
	v.rows(objects)
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, &v) // a client that is gone needs no page
}

// ask explains the form's request, and leaves in shown what may be shown again.
func (c *Console) ask(r *http.Request, shown *explain.Request) string {
	question := explain.Request{
		Method: r.PostFormValue("method"), URL: strings.TrimSpace(r.PostFormValue("url")), From: strings.TrimSpace(r.PostFormValue("from")),
		Body: []byte(r.PostFormValue("body")), HTTP2: r.PostFormValue("http2") != "",
	}
	for line := range strings.Lines(r.PostFormValue("headers")) {
		if line = strings.TrimSpace(line); line != "" {
			question.Headers = append(question.Headers, line)
		}
	}
	*shown = explain.Request{Method: question.Method, From: question.From, HTTP2: question.HTTP2}
	if before, _, _ := strings.Cut(question.URL, "?"); !strings.Contains(before, "@") {
		shown.URL = before
	}
	answer, err := c.Explain(r.Context(), &question)
	if err != nil {
		if errors.Is(err, explain.ErrRequest) {
			return err.Error()
		}
		return "can't be explained: " + err.Error()
	}
	var text strings.Builder
	_ = answer.Text(&text) // a Builder takes everything
	return text.String()
}

func (v *view) rows(objects []kubestatus.Object) {
	for i := range objects {
		o := &objects[i]
		name := o.Metadata.Name
		if o.Metadata.Namespace != "" {
			name = o.Metadata.Namespace + "/" + name
		}
		o.Status.Each(func(relative string, conditions []metav1.Condition) {
			for _, c := range conditions {
				known := c.Status != metav1.ConditionUnknown
				one := row{
					Kind: o.Kind, Name: name, Type: c.Type, Status: string(c.Status), Reason: c.Reason, Message: c.Message,
					Bad: known && status.Condition{Type: c.Type, True: c.Status == metav1.ConditionTrue}.Fault(),
				}
				if relative != "" {
					one.Type += "[" + relative + "]"
				}
				if one.Bad {
					v.Wrong++
				}
				v.Rows = append(v.Rows, one)
			}
		})
	}
}

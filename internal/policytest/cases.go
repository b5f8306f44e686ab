package policytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
)

// Case is one request and what must become of it.
type Case struct {
	Name    string  `json:"name"`
	Request Request `json:"request"`
	Expect  Expect  `json:"expect"`
	// File is where the case stands.
	File string `json:"-"`
}

// Request is a request of a case.
type Request struct {
	Method string `json:"method"` // default GET
	URL    string `json:"url"`
	// Headers by name, each a text or a list of texts.
	Headers map[string]Texts `json:"headers"`
	From    string           `json:"from"` // the client's address; default 127.0.0.1
	Body    string           `json:"body"`
	HTTP2   bool             `json:"http2"` // by HTTP/2, as gRPC is; default HTTP/1.1
}

// Expect is what must become of a request. What isn't set isn't compared.
type Expect struct {
	// Verdict is allow (the backend gets it), deny, or answer: the gateway answers by itself, with a
	// redirect, a preflight's answer or 404.
	Verdict string `json:"verdict"`
	// Status is what the client gets; of an allowed request it is the backend's.
	Status int `json:"status"`
	// GRPCStatus is what a gRPC client gets, whose status is 200: 16 unauthenticated, 7 denied, 14 unavailable. Of
	// an allowed request it is the backend's.
	GRPCStatus *int `json:"grpcStatus"`
	// Reason is the policy engine's, Policy the SecurityPolicy in force and Route the route, both
	// NAMESPACE/NAME. A real Envoy doesn't tell them, so they are compared in process only.
	Reason string `json:"reason"`
	Policy string `json:"policy"`
	Route  string `json:"route"`
	// RequestHeaders are what the backend gets, ResponseHeaders what the client gets; null: not there.
	RequestHeaders  map[string]*string `json:"requestHeaders"`
	ResponseHeaders map[string]*string `json:"responseHeaders"`
}

// Verdicts of a case.
const (
	Allow  = "allow"
	Deny   = "deny"
	Answer = "answer"
)

// Texts is a text or a list of texts.
type Texts []string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Texts) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*t = Texts{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(text, &many); err != nil {
		return errors.New("a header is a text or a list of texts")
	}
	*t = many
	return nil
}

// Load reads cases: YAML files with a list "cases", JSON files with recorded CheckRequests, and
// directories of both. The error names the file and what is wrong in it.
func Load(paths []string) ([]Case, error) {
	var all []Case
	for _, path := range paths {
		files, err := filesOf(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			read := parse
			if filepath.Ext(file) == ".json" {
				read = recorded
			}
			cases, err := read(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			for i := range cases {
				cases[i].File = file
			}
			all = append(all, cases...)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no cases in %s", strings.Join(paths, ", "))
	}
	return all, nil
}

// extensions are those of manifests and cases.
var extensions = []string{".yaml", ".yml", ".json"}

func filesOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	var files []string
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		if slices.Contains(extensions, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files, err
}

func parse(text []byte) ([]Case, error) {
	var file struct {
		Cases []Case `json:"cases"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, err
	}
	for i := range file.Cases {
		c := &file.Cases[i]
		if c.Name == "" {
			c.Name = c.request().Method + " " + publicURL(c.Request.URL)
		}
		if c.Request.URL == "" {
			return nil, fmt.Errorf("cases[%d] (%s): request.url is missing", i, c.Name)
		}
		if v := c.Expect.Verdict; !slices.Contains([]string{"", Allow, Deny, Answer}, v) {
			return nil, fmt.Errorf("cases[%d] (%s): expect.verdict %q is unknown; write allow, deny or answer", i, c.Name, v)
		}
	}
	return file.Cases, nil
}

// publicURL leaves out where credentials may stand: names are printed.
func publicURL(url string) string {
	url, _, _ = strings.Cut(url, "?")
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	authority, path, _ := strings.Cut(rest, "/")
	return scheme + "://" + authority[strings.LastIndexByte(authority, '@')+1:] + "/" + path
}

// request is the form that the engine takes.
func (c *Case) request() *explain.Request {
	out := &explain.Request{Method: c.Request.Method, URL: c.Request.URL, From: c.Request.From, Body: []byte(c.Request.Body), HTTP2: c.Request.HTTP2}
	if out.Method == "" {
		out.Method = http.MethodGet
	}
	names := make([]string, 0, len(c.Request.Headers))
	for name := range c.Request.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range c.Request.Headers[name] {
			out.Headers = append(out.Headers, name+": "+value)
		}
	}
	return out
}

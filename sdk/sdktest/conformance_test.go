package sdktest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

var update = flag.Bool("update", false, "write docs/conformance instead of comparing with it")

// TestMain has more cases at a time than there are processors: most of them wait for Envoy.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// conform is one row of the table: the same exchange behind the emulator and behind Envoy.
type conform struct {
	group, name string
	processor   any
	filter      sdktest.Filter
	request     sdktest.Request
	// racy says why what passes on the stream depends on timing; then it isn't compared.
	racy string
}

// row is a line of the report.
type row struct {
	Group    string `json:"group"`
	Case     string `json:"case"`
	Emulator string `json:"emulator"`
	Envoy    string `json:"envoy,omitempty"` // nothing if it is the same
	Note     string `json:"note,omitempty"`
}

type report struct {
	Envoy string `json:"envoy"`
	Rows  []row  `json:"rows"`
}

// loose has the stream not compared, and says why.
func (c conform) loose(why string) conform { c.racy = why; return c }

func conformanceCases() []conform {
	var all []conform
	for _, cases := range [][]conform{modeCases(), answerCases(), mutationCases(), overrideCases(), replyCases(), failureCases(), verbCases(), trapCases(), http1Cases(), upgradeCases(), retryCases(), largeCases(), callCases(), coldCases(), chainCases(), codecCases(), routeCases(), metadataCases(), attributeCases(), bodyCases(), replyVerbCases()} {
		all = append(all, cases...)
	}
	return all
}

// TestConformance holds the emulator against Envoy, and both against what is committed.
func TestConformance(t *testing.T) { //nolint:tparallel // the table is looked at when all cases are done
	t.Parallel()
	cases := conformanceCases()
	envoy := sdktest.Envoy(t)
	apart := sync.OnceValue(func() *sdktest.RealEnvoy { return sdktest.Envoy(t) })
	committed := committedRows(t)
	out := report{Envoy: envoy.Version(t), Rows: make([]row, len(cases))}
	var mu sync.Mutex
	names := map[string]bool{}
	t.Run("cases", func(t *testing.T) {
		for i, c := range cases {
			if id := c.group + "/" + c.name; names[id] {
				t.Errorf("two cases %s", id)
			} else {
				names[id] = true
			}
			if testing.Short() && i%8 != 0 {
				continue // a sample
			}
			t.Run(c.group+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				one := envoy
				if c.group == largeBodies {
					one = apart()
				}
				line := c.run(t, one, committed[c.group+"/"+c.name])
				mu.Lock()
				defer mu.Unlock()
				out.Rows[i] = line
			})
		}
	})
	if only := flag.Lookup("test.run").Value.String(); strings.Contains(only, "/") || testing.Short() {
		return // a part of the table
	}
	out.check(t)
}

// committedRows are the outcomes that docs/conformance has, by group and case; none if they are written anew.
func committedRows(t *testing.T) map[string]string {
	t.Helper()
	rows := map[string]string{}
	if *update {
		return rows
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "conformance", "extproc.json"))
	if err != nil {
		t.Fatal(err)
	}
	var was report
	if err := json.Unmarshal(text, &was); err != nil {
		t.Fatal(err)
	}
	for _, r := range was.Rows {
		rows[r.Group+"/"+r.Case] = r.Emulator
	}
	return rows
}

func (c conform) run(t *testing.T, envoy *sdktest.RealEnvoy, committed string) row {
	t.Helper()
	line := row{Group: c.group, Case: c.name, Note: c.racy}
	emulated, actual := c.meet(t, envoy, committed)
	line.Emulator, line.Envoy = emulated.Summary(), actual.Summary()
	if c.group == whatProcessorsDo && actual.Client.End != sdktest.Complete {
		t.Errorf("a processor of the SDK leaves its client with a response that is %s", actual.Client.End)
	}
	for _, difference := range sdktest.Diff(emulated, actual) {
		t.Errorf("emulator, and Envoy: %s", difference)
	}
	if t.Failed() {
		t.Logf("emulator: %s\n  %s\nEnvoy: %s\n  %s", line.Emulator, strings.Join(emulated.Stream, " "), line.Envoy, strings.Join(actual.Stream, " "))
	}
	return line
}

// meet runs the exchange on both sides. Where messages cross each other either side has one of several outcomes, and
// on a busy machine not always the same: a difference, from each other or from what is committed, is one that stays
// when the exchange is run again.
func (c conform) meet(t *testing.T, envoy *sdktest.RealEnvoy, committed string) (emulated, actual *sdktest.Result) {
	t.Helper()
	const tries = 5
	for range tries {
		emulated = c.settle(sdktest.Run(t, c.processor, c.filter, c.request))
		actual = c.settle(envoy.Run(t, c.processor, c.filter, c.request))
		if len(sdktest.Diff(emulated, actual)) == 0 && (committed == "" || emulated.Summary() == committed) {
			break
		}
	}
	return emulated, actual
}

// settle takes out of a result what depends on timing, if that of c does.
func (c conform) settle(r *sdktest.Result) *sdktest.Result {
	if c.racy == "" {
		return r
	}
	r.Forget()
	delete(r.Client.Header, "Connection") // whether the request had ended when its answer went out
	counters := []map[string]uint64{r.Counters}
	if r.Inner != nil {
		counters = append(counters, r.Inner.Counters)
	}
	for _, c := range counters {
		delete(c, "stream_msgs_sent")
		delete(c, "stream_msgs_received")
	}
	if r.Upstream != nil && r.Upstream.End == sdktest.Reset {
		r.Upstream.Body = "" // how much had gone on when it broke off
	}
	if c.request.Pace == sdktest.Together && strings.HasPrefix(r.Details, "spurious_message") {
		r.Upstream = nil // whether anything had
	}
	return r
}

// check compares the report with what is committed, or writes it.
func (r report) check(t *testing.T) {
	t.Helper()
	dir := filepath.Join("..", "..", "docs", "conformance")
	for name, want := range map[string]string{"extproc.json": r.json(t), "extproc.md": r.markdown()} {
		path := filepath.Join(dir, name)
		if *update {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s isn't what the run gives (make conformance-extproc writes it):\n%s", path, firstDifference(string(got), want))
		}
	}
}

// json has a line for each row.
func (r report) json(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	fmt.Fprintf(&out, "{\n\"envoy\": %q,\n\"rows\": [", r.Envoy)
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	for i, line := range r.Rows {
		if line.Envoy == line.Emulator {
			line.Envoy = ""
		}
		out.WriteString([]string{"\n", ","}[min(i, 1)])
		if err := encoder.Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	out.WriteString("]\n}\n")
	return out.String()
}

// absent are behaviours about which these exchanges can't say anything.
var absent = []struct{ what, why string }{
	{"http_service", "Envoy posts JSON to a server of another protocol: a gRPC processor never sees it"},
	{"on_processing_response", "Envoy writes the answers to its filter state, once they are applied: no message and no outcome depends on it"},
	{"emit_client_span", "a span goes from Envoy to its tracer; what the processor sees, the trace context, is there with and without"},
	{"network_ext_proc", "a filter of connections, with a service of its own"},
	{"a filter in the upstream's chain (#41231)", "a processor meets it as it does the others; that its immediate answers reach the client is tested behind Envoy alone, by sdk.TestRepliesFromTheUpstreamsChainArrive"},
	{"a second end of stream from Envoy (#46237) and a lost one (#46355)", "release 1.40 sends one; what a processor's second one does is EndTwiceFDS"},
	{"drain messages and windows of the new flow control", "release 1.40 doesn't send them; what it makes of a processor's is under \"What nothing asked for\""},
}

func firstDifference(committed, run string) string {
	a, b := strings.Split(committed, "\n"), strings.Split(run, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\ncommitted: %s\nrun:       %s", i+1, a[i], b[i])
		}
	}
	return "one is longer"
}

func (r report) markdown() string {
	var out strings.Builder
	equal := 0
	for _, line := range r.Rows {
		if line.Emulator == line.Envoy {
			equal++
		}
	}
	fmt.Fprintf(&out, "# ext_proc: the emulator and Envoy\n\nPackage `sdk/sdktest` runs these exchanges behind its emulation of the filter and behind Envoy %s, over the real gRPC\n"+
		"protocol, and compares all that upstream, client and processor saw, the response's details, the dynamic metadata and the\n"+
		"filter's counters. %d of %d rows are equal; a difference fails the test. `make conformance-extproc` writes this file\n"+
		"and `extproc.json`. Where a note in brackets says that timing decides,\n"+
		"the order and number of messages and the size of what broke off aren't compared.\n\n`→` is what reached the upstream, `←` what the client got, `{}` the response's details.\n", r.Envoy, equal, len(r.Rows))
	escape := strings.NewReplacer("|", `\|`, "<", "&lt;")
	groups := []string{}
	for _, line := range r.Rows {
		if !slices.Contains(groups, line.Group) {
			groups = append(groups, line.Group)
		}
	}
	for _, group := range groups {
		fmt.Fprintf(&out, "\n## %s\n\n| case | emulator | Envoy |\n|---|---|---|\n", group)
		for _, line := range r.Rows {
			if line.Group != group {
				continue
			}
			actual := "the same"
			if line.Envoy != line.Emulator {
				actual = line.Envoy
			}
			if line.Note != "" {
				actual += " (" + line.Note + ")"
			}
			fmt.Fprintf(&out, "| %s | %s | %s |\n", line.Case, escape.Replace(line.Emulator), escape.Replace(actual))
		}
	}
	out.WriteString(factsMarkdown())
	out.WriteString("\n## What isn't here, and why\n\n| what | why |\n|---|---|\n")
	for _, a := range absent {
		fmt.Fprintf(&out, "| %s | %s |\n", a.what, a.why)
	}
	return out.String()
}

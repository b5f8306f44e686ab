package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

var adminAddress = regexp.MustCompile(`admin pages: (http://\S+)`)

// explained asks the running gateway about a trial instead of sending it, and returns what is wrong with
// its answer.
func explained(t *testing.T, printed []string, trial trial, token string) string {
	t.Helper()
	admin := adminAddress.FindStringSubmatch(strings.Join(printed, "\n"))
	if admin == nil {
		t.Fatal("no admin address is printed")
	}
	url := trial.url
	if trial.user != "" {
		url = strings.Replace(url, "://", "://"+trial.user+"@", 1)
	}
	headers := make([]string, len(trial.headers))
	for i, h := range trial.headers {
		headers[i] = strings.ReplaceAll(h, "${TOKEN}", token)
	}
	question, err := json.Marshal(map[string]any{"method": cmp.Or(trial.method, http.MethodGet), "url": url, "headers": headers})
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(admin[1]+"/api/explain", "application/json", bytes.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		Processors []any
		Verdict    struct {
			Outcome string
			Status  int
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	want, _, _ := strings.Cut(trial.want, " with ")
	got := fmt.Sprint(answer.Verdict.Status)
	if answer.Verdict.Outcome == "forwarded" {
		got = "200"
	}
	if got != want && len(answer.Processors) == 0 { // a processor isn't asked
		return fmt.Sprintf("explain says %+v, wanted %s", answer.Verdict, want)
	}
	return ""
}

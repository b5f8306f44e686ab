package files_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestWatchMissesNothingThatMoves: a file that is moved while the folders are read is in one of them.
func TestWatchMissesNothingThatMoves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 50 { // so that reading takes a while
		write(t, fmt.Sprintf("%s/m/%d.yaml", dir, i), "# nothing")
	}
	write(t, dir+"/a/policy.yaml", service("policy"))
	write(t, dir+"/z/other.yaml", service("other"))
	updates := watch(t, open(t, dir))
	places := []string{"/z/policy.yaml", "/a/renamed.yaml", "/z/zz.yaml", "/a/policy.yaml"}
	from := "/a/policy.yaml"
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		for _, to := range places {
			rename(t, dir+from, dir+to)
			from = to
		}
	}
	write(t, dir+"/z/last.yaml", service("last"))
	for _, services := range awaitAll(t, updates, "last other policy") {
		if !strings.Contains(services, "policy") {
			t.Errorf("an update without it: %q", services)
		}
	}
}

// TestWatchSeesNoGapWhenAFileIsReplaced: one that is deleted and soon after written under another name, or
// emptied and soon after filled, is there all the time.
func TestWatchSeesNoGapWhenAFileIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", service("policy"))
	write(t, dir+"/b.yaml", service("b"))
	updates := watch(t, open(t, dir))
	from, proven := "/a.yaml", 0
	for i := range 40 {
		to := fmt.Sprintf("/a%d.yaml", i)
		start := time.Now()
		if i%2 == 0 {
			remove(t, dir+from)
		} else {
			to = from
			write(t, dir+from, "")
		}
		write(t, dir+"/b.yaml", service(fmt.Sprintf("b%d", i)))
		time.Sleep(40 * time.Millisecond) // a slow checkout
		write(t, dir+to, service("policy"))
		from = to
		quick := time.Since(start) < 80*time.Millisecond // else the machine was too busy to tell
		for _, services := range awaitAll(t, updates, fmt.Sprintf("b%d policy", i)) {
			if quick && !strings.Contains(services, "policy") {
				t.Fatalf("an update without it: %q", services)
			}
		}
		if quick {
			proven++
		}
		if proven == 6 {
			return
		}
	}
	t.Skip("the machine is too busy")
}

// TestWatchKeepsWhatIsBeingWritten: half a file isn't read; what it held stays until it is closed.
func TestWatchKeepsWhatIsBeingWritten(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells who is writing")
	}
	dir := t.TempDir()
	write(t, dir+"/a.yaml", service("a")+"---\n"+service("policy"))
	updates := watch(t, open(t, dir))
	file, err := os.OpenFile(filepath.Join(dir, "a.yaml"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(service("changed")); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/b.yaml", service("b")) // everything else goes on
	await(t, updates, "a b policy")
	reported := await(t, updates, "a b policy")
	if len(reported.problems) != 1 || !strings.Contains(reported.problems[0].String(), "a.yaml: is being written by another program") {
		t.Errorf("after a while it isn't reported: %v", reported.problems)
	}
	if _, err := file.WriteString("---\n" + service("policy")); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if u := await(t, updates, "b changed policy"); len(u.problems) != 0 {
		t.Error(u.problems)
	}
}

// TestMissingPathKeepsWhatItHeld: a path that was asked for by name should be there.
func TestMissingPathKeepsWhatItHeld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/routes/a.yaml", service("a"))
	write(t, dir+"/policies/p.yaml", service("policy"))
	updates := watch(t, open(t, dir+"/routes", dir+"/policies"))
	rename(t, dir+"/policies", dir+"/away")
	if u := await(t, updates, "a policy"); len(u.problems) != 1 || !strings.Contains(u.problems[0].String(), "no such file") {
		t.Errorf("problems %v", u.problems)
	}
	write(t, dir+"/policies/q.yaml", service("other"))
	await(t, updates, "a other")
}

// TestPolicyThatLosesItsTargetKeepsWhatItWas: a slip in the name of a field leaves nothing of what it was for.
func TestPolicyThatLosesItsTargetKeepsWhatItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	policy := "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: p}\nspec:\n" +
		"  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]\n  basicAuth: {users: {name: u}}\n"
	route := "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n  parentRefs: [{name: gw}]\n  rules: [{matches: [{path: {value: /r}}]}]\n"
	write(t, dir+"/all.yaml", policy+"---\n"+route)
	source := open(t, dir)
	before, _ := load(t, source)
	write(t, dir+"/all.yaml", strings.ReplaceAll(policy+"---\n"+route, "spec:", "spec: {}\nspcc:"))
	after, problems := load(t, source)
	was, _ := before.SecurityPolicies.Get("default", "p")
	is, ok := after.SecurityPolicies.Get("default", "p")
	if !ok || was != is {
		t.Errorf("the policy is %+v", is)
	}
	wasRoute, _ := before.HTTPRoutes.Get("default", "r")
	if is, ok := after.HTTPRoutes.Get("default", "r"); !ok || wasRoute != is {
		t.Errorf("the route is %+v", is)
	}
	if len(problems) < 2 {
		t.Errorf("problems %v", problems)
	}
}

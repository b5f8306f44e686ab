package files_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// service is a manifest.
func service(name string) string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + "}\nspec: {clusterIP: 127.0.0.1}\n"
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, paths ...string) *files.Source {
	t.Helper()
	source, err := files.New(paths)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func load(t *testing.T, source *files.Source) (*resource.Set, []resource.Problem) {
	t.Helper()
	set, problems, err := source.Load()
	if err != nil {
		t.Fatal(err)
	}
	return set, problems
}

// services names the Services of a set.
func services(set *resource.Set) string {
	var names []string
	for _, s := range set.Services.All() {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

func TestDirectoriesAreReadRecursively(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", service("a"))
	write(t, dir+"/deep/er/b.yml", service("b"))
	write(t, dir+"/c.json", "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Service\", \"metadata\": {\"name\": \"c\"}, \"spec\": {}}")
	write(t, dir+"/notes.txt", "not: a manifest")
	write(t, dir+"/.hidden.yaml", service("hidden"))
	write(t, dir+"/.git/x.yaml", service("git"))
	set, problems := load(t, open(t, dir))
	if got := services(set); got != "a b c" || len(problems) != 0 {
		t.Errorf("services %q, problems %v", got, problems)
	}
}

func TestStandardInputIsReadOnce(t *testing.T) {
	t.Parallel()
	source, err := files.New([]string{"-"}, files.Stdin(strings.NewReader(service("in"))))
	if err != nil {
		t.Fatal(err)
	}
	first, _ := load(t, source)
	second, _ := load(t, source)
	if services(first) != "in" || services(second) != "in" {
		t.Errorf("got %q, then %q", services(first), services(second))
	}
	if at, _ := first.Origin(resource.Key{Kind: "Service", Namespace: "default", Name: "in"}); at.String() != "<stdin>:1" {
		t.Errorf("origin is %s", at)
	}
}

func TestPipeIsReadOnce(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/pipe"
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(path, []byte(service("piped")), 0o600) }()
	source := open(t, path)
	first, _ := load(t, source)
	second, _ := load(t, source)
	if services(first) != "piped" || services(second) != "piped" {
		t.Errorf("got %q, then %q", services(first), services(second))
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

func TestNoPathIsRefused(t *testing.T) {
	t.Parallel()
	for _, paths := range [][]string{nil, {""}} {
		if _, err := files.New(paths); err == nil {
			t.Errorf("%q is accepted", paths)
		}
	}
}

func TestNothingReadableIsAnErrorThatNamesThePath(t *testing.T) {
	t.Parallel()
	missing := t.TempDir() + "/missing.yaml"
	_, _, err := open(t, missing).Load()
	if err == nil || !strings.Contains(err.Error(), missing+": can't be read: no such file") {
		t.Errorf("got %v", err)
	}
}

func TestUnreadableFileLeavesTheOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", service("a"))
	if err := os.Symlink("nowhere.yaml", dir+"/dangling.yaml"); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/large.yaml", "")
	if err := os.Truncate(dir+"/large.yaml", 17<<20); err != nil {
		t.Fatal(err)
	}
	set, problems := load(t, open(t, dir, dir+"/missing"))
	if services(set) != "a" {
		t.Errorf("services %q", services(set))
	}
	var texts []string
	for _, p := range problems {
		texts = append(texts, strings.TrimPrefix(p.String(), dir+"/"))
	}
	slices.Sort(texts)
	want := []string{
		"dangling.yaml: can't be read: no such file or directory",
		"large.yaml: is larger than 16 MiB; split it into several files",
		"missing: can't be read: no such file or directory",
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Error(diff)
	}
}

func TestEmptyDirectoryIsReported(t *testing.T) {
	t.Parallel()
	set, problems := load(t, open(t, t.TempDir()))
	if set.Services.Len() != 0 || len(problems) != 1 || !strings.Contains(problems[0].Message, "holds no file") {
		t.Errorf("problems %v", problems)
	}
}

func TestLinksAreFollowedOnceAndLoopsEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/real/a.yaml", service("a"))
	for from, to := range map[string]string{"/real/loop": "..", "/again": "real", "/b.yaml": "real/a.yaml", "/self": "self"} {
		if err := os.Symlink(to, dir+from); err != nil {
			t.Fatal(err)
		}
	}
	set, problems := load(t, open(t, dir, dir+"/real/a.yaml"))
	if services(set) != "a" || len(problems) != 0 {
		t.Errorf("services %q, problems %v", services(set), problems)
	}
}

func TestSyntaxErrorLeavesTheOtherDocumentsOfTheFile(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/all.yaml"
	write(t, path, service("a")+"---\nkind: [\n---\n"+service("b"))
	set, problems := load(t, open(t, path))
	if services(set) != "a b" || len(problems) != 1 || !strings.HasPrefix(problems[0].String(), path+":6: isn't valid YAML") {
		t.Errorf("services %q, problems %v", services(set), problems)
	}
	if at, _ := set.Origin(resource.Key{Kind: "Service", Namespace: "default", Name: "b"}); at.Line != 8 {
		t.Errorf("b is at %s", at)
	}
}

func TestAliasBombIsRefused(t *testing.T) {
	t.Parallel()
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 12 {
		this, last := string(rune('b'+i)), "a0"
		if i > 0 {
			last = string(rune('a' + i))
		}
		bomb += this + ": &" + this + " [" + strings.Repeat("*"+last+", ", 9) + "*" + last + "]\n"
	}
	dir := t.TempDir()
	write(t, dir+"/bomb.yaml", service("boom")+bomb)
	write(t, dir+"/good.yaml", service("good"))
	set, problems := load(t, open(t, dir))
	if services(set) != "good" || len(problems) == 0 || !strings.Contains(problems[0].Message, "aliases") {
		t.Errorf("services %q, problems %v", services(set), problems)
	}
}

func TestUnchangedDocumentsKeepTheirPointers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/one.yaml", service("a")+"---\n"+service("b"))
	source := open(t, dir)
	before, _ := load(t, source)
	// b moves to another file and line, a changes.
	write(t, dir+"/one.yaml", strings.ReplaceAll(service("a"), "127.0.0.1", "127.0.0.2"))
	write(t, dir+"/two.yaml", service("c")+"---\n"+service("b"))
	after, _ := load(t, source)
	get := func(set *resource.Set, name string) any {
		object, _ := set.Services.Get("default", name)
		return object
	}
	if get(before, "b") != get(after, "b") {
		t.Error("b has another pointer")
	}
	if get(before, "a") == get(after, "a") {
		t.Error("a has the same pointer")
	}
	one, _ := before.Namespaces.Get("", "default")
	two, _ := after.Namespaces.Get("", "default")
	if one == nil || one != two {
		t.Error("the namespace that is made has another pointer")
	}
}

func TestOrderAndSplittingOfFilesDontMatter(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../test/handbook/testdata/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	whole, split, list := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, whole+"/base.yaml", string(text))
	chunks := resource.Split(text)
	for i, chunk := range chunks {
		write(t, split+"/"+string(rune('z'-i))+".yaml", string(chunk.Text))
	}
	var items bytes.Buffer
	items.WriteString("apiVersion: v1\nkind: List\nitems:\n")
	for _, chunk := range chunks {
		item := strings.TrimPrefix(string(chunk.Text), "---\n")
		items.WriteString("- " + strings.ReplaceAll(strings.TrimSuffix(item, "\n"), "\n", "\n  ") + "\n")
	}
	write(t, list+"/list.yaml", items.String())
	want, problems := load(t, open(t, whole))
	if len(problems) != 0 || want.Services.Len() != 3 {
		t.Fatalf("problems %v", problems)
	}
	for _, dir := range []string{split, list} {
		got, problems := load(t, open(t, dir))
		if len(problems) != 0 {
			t.Error(problems)
		}
		for _, diff := range []string{
			cmp.Diff(want.Gateways.All(), got.Gateways.All()), cmp.Diff(want.HTTPRoutes.All(), got.HTTPRoutes.All()),
			cmp.Diff(want.Services.All(), got.Services.All()), cmp.Diff(want.Secrets.All(), got.Secrets.All()),
			cmp.Diff(want.Namespaces.All(), got.Namespaces.All()), cmp.Diff(want.GatewayClasses.All(), got.GatewayClasses.All()),
		} {
			if diff != "" {
				t.Error(diff)
			}
		}
	}
}

func TestFileThatBreaksKeepsWhatItHeld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", service("a")+"---\n"+service("b"))
	source := open(t, dir)
	load(t, source)
	write(t, dir+"/a.yaml", service("a")+"---\nkind: [\n")
	for range 2 { // however often it is read
		set, problems := load(t, source)
		if services(set) != "a b" || len(problems) != 1 {
			t.Errorf("services %q, problems %v", services(set), problems)
		}
	}
	if err := os.Truncate(dir+"/a.yaml", 17<<20); err != nil {
		t.Fatal(err)
	}
	if set, problems := load(t, source); services(set) != "a b" || len(problems) != 1 {
		t.Errorf("unreadable: services %q, problems %v", services(set), problems)
	}
	write(t, dir+"/a.yaml", service("a"))
	if set, problems := load(t, source); services(set) != "a" || len(problems) != 0 {
		t.Errorf("corrected: services %q, problems %v", services(set), problems)
	}
}

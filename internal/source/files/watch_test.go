package files_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

type update struct {
	services string
	problems []resource.Problem
}

// watch loads and watches a source until the test ends.
func watch(t *testing.T, source *files.Source) <-chan update {
	t.Helper()
	load(t, source)
	updates := make(chan update, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- source.Watch(ctx, func(set *resource.Set, problems []resource.Problem) {
			updates <- update{services(set), problems}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return updates
}

// await takes updates until one has the services, and returns it.
func await(t *testing.T, updates <-chan update, services string) update {
	t.Helper()
	last, _ := awaitUpdates(t, updates, services)
	return last
}

// awaitAll is await for the services of all updates that came.
func awaitAll(t *testing.T, updates <-chan update, services string) []string {
	t.Helper()
	_, all := awaitUpdates(t, updates, services)
	return all
}

func awaitUpdates(t *testing.T, updates <-chan update, services string) (last update, all []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		select {
		case last = <-updates:
			all = append(all, last.services)
			if last.services == services {
				return last, all
			}
		case <-ctx.Done():
			t.Fatalf("waiting for %q, last was %q", services, last.services)
		}
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func TestWatchSeesEditsInADirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", service("a"))
	updates := watch(t, open(t, dir))

	write(t, dir+"/b.yaml", service("b"))
	await(t, updates, "a b")
	write(t, dir+"/b.yaml.tmp", service("c"))
	rename(t, dir+"/b.yaml.tmp", dir+"/b.yaml")
	await(t, updates, "a c")
	remove(t, dir+"/b.yaml")
	await(t, updates, "a")
	write(t, dir+"/new/er/d.yaml", service("d"))
	await(t, updates, "a d")
	write(t, dir+"/new/er/d.yaml", service("e"))
	await(t, updates, "a e")
	remove(t, dir+"/new")
	await(t, updates, "a")
	write(t, dir+"/new/er/f.yaml", service("f"))
	await(t, updates, "a f")
	write(t, dir+"/new/er/g.yaml", service("g"))
	await(t, updates, "a f g")
	remove(t, dir+"/new")
	remove(t, dir+"/a.yaml")
	await(t, updates, "")
}

func TestWatchSeesAFileReplacedByAnEditor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/gateway.yaml", service("a"))
	updates := watch(t, open(t, dir+"/gateway.yaml"))

	write(t, dir+"/gateway.yaml", service("b"))
	await(t, updates, "b")
	for _, name := range []string{"c", "d"} { // vim: move away, write anew
		rename(t, dir+"/gateway.yaml", dir+"/gateway.yaml~")
		write(t, dir+"/gateway.yaml", service(name))
		if u := await(t, updates, name); len(u.problems) != 0 {
			t.Error(u.problems)
		}
	}
}

func TestWatchSeesAMountedConfigMapChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() // as the kubelet lays it out
	write(t, dir+"/..1/gateway.yaml", service("a"))
	link(t, "..1", dir+"/..data")
	link(t, "..data/gateway.yaml", dir+"/gateway.yaml")
	whole, single := watch(t, open(t, dir)), watch(t, open(t, dir+"/gateway.yaml"))

	for i, name := range []string{"b", "c"} {
		generation := fmt.Sprintf("..%d", i+2)
		write(t, dir+"/"+generation+"/gateway.yaml", service(name))
		link(t, generation, dir+"/..data_tmp")
		rename(t, dir+"/..data_tmp", dir+"/..data")
		remove(t, fmt.Sprintf("%s/..%d", dir, i+1))
		await(t, whole, name)
		await(t, single, name)
	}
}

func TestWatchSeesALinkedDirectoryChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/releases/1/conf/a.yaml", service("a"))
	write(t, dir+"/releases/2/conf/b.yaml", service("b"))
	link(t, "releases/1", dir+"/current")
	updates := watch(t, open(t, dir+"/current/conf"))

	link(t, dir+"/releases/2", dir+"/next")
	rename(t, dir+"/next", dir+"/current")
	await(t, updates, "b")
	write(t, dir+"/releases/2/conf/c.yaml", service("c"))
	await(t, updates, "b c")
}

func TestWatchKeepsTheLastStateWhileNothingIsReadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/up/conf/a.yaml", service("a"))
	updates := watch(t, open(t, dir+"/up/conf"))

	rename(t, dir+"/up", dir+"/away")
	if u := await(t, updates, "a"); len(u.problems) != 1 || !strings.Contains(u.problems[0].String(), "no such file") {
		t.Error(u.problems)
	}
	rename(t, dir+"/away", dir+"/up")
	if u := await(t, updates, "a"); len(u.problems) != 0 {
		t.Error(u.problems)
	}
	write(t, dir+"/up/conf/b.yaml", service("b"))
	await(t, updates, "a b")
}

func TestWatchReportsOnlyChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", service("a"))
	updates := watch(t, open(t, dir))
	for range 5 {
		write(t, dir+"/a.yaml.new", service("a"))
		rename(t, dir+"/a.yaml.new", dir+"/a.yaml")
		write(t, dir+"/notes.txt", "x")
	}
	write(t, dir+"/b.yaml", service("b"))
	if first := <-updates; first.services != "a b" {
		t.Errorf("an update without a change: %v", first)
	}
}

func TestWatchIsNotHeldUpByAStormOfEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", service("a"))
	updates := watch(t, open(t, dir))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.WriteFile(dir+"/noise.txt", nil, 0o600)
			}
		}
	}()
	write(t, dir+"/b.yaml", service("b"))
	await(t, updates, "a b")
	close(stop)
	<-stopped
}

func TestWatchSeesWhatChangedSinceTheLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/a.yaml", service("a"))
	source := open(t, dir)
	load(t, source)
	write(t, dir+"/a.yaml", service("b"))
	ctx, cancel := context.WithCancel(t.Context())
	var got string
	err := source.Watch(ctx, func(set *resource.Set, _ []resource.Problem) {
		got = services(set)
		cancel()
	})
	if err != nil || got != "b" {
		t.Errorf("got %q, %v", got, err)
	}
}

package poll_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/internal/poll"
)

// thing is polled. Its times of looks are relative to the start of the test, which runs on a clock of its own.
type thing struct {
	*poll.Source

	uses  poll.Uses[string]
	look  func() error
	since time.Time

	mu    sync.Mutex
	times []time.Duration
}

func (th *thing) Look(context.Context) (changed bool, err error) {
	th.mu.Lock()
	th.times = append(th.times, time.Since(th.since))
	th.mu.Unlock()
	return true, th.look()
}

func (th *thing) looks() []time.Duration {
	th.mu.Lock()
	defer th.mu.Unlock()
	return slices.Clone(th.times)
}

func (th *thing) Looked(bool)             {}
func (th *thing) Interval() time.Duration { return th.uses.Shortest() }

func group(t *testing.T, log *bytes.Buffer) *poll.Group[string, *thing] {
	t.Helper()
	g := poll.NewGroup[string, *thing](poll.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	t.Cleanup(g.Close)
	return g
}

// join has a user poll a thing.
func join(t *testing.T, g *poll.Group[string, *thing], user string, interval time.Duration, look func() error) *thing {
	t.Helper()
	th, err := g.Join("thing", func() *thing {
		th := &thing{since: time.Now(), look: look}
		th.Source = g.NewSource(th, poll.Messages{Failed: "can't get it", Recovered: "it is back", Attrs: []any{"name", "thing"}})
		return th
	}, func(th *thing) {
		th.uses.Add(user, interval)
		th.Shorten()
	})
	if err != nil {
		t.Fatal(err)
	}
	return th
}

func good() error { return nil }

func TestAServerThatIsDownIsOneEventAndAskedLessAndLess(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func() error{
		"error": func() error { return errors.New("down") },
		"panic": func() error { panic("down") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				g := group(t, &log)
				var up atomic.Bool
				th := join(t, g, "a", time.Hour, func() error {
					if up.Load() {
						return nil
					}
					return fault()
				})
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				r, looks := th.Record(), th.looks()
				// 1, 2, 4, 8, 16 s, then 30 s, each with a quarter more at most.
				if n := len(looks); n < 20 || n > 25 || r.Failures != uint64(n) || r.Fetches != uint64(n) || !strings.Contains(r.LastError, "down") || !r.LastSuccess.IsZero() {
					t.Errorf("%d looks, %+v", n, r)
				}
				for i, least := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second} {
					if pause := looks[i+1] - looks[i]; pause < least || pause > least*5/4 {
						t.Errorf("pause %d was %s", i, pause)
					}
				}
				up.Store(true)
				time.Sleep(time.Minute)
				g.Close()
				if r := th.Record(); r.LastError != "" || r.LastSuccess.IsZero() {
					t.Errorf("after the recovery: %+v", r)
				}
				if text := log.String(); strings.Count(text, "can't get it") != 1 || strings.Count(text, "it is back") != 1 || strings.Count(text, "name=thing") != 2 {
					t.Error(text)
				}
			})
		})
	}
}

func TestTheShortestIntervalIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := group(t, &bytes.Buffer{})
		th := join(t, g, "patient", time.Hour, good)
		time.Sleep(10 * time.Minute)
		join(t, g, "hasty", 12*time.Minute, good)
		synctest.Wait()
		if r := th.Record(); r.Next.After(r.LastAttempt.Add(12 * time.Minute)) {
			t.Errorf("due at %s after the last", r.Next.Sub(r.LastAttempt))
		}
		time.Sleep(12 * time.Minute)
		g.Leave("thing", func() (left int) { return th.uses.Drop("hasty") })
		time.Sleep(3 * time.Hour)
		g.Leave("thing", func() (left int) { return th.uses.Drop("patient") })
		synctest.Wait()
		looks := th.looks()
		for i, look := range looks[1:] {
			pause := look - looks[i]
			if pause > time.Hour || i == 0 && pause > 12*time.Minute || i > 2 && pause < 48*time.Minute {
				t.Errorf("look %d came %s after the one before: %v", i+1, pause, looks)
			}
		}
		time.Sleep(3 * time.Hour)
		if after := len(th.looks()); after != len(looks) || after < 5 {
			t.Errorf("%d looks before the last user left, %d after", len(looks), after)
		}
	})
}

func TestLooksThatRequestsAskForKeepTheCooldown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := group(t, &bytes.Buffer{})
		th := join(t, g, "a", time.Hour, func() error {
			time.Sleep(30 * time.Second) // longer than the cooldown
			return nil
		})
		for range 20 * 60 {
			time.Sleep(time.Second)
			th.LookSoon(20 * time.Second)
		}
		g.Close()
		if n := len(th.looks()); n < 30 || n > 20*60/30+1 {
			t.Errorf("%d looks in 20 minutes", n)
		}
	})
}

func TestCloseEndsAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := group(t, &bytes.Buffer{})
		ended := false
		th := join(t, g, "a", time.Minute, func() error {
			time.Sleep(10 * time.Second)
			ended = true
			return nil
		})
		time.Sleep(time.Second)
		g.Close()
		if !ended {
			t.Error("Close didn't wait for the fetch under way")
		}
		other, err := g.Join("other", func() *thing { t.Error("opened"); return nil }, func(*thing) { t.Error("held") })
		if other != nil || !errors.Is(err, poll.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if again, _ := g.Join("thing", nil, nil); again != th {
			t.Error("after Close the thing that was there is lost")
		}
	})
}

func TestOnlyWhatIsWantedIsFetched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := group(t, &bytes.Buffer{})
		th := join(t, g, "a", time.Minute, good)
		time.Sleep(time.Hour)
		g.Retain([]string{"thing", "none"})
		time.Sleep(time.Hour)
		before := len(th.looks())
		g.Retain([]string{"none"})
		time.Sleep(time.Hour)
		if after := len(th.looks()); before < 120 || after != before {
			t.Errorf("%d looks while it was wanted, %d more after", before, after-before)
		}
	})
}

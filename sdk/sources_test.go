package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// TestConfigurationOfOtherSourcesThroughEnvoy: what earlier filters have written, and what Envoy knows.
func TestConfigurationOfOtherSourcesThroughEnvoy(t *testing.T) {
	t.Parallel()
	written, err := structpb.NewStruct(map[string]any{"text": "a", "limits": map[string]any{"b": 2.0, "a": 1.0}})
	if err != nil {
		t.Fatal(err)
	}
	filter := sdktest.Filter{
		Metadata: map[string]*structpb.Struct{"earlier": written}, MetadataOptions: sdktest.MetadataOptions{Forward: []string{"earlier"}}, RequestAttributes: []string{"request.method"},
		InitialMetadata: map[string]string{"x-limit": "7"},
	}
	envoy := sdktest.Envoy(t)
	for want, source := range map[string]sdk.ConfigSource{
		"a": sdk.FromMetadata("earlier", "text"), `{"a":1,"b":2}`: sdk.FromMetadata("earlier", "limits"),
		"GET": sdk.FromAttribute("request.method"), "7": sdk.FromInitialMetadata("x-limit"),
		"503 metadata earlier.none": sdk.FromMetadata("earlier", "none"), "503 metadata other.text": sdk.FromMetadata("other", "text"),
		"503 attribute request.none": sdk.FromAttribute("request.none"), "503 initial metadata x-none": sdk.FromInitialMetadata("x-none"),
	} {
		parse := func(raw string) (string, error) { return raw, nil }
		p := sdk.ConfiguredFrom(source, nil, parse, func(_ context.Context, _ *sdk.Exchange, cfg string) error { return sdk.Deny(http.StatusOK, cfg) })
		for name, run := range map[string]func(testing.TB, any, sdktest.Filter, sdktest.Request) *sdktest.Result{"emulated": sdktest.Run, "Envoy": envoy.Run} {
			told := p
			if strings.HasPrefix(want, "503") {
				told = sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
					err := p.Process(ctx, x)
					if !errors.Is(err, sdk.ErrNoConfiguration) {
						return err
					}
					return sdk.Deny(http.StatusOK, "503 "+source.Name)
				})
			}
			if got := run(t, told, filter, sdktest.Request{}); got.Client.Body != want {
				t.Errorf("%s, %s: %v", want, name, got)
			}
		}
	}
}

// TestAFileIsKeptUpToDate: written in place, replaced, broken, gone, back.
func TestAFileIsKeptUpToDate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "limit")
	var parsed atomic.Int64
	parse := func(text []byte) (int, error) {
		parsed.Add(1)
		if string(text) == "panic" {
			panic("in parse")
		}
		return strconv.Atoi(string(text))
	}
	if _, err := sdk.LoadFile(path, parse); err == nil {
		t.Error("a file that isn't there was read")
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("x")
	if _, err := sdk.LoadFile(path, parse); err == nil {
		t.Error("a file that can't be parsed was read")
	}
	write("1")
	file, err := sdk.LoadFile(path, parse)
	if err != nil {
		t.Fatal(err)
	}
	becomes := func(want int) {
		t.Helper()
		await(t, func() string {
			if got := file.Get(); got != want {
				return fmt.Sprintf("%d, want %d", got, want)
			}
			return ""
		})
	}
	becomes(1)
	write("22")
	becomes(22)
	replacement := path + ".new"
	if err := errors.Join(os.WriteFile(replacement, []byte("33"), 0o600), os.Rename(replacement, path)); err != nil {
		t.Fatal(err)
	}
	becomes(33)
	for _, broken := range []string{"broken", "panic"} {
		before := parsed.Load()
		write(broken)
		await(t, func() string {
			if file.Get() != 33 {
				t.Fatal("the last good value is gone")
			}
			if parsed.Load() == before {
				return "not read"
			}
			return ""
		})
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(1200 * time.Millisecond); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if file.Get() != 33 {
			t.Fatal("the last good value is gone with the file")
		}
	}
	write("44")
	becomes(44)
}

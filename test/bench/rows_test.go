package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
)

// TestMain lets the test's binary be a row's server, as the program is.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := serve(role, os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// ports are those that no other test gets.
func ports(t *testing.T) func() (int, error) {
	t.Helper()
	return func() (int, error) { return envoytest.FreePort(t), nil }
}

// TestEveryRowIsMeasured is one short round of each: nothing is said of speed, but each row's chain answers
// through a real Envoy, with the header that its processor sets.
func TestEveryRowIsMeasured(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	err := run(t.Context(), &table, envoytest.Binary(t), settings{rounds: 1, connections: 2, round: 20 * time.Millisecond, port: ports(t), authorizers: true, processors: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{"RS256 + claim + CORS + Rego, remembered", "no processor", "stock grpc-go", "sdk.Serve"} {
		if !strings.Contains(table.String(), "\n| "+row+" | ") {
			t.Errorf("no row %q in\n%s", row, table.String())
		}
	}
}

// TestRowWithoutItsHeader is a processor whose answer isn't what the comparison claims: it isn't measured.
func TestRowWithoutItsHeader(t *testing.T) {
	t.Parallel()
	b := processors(settings{rounds: 1, connections: 1, round: time.Millisecond, port: ports(t)}, envoytest.SocketDir(t))
	b.rows = b.rows[:1]
	b.rows[0].seen = "another"
	err := b.run(t.Context(), io.Discard, envoytest.Binary(t))
	if !errors.Is(err, errHeader) {
		t.Fatal(err)
	}
}

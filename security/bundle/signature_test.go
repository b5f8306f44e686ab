package bundle_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gatehouse-proxy/gatehouse/internal/bundletest"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

func pemOf(t *testing.T, kind string, der []byte, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestSignedBundles(t *testing.T) {
	t.Parallel()
	private, public := bundletest.Key(t)
	other, _ := bundletest.Key(t)
	secret := strings.Repeat("s", 32)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalECPrivateKey(ec)
	ecPrivate := pemOf(t, "EC PRIVATE KEY", ecDER, err)
	ecDER, err = x509.MarshalPKIXPublicKey(ec.Public())
	ecPublic := pemOf(t, "PUBLIC KEY", ecDER, err)

	files := app("allow := true")
	changed := bundletest.Signed(t, files, private, "RS256")
	signature := bundletest.Unpack(t, changed)[".signatures.json"]
	tampered := map[string]string{}
	for name, text := range bundletest.Unpack(t, changed) {
		tampered[name] = strings.ReplaceAll(text, "allow := true", "allow := 1 == 1")
	}
	added := bundletest.Unpack(t, changed)
	added["more.rego"] = "package app.more\nallow := true"
	removed := bundletest.Unpack(t, changed)
	delete(removed, "/data.json")
	if len(removed) == len(added)-1 {
		t.Fatalf("nothing is removed of %v", slices.Collect(maps.Keys(removed)))
	}

	for name, c := range map[string]struct {
		archive        []byte
		key, algorithm string
		good           bool
	}{
		"RS256":                   {bundletest.Signed(t, files, private, "RS256"), public, "", true},
		"RS512 by choice":         {bundletest.Signed(t, files, private, "RS512"), public, "RS512", true},
		"RS512 without saying so": {bundletest.Signed(t, files, private, "RS512"), public, "", false},
		"ES256":                   {bundletest.Signed(t, files, ecPrivate, "ES256"), ecPublic, "", true},
		"HS256":                   {bundletest.Signed(t, files, secret, "HS256"), secret, "", true},
		"another's key":           {bundletest.Signed(t, files, other, "RS256"), public, "", false},
		"HMAC by the public key":  {bundletest.Signed(t, files, public+strings.Repeat(" ", 8), "HS256"), public, "", false},
		"not signed":              {bundletest.Archive(t, files), public, "", false},
		"changed":                 {bundletest.Archive(t, tampered), public, "", false},
		"added":                   {bundletest.Archive(t, added), public, "", false},
		"removed":                 {bundletest.Archive(t, removed), public, "", false},
		"no signature in it":      {bundletest.Archive(t, with(files, ".signatures.json", `{"signatures": []}`)), public, "", false},
		"a plugin's":              {bundletest.Archive(t, with(files, ".signatures.json", `{"signatures": ["x"], "plugin": "mine"}`)), public, "", false},
		"two signatures files":    {bundletest.Archive(t, with(bundletest.Unpack(t, changed), "a/.signatures.json", signature)), public, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := bundletest.Serve(t, c.archive)
			f, fetched := newFetcher(t, bundle.Options{})
			spec := from(server)
			spec.Key, spec.Algorithm = &config.Source{Inline: c.key}, c.algorithm
			use := subscribe(t, f, spec)
			s := until(t, fetched, func(bundle.State) bool { return true })
			if (use.Current() != nil) != c.good || (s.LastError == "") != c.good {
				t.Errorf("%q", s.LastError)
			}
		})
	}
}

func TestKeysOfBundles(t *testing.T) {
	t.Parallel()
	private, public := bundletest.Key(t)
	edPublic, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edDER, err := x509.MarshalPKIXPublicKey(edPublic)
	ed := pemOf(t, "PUBLIC KEY", edDER, err)
	f, _ := newFetcher(t, bundle.Options{Offline: true})
	for name, c := range map[string]struct {
		key, algorithm string
		good           bool
	}{
		"public":           {public, "PS384", true},
		"Ed25519":          {ed, "", true},
		"private":          {private, "", false},
		"with a private":   {public + private, "", false},
		"HMAC of a public": {public, "HS256", false},
		"none":             {public, "none", false},
		"short secret":     {"hunter2", "", false},
		"broken PEM":       {strings.Replace(public, "END", "DNE", 1), "", false},
	} {
		spec := config.Bundle{URL: "https://bundles.example/a.tar.gz", Key: &config.Source{Inline: c.key}, Algorithm: c.algorithm}
		use, err := f.Subscribe("a/b", &spec, ast.RegoV1, nil, func() {})
		if (err == nil) != c.good || err != nil && strings.Contains(err.Error(), c.key) {
			t.Errorf("%s: %v", name, err)
		}
		if use != nil {
			use.Release()
		}
	}
}

func with(files map[string]string, name, text string) map[string]string {
	all := maps.Clone(files)
	all[name] = text
	return all
}

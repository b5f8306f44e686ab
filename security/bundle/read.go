package bundle

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	opabundle "github.com/open-policy-agent/opa/v1/bundle"

	"github.com/gatehouse-proxy/gatehouse/security/rego"
)

// The limits of one bundle (S26, S43), in bytes.
const (
	maxPacked   = 16 << 20
	maxUnpacked = 64 << 20
	maxModules  = 2000
)

// contents is a bundle that was read whole.
type contents struct {
	*rego.Bundle

	revision string
}

// read verifies and parses an archive. Its errors quote nothing of the contents, which may come from a
// private store. A panic in a parser is an unreadable bundle and not the end of the process.
func read(name string, archive []byte, keys *opabundle.VerificationConfig, version ast.RegoVersion) (c *contents, err error) {
	defer func() {
		if recover() != nil {
			c, err = nil, errFormat
		}
	}()
	if err := checkUnpacked(archive); err != nil {
		return nil, err
	}
	loader := opabundle.NewTarballLoaderWithBaseURL(bytes.NewReader(archive), "").WithSizeLimitBytes(maxUnpacked)
	b, err := opabundle.NewCustomReader(loader).
		WithBundleVerificationConfig(keys).WithSizeLimitBytes(maxUnpacked).
		WithLazyLoadingMode(false).WithRegoVersion(version).Read()
	if err != nil {
		return nil, explain(err, keys != nil)
	}
	switch {
	case b.Type() == opabundle.DeltaBundleType:
		return nil, errDelta
	case len(b.WasmModules)+len(b.PlanModules) > 0:
		return nil, errWasm
	case len(b.Modules) > maxModules:
		return nil, fmt.Errorf("the bundle has %d modules; at most %d are supported", len(b.Modules), maxModules)
	}
	out := &rego.Bundle{Name: name, Modules: make(map[string]*ast.Module, len(b.Modules)), Documents: b.Data}
	for _, m := range b.Modules {
		if _, twice := out.Modules[m.Path]; twice {
			return nil, errFormat
		}
		out.Modules[m.Path] = m.Parsed
	}
	if b.Manifest.Roots != nil {
		out.Roots = *b.Manifest.Roots
	}
	return &contents{Bundle: out, revision: oneWord(b.Manifest.Revision)}, nil
}

// checkUnpacked decompresses once to nowhere: the reader's own limit is for each file alone.
func checkUnpacked(archive []byte) error {
	unpacked, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return errFormat
	}
	size, err := io.Copy(io.Discard, io.LimitReader(unpacked, maxUnpacked+1))
	if size > maxUnpacked {
		return errUnpacked
	}
	if err != nil {
		return errFormat
	}
	return nil
}

// explain keeps of OPA's errors what names a place and not what stands there.
func explain(err error, signed bool) error {
	if all, ok := errors.AsType[ast.Errors](err); ok && len(all) > 0 {
		if at := all[0].Location; at != nil {
			return fmt.Errorf("%s:%d: %s: %s", filepath.Base(at.File), at.Row, all[0].Code, all[0].Message)
		}
		return errors.New(all[0].Message)
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "manifest"):
		return errors.New("the manifest doesn't fit the contents: every module and document must be below one of its roots")
	case strings.Contains(text, "verification key not provided"):
		return errors.New("the bundle is signed; give the key in signing.keyRef")
	case signed:
		return errSignature
	}
	return errFormat
}

// oneWord makes a revision fit for a status: it is the publisher's text.
func oneWord(revision string) string {
	const most = 64
	return fmt.Sprintf("%.*s", most, strings.Map(func(c rune) rune {
		if c <= ' ' || c > '~' {
			return '_'
		}
		return c
	}, revision))
}

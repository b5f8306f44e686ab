package authserver

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
)

// EnvoyConfig returns, as YAML, what to paste into the configuration of an Envoy that is to call this
// server. It makes the seal key if there is none.
func EnvoyConfig(config Config) ([]byte, error) {
	source, err := files.New(config.Paths)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", standalone.ErrInput, err)
	}
	set, _, err := source.Load()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", standalone.ErrInput, err)
	}
	if err := os.MkdirAll(config.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", standalone.ErrEnvironment, err)
	}
	key, err := standalone.SealKey(filepath.Join(config.StateDir, standalone.SealKeyFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", standalone.ErrEnvironment, err)
	}
	options, err := ownOptions(config)
	if err != nil {
		return nil, err
	}
	for _, p := range translator.New(translator.Options{}).Policies(set) {
		own := envoy.OwnPolicy{Name: p.Spec.Name}
		if p.Spec.OPA != nil {
			own.BodyMaxBytes = p.Spec.OPA.BodyMaxBytes
		}
		options.Policies = append(options.Policies, own)
	}
	parts, err := (&envoy.Builder{SealKey: key, SystemRoots: standalone.SystemRoots()}).Own(options)
	if err != nil {
		return nil, err
	}
	return parts.YAML()
}

// ownOptions says where the Envoy finds the server: at loopback where it listens everywhere.
func ownOptions(config Config) (envoy.OwnOptions, error) {
	options := envoy.OwnOptions{TLS: config.TLSCert != ""}
	if path, ok := strings.CutPrefix(config.Listen, "unix:"); ok {
		options.Server = gatewayapi.Endpoint{Path: path}
		return options, nil
	}
	host, port, err := net.SplitHostPort(config.Listen)
	if err != nil {
		return options, fmt.Errorf("--listen: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return options, fmt.Errorf("--listen: port %q is not a number up to 65535", port)
	}
	address, err := netip.ParseAddr(host)
	if err != nil || address.IsUnspecified() {
		address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	options.Server, options.ServerName = gatewayapi.Endpoint{Address: address.String(), Port: uint16(n)}, host
	return options, nil
}

// sealBuilder reads the seal key, which EnvoyConfig has made; nil if there is none.
func sealBuilder(dir string) (*envoy.Builder, error) {
	path := filepath.Join(dir, standalone.SealKeyFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	key, err := standalone.SealKey(path)
	if err != nil {
		return nil, err
	}
	return &envoy.Builder{SealKey: key, SystemRoots: standalone.SystemRoots()}, nil
}

func pathOnly(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}

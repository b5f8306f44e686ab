package authserver

import (
	"crypto/tls"
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
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// EnvoyConfig returns, as YAML, what to paste into the configuration of an Envoy that is to call this
// server, and what is wrong with the files. It makes the seal key if there is none.
func EnvoyConfig(config Config) (text []byte, faults []resource.Problem, err error) {
	source, err := files.New(config.Paths)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", standalone.ErrInput, err)
	}
	set, problems, err := source.Load()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", standalone.ErrInput, err)
	}
	if err := os.MkdirAll(config.StateDir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", standalone.ErrEnvironment, err)
	}
	key, err := standalone.SealKey(filepath.Join(config.StateDir, standalone.SealKeyFile))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", standalone.ErrEnvironment, err)
	}
	options, err := ownOptions(config)
	if err != nil {
		return nil, nil, err
	}
	t := translator.New(translator.Options{ControllerNames: standalone.ControllerNames(), SealKey: key})
	for _, p := range t.Policies(set) {
		own := envoy.OwnPolicy{Name: p.Spec.Name}
		if p.Spec.OPA != nil {
			own.BodyMaxBytes = p.Spec.OPA.BodyMaxBytes
		}
		options.Policies = append(options.Policies, own)
	}
	parts, err := (&envoy.Builder{SealKey: key, SystemRoots: standalone.SystemRoots()}).Own(options)
	if err != nil {
		return nil, nil, err
	}
	found := standalone.Judge(t, set, problems, t.Translate(set, nil))
	found.Result = relevant(set, found.Result)
	faults, _ = found.Findings()
	text, err = parts.YAML()
	return text, faults, err
}

// ownOptions says where the Envoy finds the server: at loopback where it listens everywhere.
func ownOptions(config Config) (envoy.OwnOptions, error) {
	options := envoy.OwnOptions{TLS: config.TLSCert != "", ClientCertificate: config.TLSClientCA != ""}
	host := ""
	if path, ok := strings.CutPrefix(config.Listen, "unix:"); ok {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return options, fmt.Errorf("--listen: %w", err)
		}
		options.Server = gatewayapi.Endpoint{Path: absolute}
	} else {
		var port string
		var err error
		if host, port, err = net.SplitHostPort(config.Listen); err != nil {
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
		options.Server = gatewayapi.Endpoint{Address: address.String(), Port: uint16(n)}
	}
	if !options.TLS {
		return options, nil
	}
	name, err := certifiedName(config, host)
	if err != nil {
		return options, fmt.Errorf("%w: %w", standalone.ErrEnvironment, err)
	}
	options.ServerName = name
	return options, nil
}

// certifiedName is the host if the certificate is for it, else the first name that it is for.
func certifiedName(config Config, host string) (string, error) {
	pair, err := tls.LoadX509KeyPair(config.TLSCert, config.TLSKey)
	if err != nil {
		return "", err
	}
	switch leaf := pair.Leaf; {
	case host != "" && leaf.VerifyHostname(host) == nil:
		return host, nil
	case len(leaf.DNSNames) > 0:
		return leaf.DNSNames[0], nil
	case len(leaf.IPAddresses) > 0:
		return leaf.IPAddresses[0].String(), nil
	}
	return "", fmt.Errorf("%s is for no host: its subjectAltName has no DNS name and no IP address", config.TLSCert)
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

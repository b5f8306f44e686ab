package fetch

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// Roots reads the CA certificates that a policy names, and a digest that tells them apart. nil source: the
// system's, with a zero digest.
func Roots(source *config.Source, data config.Data) (roots *x509.CertPool, digest [32]byte, err error) {
	if source == nil {
		return nil, digest, nil
	}
	pem, err := data.Resolve(*source)
	if err != nil {
		return nil, digest, err
	}
	if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
		return nil, digest, errors.New("caCertificate: no PEM certificate in it")
	}
	return roots, sha256.Sum256(pem), nil
}

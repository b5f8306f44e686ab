package standalone

import "os"

// rootFiles are the places that systems have, as Go knows them.
var rootFiles = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
}

// SystemRoots returns the PEM file with the authorities that the system trusts: $SSL_CERT_FILE, as Go has
// it, else where systems have it; "" if there is none.
func SystemRoots() string {
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		return file
	}
	for _, file := range rootFiles {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}
